"""`lab story`, the first minutes with the lab as one command: train, ask, and compare."""

from typing import TYPE_CHECKING

from lab.commands.options import DataOption, RunsOption
from lab.commands.training import named_experiments, train_one

if TYPE_CHECKING:  # torch takes a second to import
    from lab.data import Data
    from lab.experiment import Experiment

# Six plain sentences and pairs: sentiment, paraphrase, similarity. They stand in no training file.
PLAIN = {"sst": ["What a lovely evening, I laughed all the way through.", "I want my money back, it was awful."],
         "qqp": [("How can I get better at chess?", "What is the best way to improve at chess?"),
                 ("How can I get better at chess?", "How do I cook rice?")],
         "sts": [("A man is eating lunch.", "Someone is having a meal."), ("A man is eating lunch.", "A ship sank.")]}


def story(data: DataOption = None, runs: RunsOption = None) -> None:
    """What `make lab` shows: train `strong`, ask it six things, train three other recipes, show the table."""
    from lab.data import TASKS
    from lab.evaluate import predict as ask
    from lab.results import tables
    from lab.results.ask import best, of_five
    from lab.runs.records import load_runs
    from lab.runs.stores import runs_root
    from lab.train import run_name

    print("1. Train `strong`, the lab's own recipe.\n")
    experiments, loaded = named_experiments(["strong"], data)
    _train_unless_done(experiments[0], loaded, runs)
    asked = best(runs_root(runs) / run_name(experiments[0], loaded))
    print("\n2. Ask it about sentences that it has never seen.\n")
    for task, texts in PLAIN.items():
        found = ask(asked.model, task, texts, tokenizer=asked.tokenizer)
        for text, (_, row) in zip(texts, found.iterrows(), strict=True):
            answer = f"{of_five(row['prediction']):.1f} of 5" if task == "sts" else row["answer"]
            print(f"  {answer:<18} {text if isinstance(text, str) else '  |  '.join(text)}")
    print()
    for task in TASKS:
        print(f"  {task}: {asked.quality(task)}")
    print("\n3. Train three others beside it: two of the paper, and one that trains nothing but the heads.\n")
    for experiment in named_experiments(["baseline", "multitask", "frozen"], data)[0]:
        _train_unless_done(experiment, loaded, runs)
    print("\n4. Compare them with what no training at all gives.\n")
    print(tables.as_text(load_runs(runs_root(runs))))


def _train_unless_done(experiment: "Experiment", data: "Data", root: str | None) -> None:
    """Train an experiment, or go on with it; nothing if it is finished."""
    from lab.runs.folder import Run
    from lab.runs.stores import runs_root
    from lab.train import run_name

    name = run_name(experiment, data)
    train_one(experiment, data, name, root, Run(runs_root(root) / name).exists, "the same command")
