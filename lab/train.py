"""fit(): multitask fine-tuning as one plain loop.

    for row in lab.fit(lab.PROTOCOLS["laptop"](lab.RECIPES["baseline"])):
        print(row)

`fit` prepares a run; `loop` draws the batches of an iteration, takes the experiment's updates on them, and measures.
The recorder (`lab.runs.recorder`) writes the records and resumes a run that was killed; `lab.runs.scoring` scores.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lab.batches import SAMPLERS, Batch, Rows, Stream, cross, kept_examples, pack, prepare
from lab.data import TASKS, Data, load_data
from lab.encoders.device import autocast
from lab.encoders.sources import load_encoder, weights_sha256
from lab.errors import LabError
from lab.experiment import Experiment, departs
from lab.gradients import COMBINERS, combine, gramian, sparse_gradient, touched
from lab.optim import AdamW
from lab.runs import checkpoints
from lab.runs.diagnostics import Window, is_sampled, sample
from lab.runs.folder import find_run, name_end
from lab.runs.ranks import Follower, Ranks, join
from lab.runs.recorder import Recorder
from lab.runs.scoring import score_epoch, score_everything, score_floors, vectors_of
from lab.runs.stores import runs_root
from lab.runs.training import Training
from lab.smart import DIVERGENCES, Average, penalties
from lab.tasks import MultitaskModel


def fit(experiment: Experiment, *, data: Data | str | Path | None = None, run: str | Path | None = None,
        resume: bool = False, root: str | Path | None = None, progress: bool = True) -> Training:
    """Train an experiment: an iterator of metric rows (dicts as in metrics.jsonl), with `.run` and `.model`.

    data: `lab.load_data(...)`, or its argument. run: the new run's name in the store `root` (default: made from the
    experiment; a name that is taken gets a number). resume: continue that run from its newest checkpoint; a finished
    run yields nothing. A training of the same run that is still open in this process is closed first. Errors in the
    settings or the data are raised by this call, as LabError; a loss that becomes NaN, a full disk and the like raise
    one from the iteration, and the last good weights are kept.
    """
    e, data = experiment, data if isinstance(data, Data) else load_data(data)
    check_sizes(e, data)
    ranks = join(e.batch_size)
    if ranks.rank:
        recorder = Follower(e, data, ranks)
    else:
        place = find_run(run_name(e, data), run, resume, runs_root(root))
        recorder = ranks.lead(Recorder(e, data, place, iterations=e.iterations, progress=progress))
    place = recorder.run
    with recorder.preparing():
        # A run that is resumed needs nothing but its own folder.
        bert, tokenizer = place.encoder() if recorder.newest else load_encoder(e.encoder)
        weights = None if recorder.newest else weights_sha256(e.encoder)
        for module in bert.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = e.dropout
        model = MultitaskModel(bert, e.pooling, e.sts_head, e.pair, e.qqp_head).to(recorder.device)
        bert.requires_grad_(e.trains == "all")
        longest = bert.config.max_position_embeddings
        alone = prepare(data, tokenizer, share=kept_share(e, data), longest=longest,
                        cache=place.folder.parent / ".cache")
        rows = cross(alone, longest) if e.pair == "cross" else alone
        streams = {t: Stream(len(rows[t, "train"]), e.batch_size, [e.seed, i]) for i, t in enumerate(TASKS)}
        slow = Average(model) if e.smart and e.smart.bregman else None
        ranks.share_dropout(e.seed, model, *([slow.model] if slow else []))
        parts = checkpoints.Parts(
            model, AdamW(model.parameters(), lr=e.lr, weight_decay=e.weight_decay), recorder.randomness,
            windows={split: Window(recorder.device) for split in ("batch", "sampled")},
            generators={"combiners": torch.Generator().manual_seed(e.seed),  # the order in which they take the tasks
                        "noise": torch.Generator().manual_seed(e.seed)},  # SMART's
            average=slow and slow.model)
        recorder.state |= {"best": None, "drawn": dict.fromkeys(TASKS, 0)}
        sizes = {f"{task} {split}": {"rows": len(s.examples), "used": len(rows[task, split]),
                                     "left out": len(s.problems)} for (task, split), s in data.splits.items()}
        recorder.begin(parts, tokenizer, {"sizes": sizes, "cut": rows["sst", "train"].texts.cut}, departs=departs(e),
                       **({"encoder_sha256": weights} if weights else {}))
        ranks.spread(recorder)
    return Training(recorder, model, tokenizer, loop(e, rows, alone, streams, slow, recorder, ranks))


def loop(e: Experiment, rows: Mapping[tuple[str, str], Rows], alone: Mapping[tuple[str, str], Rows],
         streams: Mapping[str, Stream], slow: Average | None, recorder: Recorder, ranks: Ranks) -> Iterator[dict]:
    """Train to the end. Every metric row is recorded, then yielded.

    rows: (task, split) -> Rows. alone: the same, where `cross` has joined no pairs. streams: task -> the order of its
    training rows. slow: the average of the weights that the Bregman term needs. The recorder's parts hold model,
    optimizer, windows and random generators. ranks: the processes that share each batch, usually this one alone.
    """
    parts, state = recorder.parts, recorder.state
    model, optimizer, window = parts.model, parts.optimizer, parts.windows["batch"]
    encoder = [p for p in model.bert.parameters() if p.requires_grad]  # none where the heads alone are trained
    vectors = None

    def forward(batches: Mapping[str, Rows]) -> Tensor:
        """The sum of the losses of all batches, each the mean over its rows; a task may be there with two of them."""
        batch = pack(batches, recorder.device, ranks.rank, ranks.size)
        state["window_tokens"] += batch.tokens
        with ranks.passing(batches, batch, state["step"]):
            if vectors:
                found = model.losses(batch, model.answers(vectors.of(batch.texts), batch))
                for task, loss in found.items():
                    window.note("loss", task, loss.detach())
            else:
                found = losses(e, model, slow, batch, window, parts.generators["noise"])
        return sum(loss * (e.task_weight(task) * (len(batches[task]) // e.batch_size) * batch.share[task])
                   for task, loss in found.items())

    def step() -> None:
        optimizer.step()
        if slow:
            slow.update(model)

    with recorder.running(), sparse_gradient(model.bert.word, alone=ranks.size == 1):
        if not encoder:
            vectors = vectors_of(e, rows, recorder)
        if not state["step"] and not ranks.rank:
            # what the model scores before its first step, and what no training at all gives
            yield from recorder.record([*score_floors(e, alone, recorder),
                                        *score_epoch(e, rows, recorder, vectors)])
        while state["step"] < recorder.total:
            # Draw
            number = recorder.advance()
            drawn = draw(e, rows, streams, state["drawn"], number)
            if encoder and is_sampled(e, number) and not ranks.rank:
                sample(e, number, model, drawn, {task: rows[task, "train"] for task in drawn},
                       parts.windows["sampled"], partial(losses, e, model, slow))

            # The iteration's updates, in order: forward, backward, combine, step
            with recorder.timed():
                model.train()
                for update in e.updates:
                    if update == "separate":  # a step for each batch, with the gradient at the weights just moved
                        for task, part in drawn.items():
                            for first in range(0, len(part), e.batch_size):
                                optimizer.zero_grad()
                                forward({task: part.take(np.arange(first, first + e.batch_size))}).backward()
                                ranks.sum_gradients(model)
                                window.note("grad_norm", task, norm(encoder))
                                step()
                    elif update == "sum":  # one step on the sum of the losses
                        optimizer.zero_grad()
                        # One pass; but with SMART a pass has three graphs, and a task at a time bounds the memory.
                        for part in [{task: part} for task, part in drawn.items()] if e.smart else [drawn]:
                            forward(part).backward()
                        ranks.sum_gradients(model)
                        window.note("grad_norm", "all", norm(encoder))
                        step()
                    else:  # one step on combined task gradients, with the graph of one task at a time in memory
                        gradients, of_heads = [], {}
                        for task, part in drawn.items():
                            optimizer.zero_grad()
                            forward({task: part}).backward()
                            ranks.sum_gradients(model)
                            gradients.append([p.grad for p in encoder])
                            of_heads |= {p: p.grad for p in model.heads.parameters() if p.grad is not None}
                        G = gramian(gradients)
                        if not G.isfinite().all():
                            raise recorder.not_finite("a task gradient")
                        for task, length in zip(drawn, G.diagonal().sqrt(), strict=True):
                            window.note("grad_norm", task, length)
                        own = parts.combiners.setdefault(update, {})
                        own["tasks"] = torch.tensor([TASKS.index(task) for task in drawn])
                        weights = COMBINERS[update](G, parts.generators["combiners"], own)
                        window.note_conflicts(G, list(drawn))
                        window.note_update(G, weights)
                        # The encoder's gradients are combined as one vector; a head keeps its own task's.
                        for p, gradient in zip(encoder, combine(gradients, weights), strict=True):
                            p.grad = gradient
                        for p, gradient in of_heads.items():
                            p.grad = gradient
                        del gradients, gradient, of_heads  # the other tasks' gradients are not needed any more
                        step()

                ranks.average(window.values)

            # Measure, record, save
            if ranks.rank:  # the first process does, see lab/runs/ranks.py
                continue
            found = recorder.window_rows()
            if number % e.iterations == 0:
                found += score_epoch(e, rows, recorder, vectors)
            yield from recorder.record(found)
        if ranks.rank:
            return
        found = score_everything(e, rows, recorder, vectors)
        recorder.writer.append(found)
        checkpoints.finish(recorder.run.checkpoints, {recorder.total, state["best"]["step"]}, recorder.every)
        recorder.done(best=state["best"])
        yield from found


def draw(e: Experiment, rows: Mapping[tuple[str, str], Rows], streams: Mapping[str, Stream], drawn: dict[str, int],
         step: int) -> dict[str, Rows]:
    """The rows of an iteration's batches, task -> Rows; a task drawn twice has the rows of both batches.

    drawn: the batches that each task's stream has given so far. They and the step determine the rows.
    """
    sizes = {task: len(rows[task, "train"]) for task in e.tasks}
    generator = np.random.default_rng([e.seed, len(TASKS), step])
    batches: dict[str, list[np.ndarray]] = {}
    for task in SAMPLERS[e.sampling](sizes, -(-step // e.iterations), e.epochs, generator):
        batches.setdefault(task, []).append(streams[task].batch(drawn[task]))
        drawn[task] += 1
    return {t: rows[t, "train"].take(np.concatenate(batches[t])) for t in TASKS if t in batches}


def losses(e: Experiment, model: MultitaskModel, slow: Average | None, batch: Batch, window: Window,
           noise: torch.Generator) -> dict[str, Tensor]:
    """Each task's mean loss on a batch, with SMART's penalty and the Bregman term in it, before anything is combined.

    The terms are noted in the window. noise: the generator of SMART's noise. slow: the weights of the Bregman term.
    """
    smart = e.smart
    with autocast(e.precision, batch.ids.device):
        embeddings = model.embed(batch)
        answers = model.logits(embeddings, batch)
        found = model.losses(batch, answers)
        for task, loss in found.items():
            window.note("loss", task, loss.detach())
        if not smart:
            return found
        model.train(smart.dropout)
        if not smart.dropout:  # both sides of each divergence then come from passes without dropout
            embeddings = model.embed(batch)
            answers = model.logits(embeddings, batch)
        if smart.weight:
            penalty = penalties(smart, lambda x: model.logits(x, batch), embeddings, answers, noise, batch)
            window.note("noise_norm", "all", penalty.noise_norm.detach())
            for task, value in penalty.values.items():
                window.note("penalty", task, value.detach())
                found[task] = found[task] + smart.weight * value
        if slow:
            average = slow.model.train(smart.dropout)
            with torch.no_grad():
                reference = average.logits(average.embed(batch), batch)
            for task in found:
                value = DIVERGENCES[task](answers[task], reference[task])
                window.note("bregman", task, value.detach())
                found[task] = found[task] + smart.bregman * value
        model.train()
    return found


def norm(parameters: list[torch.nn.Parameter]) -> Tensor:
    """The Euclidean norm of the gradient over all these parameters as one vector; 0 for none."""
    if not parameters:
        return torch.zeros(())
    gradients = [touched([p.grad])[0][0] for p in parameters if p.grad is not None]
    return torch.stack(torch._foreach_norm(gradients)).norm()


# ---- scales and names ----------------------------------------------------------------------------------------------


def kept_share(e: Experiment, data: Data) -> float:
    """The share of training rows that a scale keeps: 1 at the paper's, else what leaves 8 n STS rows (see `laptop`)."""
    if e.scale in (None, 1):
        return 1.0
    return min(1.0, 8 * e.epoch_1x / max(1, len(data.splits["sts", "train"].examples)))


def check_sizes(e: Experiment, data: Data) -> None:
    """LabError: of a training file, fewer rows are kept than a batch has."""
    share, sts = kept_share(e, data), data.splits["sts", "train"]
    for task in TASKS:
        split = data.splits[task, "train"]
        if (kept := len(kept_examples(split, share))) >= e.batch_size:
            continue
        why, remedy = "", "add rows" if kept < 1 else f"add rows, or lower batch_size to {kept}"
        if share < 1:
            why = (f", of which scale {e.scale:g} keeps {share:.2%}, as of every task, so that STS has "
                   f"{len(kept_examples(sts, share)):,} of {len(sts.examples):,}")
            remedy += ", or set scale to 1, which keeps all rows"
        raise LabError(f"{task}: a batch of {e.batch_size} cannot be drawn from {kept} training rows; "
                       f"{split.path.name} has {len(split.examples):,} usable rows{why}; {remedy}")


def run_name(experiment: Experiment, data: Data) -> str:
    """The name of an experiment's run: recipe, protocol, seed, and six digits that stand for all the rest."""
    return f"{experiment.name}-{experiment.protocol}-{name_end(experiment, data, weights_sha256(experiment.encoder))}"
