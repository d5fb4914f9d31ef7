"""The commands that train: train, ablate, pretrain and fork; and bench, which says how long that takes."""

import contextlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.commands.options import (
    DataOption,
    EncoderOption,
    NameOption,
    ProtocolOption,
    ResumeOption,
    RunsOption,
    SeedOption,
    SetOption,
)
from lab.commands.terminal import follow, show_losses, show_scores
from lab.errors import LabError, nearest

if TYPE_CHECKING:  # torch takes a second to import
    from lab.data import Data
    from lab.experiment import Experiment


def train(
    recipes: Annotated[list[str], typer.Argument(metavar="RECIPE...", help=(
        "such as baseline; quick: 5; table1: all 13; or controls"))],
    data: DataOption = None,
    encoder: EncoderOption = None,
    protocol: ProtocolOption = None,
    settings: SetOption = None,
    seed: SeedOption = None,
    run: NameOption = None,
    runs: RunsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Train recipes, one after the other, with a progress bar and the scores of every epoch."""
    from lab.runs.folder import find_run
    from lab.runs.stores import runs_root
    from lab.train import check_sizes, run_name

    experiments, loaded = named_experiments(recipes, data, encoder, protocol, settings, seed)
    experiments = list(dict.fromkeys(experiments))  # named twice, as in `quick smart`, and trained once
    if run and len(experiments) > 1:
        raise LabError("--run names one run; give one recipe with it")
    if run and runs and len(Path(run).parts) > 1:
        raise LabError(f"--run {run} is a folder of its own, so --runs {runs} would mean nothing; give one of them")
    for experiment in experiments:  # before any of them is trained
        check_sizes(experiment, loaded)
        if resume:
            find_run(run_name(experiment, loaded), run, resume, runs_root(runs))
    alone = " with this recipe alone," * (len(experiments) > 1)
    for experiment in experiments:
        train_one(experiment, loaded, run, runs, resume, f"the same command{alone} with --resume --run RUN")


def train_one(experiment: "Experiment", data: "Data", name: str | None, root: str | None, resume: bool,
              again: str) -> None:
    """Train one run, and print what it is made from, its progress, and where its files are.

    again: what continues it where it is stopped, with RUN in place of its name.
    """
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
    if follow(training, show_scores, again.replace("RUN", shlex.quote(name or run.name))):
        times = run.status
        print(f"{times['seconds']:.0f} s, of them {times['scoring']:.0f} s scoring; weights, records and predictions: "
              f"{run.folder}")


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
        if any(field_of(setting) == "scale" for setting in settings or []):
            raise LabError("lab ablate plan: the protocol sets the scale; choose another with --protocol")
        experiments = [e.with_settings(settings or []) for e in planned_runs(protocol)]
        loaded, seeds = load_data(data), 1  # each run of the plan is listed with its own seed
    else:
        seeds = seeds or SEEDS
        experiments, loaded = named_experiments(recipes, data, encoder, protocol, settings)
    names, count = len({e.name for e in experiments}), len(set(experiments)) * seeds
    print(f"{names} recipe{'s' * (names > 1)}, {count} run{'s' * (count > 1)}, protocol {experiments[0].protocol}, "
          f"encoder {experiments[0].encoder}, data: {loaded.label} ({loaded.fingerprint})")
    try:
        train_all(experiments, seeds=seeds, workers=workers, data=loaded, root=runs, engine=engine, address=address,
                  cpus=cpus, gpus=gpus)
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes it")
        raise typer.Exit(130) from None


def named_experiments(recipes: list[str], data: str | None = None, encoder: str | None = None,
                      protocol: str | None = None, settings: list[str] | None = None,
                      seed: int | None = None) -> tuple[list["Experiment"], "Data"]:
    """The experiments that a command line names, and the data they are for."""
    from lab.data import load_data
    from lab.experiment import CHOICES, CONTROLS, KNOWN, PROTOCOLS, QUICK, TABLE1, default_protocol

    groups = {"table1": TABLE1, "quick": QUICK, "controls": CONTROLS}
    recipes = [name for given in recipes for name in groups.get(given, [given])]
    for recipe in recipes:
        if recipe not in KNOWN:
            if field := next((field for field, values in CHOICES.items() if recipe in values), None):
                option = f"--protocol {recipe}" if field == "protocol" else f"--set {field}={recipe}"
                raise LabError(f"{recipe!r} is a value of {field}, not a recipe; name a recipe, and add {option}")
            raise nearest(recipe, KNOWN, "recipe")
    loaded = load_data(data)
    protocol = default_protocol(loaded.kind == "sample") if protocol is None else protocol
    if protocol not in PROTOCOLS:
        raise nearest(protocol, PROTOCOLS, "protocol")
    settings = all_settings(settings, encoder, seed)
    return [at_protocol(KNOWN[name], protocol, settings) for name in recipes], loaded


def at_protocol(recipe: "Experiment", protocol: str, settings: list[str]) -> "Experiment":
    """A recipe at the scale of a protocol, with settings. The protocol reads `scale`, so that is set first."""
    from lab.experiment import PROTOCOLS

    scale = [setting for setting in settings if field_of(setting) == "scale"]
    others = [setting for setting in settings if setting not in scale]
    return PROTOCOLS[protocol](recipe.with_settings(scale)).with_settings(others)


def field_of(setting: str) -> str:
    """The field of FIELD=VALUE."""
    return setting.partition("=")[0].strip()


def all_settings(settings: list[str] | None, encoder: str | None, seed: int | None) -> list[str]:
    """The FIELD=VALUE of `--set`, and those that `--encoder` and `--seed` stand for, which come last."""
    own = {"encoder": encoder, "seed": seed}
    return [*(settings or []), *(f"{field}={value}" for field, value in own.items() if value is not None)]


def pretrain(
    data: DataOption = None,
    encoder: EncoderOption = None,
    settings: SetOption = None,
    seed: SeedOption = None,
    run: NameOption = None,
    runs: RunsOption = None,
    resume: ResumeOption = False,
) -> None:
    """Continue pretraining an encoder by masked-language modelling on the training sentences, for `--encoder`."""
    from lab.data import load_data
    from lab.pretrain import Pretraining, pretrain_mlm

    chosen = Pretraining().with_settings(all_settings(settings, encoder, seed))
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
    follow(training, show_losses, f"the same command with --resume --run {shlex.quote(run or training.run.name)}")
    place = [word for option, value in (("--data", data), ("--runs", runs)) if value for word in (option, value)]
    print(f"next: {shlex.join(['lab', 'train', 'multitask', *place, '--encoder', str(training.encoder)])}")


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
    from lab.experiment import Experiment
    from lab.results.report import write_figure
    from lab.runs.folder import Run
    from lab.runs.stores import expanded
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


def bench(
    data: DataOption = None,
    encoder: Annotated[str, typer.Option(help="minilm, a hub id or a folder")] = "minilm",
    rounds: Annotated[int, typer.Option(min=1, help="Iterations of each that are timed")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object")] = False,
) -> None:
    """Time the lab's iterations on this computer against other ways of writing them, and say what runs will take."""
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
