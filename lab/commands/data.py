"""`lab data`: check, download and import."""

from typing import Annotated

import typer


def data_check(folder: Annotated[str | None, typer.Argument(
        metavar="DIR", help="Folder of the six CSV files (default: LAB_DATA, else data/, else the bundled sample)",
        )] = None) -> None:
    """Read all data files and report what is in them, with every row that cannot be used."""
    from lab.data import load_data
    from lab.datasets import check_report

    print(check_report(load_data(folder)))


ToOption = Annotated[str | None, typer.Option("--to", metavar="DIR", help="Folder that the CSV files are written to "
                                              "(default: LAB_DATA, else data/); nothing is overwritten")]


def data_download(to: ToOption = None) -> None:
    """Fetch SST-5, QQP and STS-B from their public hub, after their terms; or check what was fetched before."""
    from lab.datasets import download

    download(to)


def data_import(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The course's own folder, Kaggle's Quora file, GLUE's "
                                          "folders QQP and STS-B or the hub's, or SetFit's SST-5")],
    to: ToOption = None,
) -> None:
    """Bring data files of other layouts into the course's, and say what each was recognised as."""
    from lab.datasets import import_folder

    import_folder(folder, to)
