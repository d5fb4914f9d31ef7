"""The options that several commands have."""

from typing import Annotated

import typer

from lab.runs.stores import named_store

DataOption = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Folder of the six CSV files "
                                                "(default: LAB_DATA, else data/, else the bundled sample)")]
RunsOption = Annotated[str | None, typer.Option("--runs", metavar="DIR",
                                                help="Run store (default: LAB_RUNS, else runs/)")]
# Of commands that only read a store: it must be there.
StoreOption = Annotated[str | None, typer.Option("--runs", metavar="DIR", callback=named_store,
                                                 help="Run store (default: LAB_RUNS, else runs/)")]
EncoderOption = Annotated[str | None, typer.Option("--encoder",
                                                   help="minilm, a hub id such as bert-base-uncased, or a folder")]
ProtocolOption = Annotated[str | None, typer.Option("--protocol", help="laptop (minutes), paper (hours), sample "
                                                    "(a minute) or smoke (nothing is learned); default: laptop, "
                                                    "and sample on the sample")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a setting; may be "
                                                     "given several times")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Random seed (default: 11711)")]
NameOption = Annotated[str | None, typer.Option("--run", metavar="NAME",
                                                help="The run's name (default: made from its settings)")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped, from its newest "
                                            "checkpoint")]
