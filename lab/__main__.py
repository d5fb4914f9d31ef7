"""`python -m lab`, which is what `torchrun -m lab train ...` needs, is the command `lab`."""

from lab.cli import main

if __name__ == "__main__":
    main()
