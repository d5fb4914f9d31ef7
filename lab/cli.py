"""The command line: lab data | class | train | ablate | predict | report | share | compare | verify | pretrain |
bench | story.

An error that a user can correct is one line, with exit code 2. Only the commands that need torch import it.
"""

import contextlib
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from lab.errors import LabError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="minBERT lab: fine-tune minBERT on three tasks, and measure what each technique contributes.")
data_app = typer.Typer(no_args_is_help=True, help="Get the data sets, and look at them.")
app.add_typer(data_app, name="data")
class_app = typer.Typer(no_args_is_help=True, help="For teachers: notebooks for a class, and a table of its answers.")
app.add_typer(class_app, name="class")

DataOption = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Folder of the six CSV files "
                                                "(default: LAB_DATA, else data/, else the bundled sample)")]
RunsOption = Annotated[str | None, typer.Option("--runs", metavar="DIR",
                                                help="Run store (default: LAB_RUNS, else runs/)")]

def _store(root: str | None) -> str | None:
    from lab.runs.folder import named_store

    return named_store(root)


StoreOption = Annotated[str | None, typer.Option("--runs", metavar="DIR", callback=_store,
                                                 help="Run store (default: LAB_RUNS, else runs/)")]
EncoderOption = Annotated[str | None, typer.Option("--encoder",
                                                   help="minilm, a hub id such as bert-base-uncased, or a folder")]
ProtocolOption = Annotated[str | None, typer.Option("--protocol", help="laptop (minutes), paper (hours), sample "
                                                    "(a minute) or smoke (nothing is learned); default: laptop, "
                                                    "and sample on the sample")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a setting; may be "
                                                     "given several times")]


ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped, from its newest "
                                            "checkpoint")]


@data_app.command("check")
def data_check(folder: Annotated[str | None, typer.Argument(
        metavar="DIR", help="Folder of the six CSV files (default: LAB_DATA, else data/, else the bundled sample)",
        )] = None) -> None:
    """Read all data files and report what is in them, with every row that cannot be used."""
    from lab.data import load_data
    from lab.datasets import check_report

    print(check_report(load_data(folder)))


ToOption = Annotated[str | None, typer.Option("--to", metavar="DIR", help="Folder that the CSV files are written to "
                                              "(default: LAB_DATA, else data/); nothing is overwritten")]


@data_app.command("download")
def data_download(to: ToOption = None) -> None:
    """Fetch SST-5, QQP and STS-B from their public hub, after their terms; or check what was fetched before."""
    from lab.datasets import download

    download(to)


@data_app.command("import")
def data_import(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The course's own folder, Kaggle's Quora file, GLUE's "
                                          "folders QQP and STS-B, or SetFit's SST-5")],
    to: ToOption = None,
) -> None:
    """Bring data files of other layouts into the course's, and say what each was recognised as."""
    from lab.datasets import import_folder

    import_folder(folder, to)


@app.command()
def train(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help=(
        "such as baseline; quick: 5; table1: all 13; or controls"))],
    data: DataOption = None,
    encoder: EncoderOption = None,
    protocol: ProtocolOption = None,
    settings: SetOption = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default: 11711)")] = None,
    run: Annotated[str | None, typer.Option(metavar="NAME",
                                            help="The run's name (default: made from its settings)")] = None,
    runs: RunsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Train recipes, one after the other, with a progress bar and the scores of every epoch."""
    from lab.runs.folder import find_run, runs_root
    from lab.train import run_name

    experiments, loaded = _experiments(recipes, data, encoder, protocol, settings, seed)
    if run and len(experiments) > 1:
        raise LabError("--run names one run; give one recipe with it")
    for experiment in experiments if resume else ():  # before any of them is trained
        find_run(run_name(experiment, loaded), run, resume, runs_root(runs))
    for experiment in experiments:
        _train_one(experiment, loaded, run, runs, resume)


@app.command()
def ablate(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help=(
        "such as baseline; quick: 5; table1: all 13; controls; or plan: data/plan.json, with its seeds"))],
    data: DataOption = None,
    encoder: EncoderOption = None,
    protocol: ProtocolOption = None,
    settings: SetOption = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds per recipe (default: 3, the fewest that give "
                                              "verdicts)", show_default=False)] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the cores")] = 1,
    engine: Annotated[str, typer.Option(help="processes, or ray: a cluster, see docs/scale.md")] = "processes",
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster: auto or host:port (default: this machine "
                                                "alone)", show_default=False)] = None,
    cpus: Annotated[int, typer.Option(min=1, help="With ray: cores, and so threads, of each run")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="With ray: cards of each run; .25: four runs share one")] = 0,
    runs: RunsOption = None,
) -> None:
    """Train many recipes, each with several seeds. The same command resumes them. `lab report` shows the results."""
    from lab.engines.ablation import SEEDS
    from lab.engines.ablation import ablate as train_all

    if recipes == ["plan"]:
        from lab.data import load_data
        from lab.results.plan import planned_runs

        if seeds or encoder:
            raise LabError("lab ablate plan: data/plan.json says the seeds and the encoder; leave out the option")
        experiments = [e.with_settings(settings or []) for e in planned_runs(protocol)]
        loaded, seeds = load_data(data), 1  # each run of the plan is listed with its own seed
    else:
        seeds = seeds or SEEDS
        experiments, loaded = _experiments(recipes, data, encoder, protocol, settings, None)
    print(f"{len({e.name for e in experiments})} recipes, {len(set(experiments)) * seeds} runs, protocol "
          f"{experiments[0].protocol}, encoder {experiments[0].encoder}, data: {loaded.label} ({loaded.fingerprint})")
    try:
        train_all(experiments, seeds=seeds, workers=workers, data=loaded, root=runs, engine=engine, address=address,
                  cpus=cpus, gpus=gpus)
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes it")
        raise typer.Exit(130) from None


def _experiments(recipes, data, encoder, protocol, settings, seed) -> tuple:  # noqa: ANN001
    """The experiments that a command line names, and the data they are for."""
    from lab.data import load_data
    from lab.experiment import CONTROLS, KNOWN, PROTOCOLS, QUICK, TABLE1, default_protocol, nearest

    groups = {"table1": TABLE1, "quick": QUICK, "controls": CONTROLS}
    recipes = [name for given in recipes for name in groups.get(given, [given])]
    for recipe in recipes:
        if recipe not in KNOWN:
            raise nearest(recipe, KNOWN, "recipe")
    loaded = load_data(data)
    protocol = default_protocol(loaded.kind == "sample") if protocol is None else protocol
    if protocol not in PROTOCOLS:
        raise nearest(protocol, PROTOCOLS, "protocol")
    settings = [*(settings or []), *(f"{field}={value}" for field, value in (("encoder", encoder), ("seed", seed))
                                     if value is not None)]
    scale = [s for s in settings if s.partition("=")[0].strip() == "scale"]  # the protocol reads it, so it comes first
    others = [s for s in settings if s not in scale]
    return [PROTOCOLS[protocol](KNOWN[name].with_settings(scale)).with_settings(others) for name in recipes], loaded


def _train_one(experiment, data, name, root, resume) -> None:  # noqa: ANN001
    from lab.runs.ranks import Follower
    from lab.runs.signals import stopping
    from lab.train import fit

    training = fit(experiment, data=data, run=name, resume=resume, root=root)
    run = training.run
    if isinstance(training.recorder, Follower):  # under torchrun, the first process shows the progress of all
        with contextlib.suppress(KeyboardInterrupt), stopping(training.recorder.ask_to_stop):
            list(training)
        return
    print(f"{run.name}: {experiment.encoder} on {training.recorder.device}, data: {data.label} ({data.fingerprint}), "
          f"{experiment.epochs} epochs of {experiment.iterations} iterations")
    for line in data.left_out():
        print(line)
    if cut := run.config["data"].get("cut"):
        print(f"{cut} inputs are longer than the encoder's {training.model.bert.config.max_position_embeddings} "
              "tokens; their ends are cut off")
    if _follow(training, _show):
        times = run.status
        print(f"{times['seconds']:.0f} s, of them {times['scoring']:.0f} s scoring; weights, records and predictions: "
              f"{run.folder}")


def _follow(training, show) -> bool:  # noqa: ANN001
    """Train to the end and show the progress. False: the run was finished already.

    A signal, or an output that cannot be written any more, stops it at the end of the iteration, with everything saved.
    """
    from lab.runs.signals import Stopped, stopping

    if training.finished:
        print(f"{training.run.name} is finished already; nothing to do")
        return False
    if training.step:
        print(f"resuming after iteration {training.step}")

    def ask(stop: Stopped) -> None:
        training.recorder.ask_to_stop(stop)
        with contextlib.suppress(OSError):  # print() is not safe in a signal's handler
            os.write(2, f"\nlab: {stop}: stops when this iteration is done and saved; again: at once\n".encode())

    try:
        with stopping(ask):
            show(training)
    except KeyboardInterrupt as stop:
        _print(f"\nstopped after iteration {training.step}{f' ({stop})' if str(stop) else ''}; the same command with "
               f"--resume --run {training.run.name} continues this run", training)
        raise typer.Exit(getattr(stop, "code", 130)) from None
    return True


def _show(training) -> None:  # noqa: ANN001
    from lab.data import SCORES, SPLIT_NAMES, TASKS
    from lab.evaluate import shown

    scores: dict[tuple, dict] = {}
    for row in training:
        if row["split"] in ("dev", "dev_full", "test") and row["metric"] == SCORES.get(row["task"]):
            of = scores.setdefault((row["split"], row["step"]), {})
            of[row["task"]] = row["value"]
            if row["task"] == "all":
                line = "  ".join(f"{task} {shown(of.get(task))}" for task in TASKS)
                _print(f"epoch {row['epoch']:>2}, {SPLIT_NAMES[row['split']]}:  {line}  overall {shown(row['value'])}",
                       training)


def _print(line: str, training) -> None:  # noqa: ANN001
    """Print a line above the progress bar. Where that fails, the training is asked to stop, with exit code 2."""
    from tqdm.auto import tqdm

    from lab.runs.signals import Stopped

    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError as error:
        training.recorder.ask_to_stop(Stopped(f"standard output cannot be written: {error.strerror}", 2))
        sys.stdout = open(os.devnull, "w")  # Python would try again when it ends


@app.command()
def predict(
    texts: Annotated[list[str], typer.Argument(metavar="[RUN] TEXT [TEXT2]", help="A sentence: its sentiment. Two: "
                                               "whether they are paraphrases, and how similar. Before them, perhaps, a "
                                               "run's name or folder (default: the best finished run)")],
    weights: Annotated[str, typer.Option(help="best (on dev) or last")] = "best",
    runs: StoreOption = None,
) -> None:
    """Predict the sentiment of a sentence of your own, or whether two are paraphrases and how similar they are."""
    from lab.results.ask import best

    run, texts = _run_and_texts([text.encode("utf-8", "replace").decode() for text in texts], runs)
    asked = best(run, weights=weights, root=runs)
    print(f"{asked.name}: {asked.about}")
    _answer(asked, texts)


def _run_and_texts(given: list[str], root) -> tuple[str | None, list[str]]:  # noqa: ANN001
    """The run that `predict` was given, or None, and the one or two texts after it."""
    from lab.runs.folder import Run

    sentence = any(map(str.isspace, given[0]))  # what has no space looks like a run's name
    try:
        Run.open(given[0], root)
    except LabError as error:
        if len(given) > 2 and sentence:
            raise LabError("one or two sentences can be asked about; put each in quotes") from None
        if len(given) > 1 and not sentence:
            raise LabError(f"{error}; if it is a sentence, put a space after it: {given[0] + ' '!r}") from None
        return None, given
    if not 1 < len(given) < 4:
        raise LabError("one or two sentences can be asked about; put each in quotes" if len(given) > 1 else
                       f"{given[0]} is a run; give a sentence after it")
    return given[0], given[1:]


def _answer(asked, texts: list[str]) -> None:  # noqa: ANN001
    """Print the answers to one or two texts, and how good the model is at each task."""
    from lab.evaluate import predict as ask
    from lab.results.ask import of_five

    for line in asked.remarks(texts):
        print(f"note: {line}")
    for task in ("sst",) if len(texts) == 1 else ("qqp", "sts"):
        found = ask(asked.model, task, texts if task == "sst" else [tuple(texts)], tokenizer=asked.tokenizer).iloc[0]
        if task == "sst":
            answer = f"sentiment: {found['answer']} ({100 * found[[f'p{c}' for c in range(5)]].max():.0f} %)"
        elif task == "qqp":
            answer = f"paraphrase: {found['answer']} (probability of a paraphrase {100 * found['probability']:.0f} %)"
        else:
            answer = f"similarity: {of_five(found['prediction']):.2f} of 5 (0 unrelated, 5 the same)"
        print(f"{answer}\n  {asked.quality(task)}")


@app.command()
def story(data: DataOption = None, runs: RunsOption = None) -> None:
    """What `make lab` shows: train `strong`, ask it six things, train three other recipes, show the table."""
    from lab.data import TASKS
    from lab.evaluate import predict as ask
    from lab.results import tables
    from lab.results.ask import best, of_five
    from lab.runs.folder import runs_root
    from lab.runs.records import load_runs
    from lab.train import run_name

    print("1. Train `strong`, the lab's own recipe.\n")
    experiments, loaded = _experiments(["strong"], data, None, None, None, None)
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
    for experiment in _experiments(["baseline", "multitask", "frozen"], data, None, None, None, None)[0]:
        _train_unless_done(experiment, loaded, runs)
    print("\n4. Compare them with what no training at all gives.\n")
    print(tables.as_text(load_runs(runs_root(runs))))


# Six plain sentences and pairs: sentiment, paraphrase, similarity. They stand in no training file.
PLAIN = {"sst": ["What a lovely evening, I laughed all the way through.", "I want my money back, it was awful."],
         "qqp": [("How can I get better at chess?", "What is the best way to improve at chess?"),
                 ("How can I get better at chess?", "How do I cook rice?")],
         "sts": [("A man is eating lunch.", "Someone is having a meal."), ("A man is eating lunch.", "A ship sank.")]}


def _train_unless_done(experiment, data, root) -> None:  # noqa: ANN001
    """Train an experiment, or go on with it; nothing if it is finished."""
    from lab.runs.folder import Run, runs_root
    from lab.train import run_name

    begun = Run(runs_root(root) / run_name(experiment, data)).exists
    _train_one(experiment, data, run_name(experiment, data), root, begun)


@app.command()
def report(
    runs: StoreOption = None,
    out: Annotated[Path | None, typer.Option(help="The HTML file (default: report.html in the run store; of records "
                                             "that ship with the lab, shipped.html in your own store)")] = None,
) -> None:
    """Print Tables 1 and 2 of all finished runs; write them and the figures as HTML, CSV and Markdown."""
    from lab.results import report as page
    from lab.results import tables
    from lab.runs.folder import expanded, runs_root, shipped_root, shown_store
    from lab.runs.records import load_runs

    store, note = shown_store(runs)
    there = runs_root(runs) / "report.html"
    if there.parent.resolve() == shipped_root().resolve():  # only what ships belongs there
        there = runs_root() / "shipped.html"
    frame = load_runs(store)
    if note:
        print(f"{note}\n")
    print(tables.as_text(frame))
    if not tables.leaderboard(frame).empty:
        file = page.write(frame, expanded(out or there))
        states = frame.drop_duplicates("run").set_index("run")["state"].sort_index()
        print(f"\nruns: {', '.join(states.index[states == 'done'])}")
        if others := [f"{run} ({state})" for run, state in states[states != "done"].items()]:
            print(f"not finished, so not shown: {', '.join(others)}")
        print(f"\npictures: {file}\ntables: {file.with_suffix('.csv')}, {file.with_suffix('.md')}")


@app.command()
def share(
    out: Annotated[Path, typer.Option(help="The HTML file")] = Path("minbert-lab.html"),
    runs: StoreOption = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="The runs too that are hidden on the dashboard")] = False,
) -> None:
    """Write all results, your own and the shipped ones, as one HTML file that opens anywhere, without the lab."""
    from lab.results import report as page
    from lab.runs.folder import both_stores, expanded
    from lab.runs.records import Store

    store = Store(*([expanded(runs)] if runs else both_stores()))
    frame = store.frame()
    left_out = [] if hidden else [run for run, said in store.marked.items() if said.hidden]
    file = page.write(frame[~frame["run"].isin(left_out)], expanded(out), beside=False)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB; it needs no network and no lab")
    if left_out:
        print(f"left out: {len(left_out)} hidden run{'s' * (len(left_out) > 1)}; --hidden writes them too")


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="A finished run's name or folder")],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The run to compare it with")],
    data: DataOption = None,
    weights: Annotated[str, typer.Option(help="last, or best (on dev)")] = "last",
    runs: StoreOption = None,
) -> None:
    """Compare two runs: the settings that differ, and paired tests on the same examples."""
    from lab.data import load_data
    from lab.results.comparison import as_text

    print(as_text(first, second, load_data(data), weights, runs))


@app.command()
def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder")],
    data: DataOption = None,
    runs: StoreOption = None,
) -> None:
    """Train the last stretch of a run again, from the checkpoint before, and say whether the bits are the same."""
    import json

    from lab.experiment import Experiment
    from lab.pretrain import Pretraining, pretrain_mlm
    from lab.runs import schema
    from lab.runs.folder import Run
    from lab.runs.replay import replay
    from lab.train import fit

    found = Run.open(run, runs)
    settings = found.config
    schema.check_settings(settings, found.folder / "experiment.json")
    kind, again = (Pretraining, pretrain_mlm) if "head" in settings else (Experiment, fit)
    settings = kind.from_json(json.dumps(settings["experiment"]))
    first, last, differing = replay(found, lambda copy: again(settings, data=data, run=copy, resume=True))
    if differing:
        print(f"{found.name}: iterations {first} to {last}, trained again, differ in {len(differing)} of what was "
              f"compared, first in {differing[0]}")
        raise typer.Exit(1)
    print(f"{found.name}: iterations {first} to {last}, trained again, give the same bits: weights and records")


@app.command()
def fork(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder")],
    step: Annotated[list[int], typer.Option(help="The iteration after which the futures part; may be given several "
                                            "times")],
    settings: Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="What one of the two futures has "
                                                "otherwise; may be given several times")],
    iterations: Annotated[int, typer.Option(min=1, help="How long both are trained")] = 50,
    seeds: Annotated[int, typer.Option(min=1, help="Pairs at each step, with batches and noise of their own")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the picture as this HTML file")] = None,
    data: DataOption = None,
    runs: RunsOption = None,
) -> None:
    """What if, from here: train two futures of a run on the same batches and noise, which differ in one thing."""
    import json

    from lab.experiment import Experiment
    from lab.results.report import write_figure
    from lab.runs.folder import Run, expanded
    from lab.whatif import fork as part

    if out:  # before anything is trained
        write_figure(None, out := expanded(out))
    found = Run.open(run, runs)
    e = Experiment.from_json(json.dumps(found.config["experiment"]))
    changed = e.with_settings(settings)
    changes = {field: getattr(changed, field) for field in vars(e) if getattr(changed, field) != getattr(e, field)}
    fork = part(found, steps=step, iterations=iterations, seeds=seeds, data=data, root=runs, **changes)
    print(fork.as_text())
    if out:
        print(f"picture: {write_figure(fork.figure(), out)}")


@app.command()
def pretrain(
    data: DataOption = None,
    encoder: EncoderOption = None,
    settings: SetOption = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default: 11711)")] = None,
    run: Annotated[str | None, typer.Option(metavar="NAME",
                                            help="The run's name (default: made from its settings)")] = None,
    runs: RunsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Continue pretraining an encoder by masked-language modelling on the training sentences, for `--encoder`."""
    from lab.data import load_data
    from lab.pretrain import Pretraining, pretrain_mlm

    given = [f"{field}={value}" for field, value in (("encoder", encoder), ("seed", seed)) if value is not None]
    chosen = Pretraining().with_settings([*(settings or []), *given])
    loaded = load_data(data)
    training = pretrain_mlm(chosen, data=loaded, run=run, resume=resume, root=runs)
    config = training.run.config
    of = config["data"]["sentences"]
    head = "the encoder's own" if config["head"] == "own" else "fresh: the loss starts above that of a uniform guess"
    recorder = training.recorder
    print(f"{training.run.name}: {chosen.encoder} on {recorder.device}, data: {loaded.label} ({loaded.fingerprint}), "
          f"{chosen.epochs} epochs of {recorder.iterations} iterations\n"
          f"distinct training sentences: {of['trained on']} to train on, {of['held out']} held out; {of['left out']} "
          f"are in dev or test too and are left out\nhead for the masked words: {head}")
    _follow(training, _show_pretraining)
    place = [word for option, value in (("--data", data), ("--runs", runs)) if value for word in (option, value)]
    print(f"next: {shlex.join(['lab', 'train', 'multitask', *place, '--encoder', str(training.encoder)])}")


def _show_pretraining(training) -> None:  # noqa: ANN001
    from lab.data import SPLIT_NAMES

    loss = None
    for row in training:
        if row["split"] == "held_out" and row["metric"] == "loss":
            loss = row["value"]
        elif row["split"] == "held_out":
            _print(f"epoch {row['epoch']:>2}, {SPLIT_NAMES['held_out']}:  loss {loss:.4f}  accuracy {row['value']:.4f}",
                   training)


@app.command()
def bench(
    data: DataOption = None,
    encoder: Annotated[str, typer.Option(help="minilm, a hub id or a folder")] = "minilm",
    rounds: Annotated[int, typer.Option(min=1, help="Iterations of each that are timed")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object")] = False,
) -> None:
    """Time the lab's iterations on this computer against other ways of writing them, and say what runs will take."""
    import json

    import torch

    from lab.bench import as_text
    from lab.bench import bench as measure
    from lab.data import load_data
    from lab.experiment import default_protocol

    loaded = load_data(data)
    about = f"data: {loaded.label} ({loaded.fingerprint}), encoder: {encoder}, {torch.get_num_threads()} threads, fp32"
    if not as_json:
        print(f"{about}, {rounds} rounds in turn, medians")
    found = measure(loaded, encoder, rounds)
    protocol = default_protocol(loaded.kind == "sample")
    print(json.dumps({"about": about, **found}) if as_json else as_text(found, protocol))


@class_app.command("grade")
def class_grade(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of notebooks: STUDENT/*.ipynb, or files that "
                                          "begin with the student's name")],
    feedback: Annotated[bool, typer.Option("--feedback", help="A row for each answer with the check's feedback, not "
                                           "a row for each student")] = False,
    seconds: Annotated[int, typer.Option(min=5, help="The time for one student's exercises")] = 60,
    seed: Annotated[int | None, typer.Option(help="Draw the hidden cases as in an earlier table")] = None,
) -> None:
    """Print a table of a class as CSV: who has solved which exercise, on cases that nobody has seen. Students' code
    runs on this computer, in a process of its own with a time limit, but not in a sandbox."""
    from lab.teach.grading import NOTHING, grade, table

    rows, seed = grade(folder, seconds, seed)
    for row in rows[rows["result"].isin(NOTHING)].itertuples():
        _complain(f"{row.notebook}: {row.feedback}")
    print((rows if feedback else table(rows)).to_csv(index=False), end="")
    print(f"the hidden cases were drawn with --seed {seed}", file=sys.stderr)


@class_app.command("notebooks")
def class_notebooks(to: Annotated[str, typer.Argument(metavar="DIR", help="Folder that they are written to")]) -> None:
    """Write the notebooks for students: without solutions and outputs, with hints in place of the solutions."""
    from lab.teach.edition import student_edition

    print(f"{len(student_edition(to))} notebooks in {to}, without solutions and outputs")


def main() -> None:
    """Run the command line. What a user can correct, and errors of the disk, become one line and exit code 2."""
    _show_any_sign()
    warnings.showwarning = lambda message, *_: _complain(message)
    try:
        try:
            code = app(standalone_mode=False)
        finally:
            sys.stdout.flush()  # here, where an error can still be told
    except BrokenPipeError:  # what reads our output has read enough, as in `lab report | head`
        code = 1
    except TyperException as error:
        code = error.exit_code
        if what := error.format_message():  # empty where the help was printed
            command = getattr(getattr(error, "ctx", None), "command_path", "lab")
            if what.startswith("No such option") and command.endswith("predict"):
                what = f"{what.removesuffix('.')}; put -- before a sentence that begins with -"
            _complain(f"{what.removesuffix('.')}; `{command} --help` says what is possible")
    except (LabError, OSError) as error:
        code = 2
        _complain(error)
    except KeyboardInterrupt:
        code = 130
        _complain("interrupted")
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # Python would try again when it ends, and complain
    sys.exit(code or 0)


def _show_any_sign() -> None:
    """See to it that no print() fails: signs that a terminal lacks become `?`, closed streams swallow everything."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as after `>&-`
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


def _complain(message: object) -> None:
    """Print a message, which may quote anything, in one line and without control characters."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(str(message).split()))
    with contextlib.suppress(OSError):
        print(f"lab: {line}", file=sys.stderr, flush=True)
