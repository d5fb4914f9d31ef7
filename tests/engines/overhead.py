"""What a task of the engine `ray` costs: 2,000 tasks of no work on a cluster of this machine.

    python tests/engines/overhead.py [TASKS]

It prints the seconds, the milliseconds a task, and how much this process has grown between the first tenth of the tasks
and the last. The exit code is 1 if a task takes 50 ms or more, or this process has grown by more than 20 MB.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from lab.data import checkout, load_data
from lab.engines import cluster
from lab.experiment import Experiment


def nothing(job):
    """The work of a task: none."""
    yield {"end": None}


def memory():
    """The resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(tasks: int) -> int:
    data, times, sizes = load_data(checkout() / "data" / "sample"), [], []
    with tempfile.TemporaryDirectory() as store:
        jobs = [{"run": f"none-{i}", "experiment": Experiment().to_json(), "data": str(data.folder), "root": store,
                 "wait": False} for i in range(tasks)]

        def tell(name, said):
            if name:
                assert said == {"end": None}, said
                times.append(time.perf_counter())
                sizes.append(memory())

        cluster.run(jobs, tell, 1, data=data, work=nothing)
    first = tasks // 10
    each = 1000 * (times[-1] - times[first]) / (tasks - first - 1)
    grown = sizes[-1] - sizes[first]
    print(f"{tasks} tasks: {each:.1f} ms a task after the first tenth; the driver's {sizes[-1]:.0f} MB grew by "
          f"{grown:.1f} MB")
    return int(len(times) != tasks or each >= 50 or grown > 20)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 2000))
