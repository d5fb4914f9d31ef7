"""`lab predict`: ask a trained model about sentences of one's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from lab.commands.options import StoreOption
from lab.errors import LabError

if TYPE_CHECKING:  # torch takes a second to import
    from lab.results.ask import Asked


def predict(
    texts: Annotated[list[str], typer.Argument(metavar="[RUN] TEXT [TEXT2]", help="A sentence: its sentiment. Two: "
                                               "whether they are paraphrases, and how similar. Before them, perhaps, a "
                                               "run's name or folder (default: the best finished run, or what "
                                               "ships with the lab where all are of the sample)")],
    weights: Annotated[str, typer.Option(help="best (on dev) or last")] = "best",
    runs: StoreOption = None,
) -> None:
    """Predict the sentiment of a sentence of your own, or whether two are paraphrases and how similar they are."""
    from lab.results.ask import best

    if not all(map(str.strip, texts)):
        raise LabError("a sentence is empty; write one between the quotes")
    run, texts = _run_and_texts([text.encode("utf-8", "replace").decode() for text in texts], runs)
    asked = best(run, weights=weights, root=runs)
    print(f"{asked.name}: {asked.about}")
    if asked.instead_of:
        print(f"note: your own best run is of the bundled sample; `lab predict {asked.instead_of} TEXT` asks it")
    _answer(asked, texts)


def _run_and_texts(given: list[str], root: str | None) -> tuple[str | None, list[str]]:
    """The run that `predict` was given, or None, and the one or two texts after it."""
    from lab.runs.folder import Run

    sentence = any(map(str.isspace, given[0]))  # what has no space looks like a run's name
    try:
        Run.open(given[0], root)
    except (LabError, OSError) as error:  # a long sentence with a slash in it is no name that a folder can have
        if len(given) > 2 and sentence:
            raise LabError("one or two sentences can be asked about; put each in quotes") from None
        if len(given) > 1 and not sentence:
            raise LabError(f"{error}; if it is a sentence, put a space after it: {given[0] + ' '!r}") from None
        return None, given
    if not 1 < len(given) < 4:
        raise LabError("one or two sentences can be asked about; put each in quotes" if len(given) > 1 else
                       f"{given[0]} is a run; give a sentence after it")
    return given[0], given[1:]


def _answer(asked: "Asked", texts: list[str]) -> None:
    """Print the answers to one or two texts, and how good the model is at each task."""
    from lab.evaluate import predict as ask
    from lab.results.ask import of_five
    from lab.tasks import CosineEmbedding

    for line in asked.remarks(texts):
        print(f"note: {line}")
    for task in ("sst",) if len(texts) == 1 else ("qqp", "sts"):
        found = ask(asked.model, task, texts if task == "sst" else [tuple(texts)], tokenizer=asked.tokenizer).iloc[0]
        if task == "sst":
            answer = f"sentiment: {found['answer']} ({100 * found[[f'p{c}' for c in range(5)]].max():.0f} %)"
        elif task == "qqp":
            answer = f"paraphrase: {found['answer']} (probability of a paraphrase {100 * found['probability']:.0f} %)"
        elif isinstance(asked.model.heads["sts"], CosineEmbedding):
            answer = f"similarity: a cosine of {found['prediction']:.2f} (-1 to 1, the same)"
        else:
            answer = f"similarity: {of_five(found['prediction']):.2f} of 5 (0 unrelated, 5 the same)"
        print(f"{answer}\n  {asked.quality(task)}")
