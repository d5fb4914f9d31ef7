"""Answers of trained runs to the user's own sentences, with their tokens and the attention between these."""

import html
import json

import pandas as pd
import streamlit as st
from answers import SHIPS
from choices import chosen, draw, visible
from pickers import keep, plain, select, select_other, select_run, with_commands
from weights import checkpoint_files, model_of

from lab.errors import LabError
from lab.figures import attention
from lab.results.ask import best_run, of_five, on_sample, quality
from lab.results.notes import NOTES
from lab.runs.folder import Run
from lab.runs.stores import runs_root

LONGEST = 500  # characters of a sentence; the rest is not read
MEAN = "mean of heads"
SMALLEST = .0005  # an effect below it is shown as none
EFFECTS = {"sst": "the probability of the answer", "qqp": "the probability of the answer", "sts": "the similarity"}
EXAMPLES = {  # name -> two sentences of ours, and what to watch
    "Negation": ("The film is not good.", "The film is good.",
                 "One small word reverses the meaning. Does the sentiment change too, and which heads look at *not*?"),
    "Contrast": ("The actors are brilliant, but the story is dull.", "The story is dull, but the actors are brilliant.",
                 "What follows *but* weighs more to a reader. Do the two orders get different sentiments?"),
    "Word order": ("The dog chases the cat.", "The cat chases the dog.",
                   "The same words with another meaning: a model that only counts words calls them the same."),
    "No common word": ("How old are you?", "What is your age?",
                       "A paraphrase without one word in common: only the meaning of the words shows it."),
    "One word apart": ("Is it safe to drink tap water in Rome?", "Is it safe to drink tap water in Cairo?",
                       "Nearly all words are the same, and yet each question has an answer of its own."),
}


def _trained() -> dict[str, Run]:
    """The runs with trained weights by name: those chosen in the sidebar, or else all."""
    now = visible()
    names = set(now.runs["run"].unique())
    found = {name: Run(folder) for name, folder in now.folders.items() if name in names}
    found = {name: run for name, run in found.items() if checkpoint_files(run)}
    if found:
        selected = set(chosen().runs["run"].unique())
        found = {name: run for name, run in found.items() if name in selected} or found
    return found


def _ask(run: Run | None, weights: str, texts: list[str]) -> dict | str:
    """All answers of a run, or why there are none. None: of the model that ships with the lab."""
    try:
        from lab.evaluate import predict

        model, tokenizer, lock, scores = model_of(run, weights)
        with lock:  # a tokenizer serves one visitor at a time
            seen = attention.see(model, tokenizer, texts)
            if not all(set(part.tokens) - {"[CLS]", "[SEP]"} for part in seen):
                return "nothing of the text is left after tokenizing: type a word"
            found = {"step": model.step, "scores": scores, "seen": seen,
                     "sst": predict(model, "sst", texts, tokenizer=tokenizer)}
            if len(texts) == 2:
                for task in ("qqp", "sts"):
                    found[task] = predict(model, task, [tuple(texts)], tokenizer=tokenizer)
        return found
    except LabError as error:
        return str(error)
    except Exception as error:  # a run's folder may be damaged in any way, or vanish
        return (f"{run.name if run else SHIPS} cannot be opened ({type(error).__name__}: "
                f"{str(error).partition(chr(10))[0][:200]})")


def _offer() -> None:
    """Where no run has weights: say what answers, and how to train a model."""
    st.info("No run here has weights yet, so the model that ships with the lab answers: MiniLM as it is, with heads "
            "of its own. `lab train strong` trains the whole model, in minutes, and on the real sets a better one.")
    st.page_link("views/train.py", label="Train a model", icon=":material/model_training:",
                 query_params={"train": "strong"})


def _texts() -> list[str]:
    """The one or two sentences that were typed. Where there is none, the page stops."""
    with st.container(horizontal=True):
        for name, (first, second, _) in EXAMPLES.items():
            st.button(name, on_click=st.session_state.update, args=({"say": first, "and": second},))
    if not {"say", "and"} & set(st.query_params):
        keep("say", None, EXAMPLES["Negation"][0])
        keep("and", None, EXAMPLES["Negation"][1])
    left, right = st.columns(2)
    typed = [left.text_input("Sentence", key="say", bind="query-params"),
             right.text_input("A second one, for paraphrase and similarity", key="and", bind="query-params")]
    typed = [(text or "").encode("utf-8", "replace").decode() for text in typed]
    if any(len(text) > LONGEST for text in typed):
        st.caption(f"Only the first {LONGEST} characters of a sentence are read.")
    texts = [text[:LONGEST] for text in typed if text[:LONGEST].strip()]
    if not texts:
        st.info("Type a sentence, or click an example.")
        st.stop()
    for first, second, watch in EXAMPLES.values():
        if [first, second] == texts:
            st.caption(f":material/visibility: {watch}")
    return texts


def _quality(scores: tuple, tasks: list[str]) -> None:
    """Say how good the model is at each task, on examples that it has not seen."""
    values, majority, rows = scores
    for task in tasks:
        if values:
            how = quality(task, values.get(task), majority.get(task), rows.get(task, 0))
            st.write(with_commands(f"{task.upper()}: {how}"))


def _provenance(about: pd.Series | None, step: int, weights: str) -> None:
    """Say which checkpoint answers."""
    if about is None:
        st.caption("The untouched encoder minilm, with heads that were trained on the real sets and the sample; "
                   "how good it is was measured on the real dev sets. " + NOTES["minilm"])
        return
    settings = json.loads(about["settings"])
    epoch = step / max(1, settings.get("iterations") or 1)
    st.caption(plain(f"{about['name']}{', changed in ' + about['departs'] if about['departs'] else ''} · encoder: "
                     f"{about['encoder']} · protocol: {about['protocol']} · data: {about['data']} · seed: "
                     f"{about['seed']:.0f} · {weights} weights: epoch {epoch:.3g} of {settings.get('epochs')}, "
                     f"iteration {step}"))
    if about["encoder"] in NOTES:
        st.caption(NOTES[about["encoder"]])
    if about["data"] == "sample":
        st.caption(":material/info: trained on the bundled sample: its answers say nothing about the real task")


def _answers(found: dict, side: str, head: str) -> None:
    """Draw the answers to all tasks."""
    sst = found["sst"]
    for text, (_, row) in zip(sst["text"], sst.iterrows(), strict=True):
        st.markdown(plain(f"“{text[:80]}{'…' if len(text) > 80 else ''}”: ")
                    + f"**{plain(row['answer'])}, {row[f'p{row.prediction}']:.0%}**")
    if "qqp" in found:
        p, score = found["qqp"]["probability"][0], found["sts"]["prediction"][0]
        score = score if head == "cosine_embedding" else of_five(score)
        st.markdown(f"The pair: **{found['qqp']['answer'][0]}, {max(p, 1 - p):.0%}**, similarity **{score:.2f}**"
                    + " of 5" * (head != "cosine_embedding"))
    answers = "; ".join(f"sentence {i + 1}: {answer}" for i, answer in enumerate(sst["answer"]))
    draw(attention.bars(sst), f"live-sst-{side}",
         f"Probability of each of the five sentiments. Most likely, {answers}", sst)
    if "qqp" in found:
        scale = "cosine, -1 to 1" if head == "cosine_embedding" else "0 unrelated, 5 the same"
        with st.container(horizontal=True):
            st.metric("QQP: probability of a paraphrase", f"{p:.0%}", help="from 50 % on the answer is yes")
            st.metric(f"STS: similarity ({scale})", f"{score:.2f}")


def _importance(run: Run | None, weights: str, task: str, texts: list[str]) -> None:
    """Colour each word by what the answer loses without it."""
    from lab.results.importance import occlusion

    model, tokenizer, lock, _ = model_of(run, weights)
    try:
        with lock:
            found = occlusion(model, tokenizer, task, texts)
    except LabError as error:
        st.caption(plain(error))
        return
    most = max((abs(effect) for words in found for _, effect in words if effect == effect), default=0) or 1
    for words in found:
        parts = []
        for word, effect in words:
            strength = 0 if effect != effect else .55 * abs(effect) / most
            colour = "86, 180, 233" if effect >= 0 else "230, 159, 0"
            title = "not tried" if effect != effect else f"{effect:+.3f}"
            parts.append(f"<span title='{title}' style='background: rgba({colour}, {strength:.2f}); padding: .1em "
                         f".2em; border-radius: .2em'>{html.escape(word)}</span>")
        st.html(f"<p style='overflow-wrap: anywhere'>{' '.join(parts)}</p>")
    strongest = max((pair for words in found for pair in words if pair[1] == pair[1]), key=lambda pair: abs(pair[1]),
                    default=None)
    if strongest and abs(strongest[1]) < SMALLEST:
        st.caption(f"By occlusion: without any one of the words, {EFFECTS[task]} changes by less than 0.001.")
    elif strongest:
        st.caption(plain(f"By occlusion: without “{strongest[0]}”, {EFFECTS[task]} changes most, by "
                         f"{-strongest[1]:+.3f}."))


def _pick_head(points: list[dict]) -> None:
    """Show the head that was clicked in the grid."""
    if points:
        layer, head = points[0]["customdata"]
        st.session_state["layer"], st.session_state["head"] = layer, f"head {head}"


def _number(head: str) -> int | None:
    """The number of a chosen head; None: the mean of all."""
    return None if head == MEAN else int(head.split()[1])


def _attention(part: attention.Seen, layer: int, head: str, most: float, side: str) -> None:
    """Show the tokens of one input and the attention between them."""
    st.code(" ".join(part.tokens), language=None, wrap_lines=True)
    notes = [f"{len(part.tokens)} tokens"]
    notes += [f"{part.cut} more than the encoder has places for are cut off"] * (part.cut > 0)
    notes += ["[UNK] stands for what the vocabulary lacks: the model cannot tell it from anything else"] * (
        "[UNK]" in part.tokens)
    notes += [f"the picture shows the first {attention.SHOWN}"] * (len(part.tokens) > attention.SHOWN)
    st.caption(plain("; ".join(notes)))
    weights = part.weights(layer, _number(head))
    table = pd.DataFrame({"token": part.tokens, "id": part.ids, "segment": part.segments,
                          "looks most at": [part.tokens[j] for j in weights.argmax(1)], "with weight": weights.max(1)})
    draw(attention.heatmap(part, layer, _number(head), most), f"live-map-{side}",
         f"Attention of each of {len(part.tokens)} tokens to each, layer {layer}, {head}; the table below says where "
         "each looks most", table)


st.title("Live predictions")
st.write("Type a sentence, or two, and see all three tasks answered by one model. Change one word at a time, and watch "
         "which answers move.")
offered = _trained()
texts = _texts()
about = visible().runs.drop_duplicates("run").set_index("run")
finest = best_run(runs_root())
order = sorted(offered, key=lambda name: not finest or offered[name].folder != finest.folder)
runs: dict[str, Run | None] = {name: offered[name] for name in order}
runs = {SHIPS: None} | runs if finest and on_sample(finest) else runs | {SHIPS: None}  # it has seen the real sets too
if offered and st.session_state.pop("only-ships", False):
    st.session_state["live"] = next(iter(offered))  # the model that was just trained takes over
left, middle, right = st.columns(3)
labels = visible().labels
labels = {name: labels.get(name, name) for name in runs}
first = select_run("Run", labels, next(iter(runs)), "live", left)
second = select_other("Beside it", {name: labels[name] for name in runs if name != first}, "beside", middle,
                      placeholder="no other run")
weights = right.segmented_control("Weights", ["last", "best"], default="best", required=True, key="saved",
                                  bind="query-params", help="After the last epoch, or the one that was best on dev")
shown = [name for name in (first, second) if name]
found = {name: _ask(runs[name], weights, texts) for name in shown}
for side, column in zip(shown, st.columns(len(shown)), strict=True):
    with column:
        st.subheader(plain(labels[side]))
        if isinstance(found[side], str):
            st.error(plain(found[side]))
        else:
            mine = about.loc[side] if runs[side] else None
            _answers(found[side], "ab"[shown.index(side)],
                     "" if mine is None else json.loads(mine["settings"]).get("sts_head"))
            _quality(found[side]["scores"], ["sst"] if len(texts) == 1 else ["sst", "qqp", "sts"])
            _provenance(mine, found[side]["step"], weights)

if not offered:
    _offer()
    st.session_state["only-ships"] = True
found = {name: answer for name, answer in found.items() if not isinstance(answer, str)}
if found:
    st.subheader("Which words the answer depends on")
    task = "sst" if len(texts) == 1 else st.segmented_control(
        "Answer to", ["sst", "qqp", "sts"], format_func=str.upper, default="sst", required=True, key="why",
        bind="query-params")
    for side, column in zip(found, st.columns(len(found)), strict=True):
        with column:
            for part in ([[text] for text in texts] if task == "sst" else [texts]):
                _importance(runs[side], weights, task, part)
    st.caption("Blue: without this word the answer would be weaker. Orange: it would be stronger.")
    st.subheader("Tokens and attention")
    st.write("The model reads WordPiece tokens, not words: a token that begins with ## continues the word before it, "
             "and [CLS] and [SEP] mark the beginning and the end of a text. Each row of the picture is a token, and "
             "shows how much of every token goes into its next vector. A head that looks mostly at [SEP] does little "
             "with this text.")
    maps = [answer["seen"][0].attention for answer in found.values()]
    layers, heads = min(len(m) for m in maps), min(m.shape[1] for m in maps)
    left, middle, right = st.columns(3)
    layer = select("Layer", range(1, layers + 1), layers, "layer", left)
    head = middle.selectbox("Head", [MEAN, *(f"head {i + 1}" for i in range(heads))], key="head", bind="query-params")
    which = 0
    if max(len(answer["seen"]) for answer in found.values()) > 1:
        options = ["sentence 1", "sentence 2"]
        which = options.index(right.segmented_control("Of", options, default=options[0], required=True, key="of",
                                                      bind="query-params"))
    parts = {side: answer["seen"][min(which, len(answer["seen"]) - 1)] for side, answer in found.items()}
    most = max(float(part.weights(layer, _number(head)).max()) for part in parts.values())  # one scale for both
    for side, column in zip(parts, st.columns(len(parts)), strict=True):
        with column:
            if len(parts) > 1:
                st.caption(plain(labels[side]))
            _attention(parts[side], layer, head, most, "ab"[shown.index(side)])
    for side, column in zip(parts, st.columns(len(parts)), strict=True):
        with column:
            draw(attention.grid(parts[side], layer, _number(head)), f"live-grid-{'ab'[shown.index(side)]}",
                 "Attention of all layers and heads, each a small square", on_click=_pick_head)
    st.caption("A click on a square shows this layer and head above.")
