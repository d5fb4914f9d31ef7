"""Draws notebooks/drawings/*.svg, the pictures of the lessons.   make drawings

Each function draws one picture, and is named like its file. The colours are those of Okabe and Ito (2008), which
colour-blind readers can tell apart, and every colour has its words beside it. The white ground stays readable on a dark
page. The pictures stand beside the notebooks because JupyterLab serves no file from above its folder.
"""

import math
from html import escape
from pathlib import Path

TO = Path(__file__).resolve().parents[1] / "notebooks" / "drawings"
BLUE, RED, GREEN, PURPLE, ORANGE = "#0072B2", "#C25400", "#00805E", "#A8477E", "#8F6000"  # darkened, to be read as text
GRAY, INK = "#5b6775", "#0f172a"
PALE = {BLUE: "#dcecf7", RED: "#fbe3d3", GREEN: "#d6efe7", PURPLE: "#f4e1ec", ORANGE: "#fdf0cf", GRAY: "#eceff3"}


def text(x: float, y: float, words: str, size: int = 13, colour: str = INK, anchor: str = "middle",
         bold: bool = False) -> str:
    """Lines of text, separated by newlines; y is the baseline of the first."""
    weight = ' font-weight="600"' if bold else ""
    return "".join(f'<text x="{x:g}" y="{y + 1.35 * size * n:g}" font-size="{size}" fill="{colour}" '
                   f'text-anchor="{anchor}"{weight}>{escape(line)}</text>' for n, line in enumerate(words.split("\n")))


def box(x: float, y: float, wide: float, high: float, title: str = "", colour: str = GRAY, below: str = "",
        size: int = 13) -> str:
    """A box with a title, and smaller lines below it."""
    lines = below.split("\n") if below else []
    top = y + high / 2 + size * .36 - len(lines) * 7.5
    return (f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="5" fill="{PALE[colour]}" '
            f'stroke="{colour}" stroke-width="1.3"/>' + text(x + wide / 2, top, title, size, bold=bool(below))
            + text(x + wide / 2, top + 16, below, 11))


def line(points: list[tuple[float, float]], colour: str = INK, head: bool = True, dashed: bool = False,
         thick: float = 1.6) -> str:
    """A line through points, with an arrow head at its end."""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    end = f' marker-end="url(#{colour[1:]})"' if head else ""
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{thick}"{dashes}{end}/>'


def cells(x: float, y: float, words: list[str], wide: float, colour: str, high: float = 24) -> str:
    """A row of tokens; [PAD] is gray and hatched by a cross."""
    drawn = ""
    for n, word in enumerate(words):
        at, of = x + n * wide, GRAY if word == "[PAD]" else colour
        drawn += (f'<rect x="{at:g}" y="{y:g}" width="{wide:g}" height="{high:g}" fill="{PALE[of]}" stroke="{of}"/>'
                  + (line([(at, y), (at + wide, y + high)], GRAY, head=False, thick=.7) if of == GRAY else "")
                  + text(at + wide / 2, y + high / 2 + 4, "" if word == "[PAD]" else word, 11))
    return drawn


def page(wide: int, high: int, title: str, *parts: str) -> str:
    """The file: a white ground, a title for screen readers, and the arrow heads."""
    heads = "".join(f'<marker id="{c[1:]}" markerWidth="9" markerHeight="9" refX="7" refY="4" orient="auto" '
                    f'markerUnits="userSpaceOnUse"><path d="M0 0.5L8 4L0 7.5z" fill="{c}"/></marker>'
                    for c in (INK, *PALE))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
            f'role="img" font-family="system-ui, sans-serif">\n<title>{escape(title)}</title>\n<defs>{heads}</defs>\n'
            '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def siamese_cross() -> str:
    first, second = ["[CLS]", "a", "man", "plays", "[SEP]"], ["[CLS]", "he", "sings", "well", "[SEP]"]
    parts = [text(205, 30, "Siamese: each sentence alone", 15, bold=True),
             text(640, 30, "Cross: both sentences together", 15, bold=True),
             line([(420, 20), (420, 385)], GRAY, head=False, dashed=True, thick=1)]
    for x, words, colour, vector in ((15, first, BLUE, "u"), (215, second, RED, "v")):
        parts += [cells(x, 60, words, 38, colour), text(x + 95, 101, "segment 0, positions 0 to 4", 11, GRAY),
                  line([(x + 95, 110), (x + 95, 138)]), box(x + 20, 140, 150, 46, "encoder", below="the same weights"),
                  line([(x + 95, 188), (x + 95, 214)]), box(x + 55, 216, 80, 30, vector, colour),
                  line([(x + 95, 248), (205 + (x - 115) * .3, 282)])]
    parts += [box(115, 284, 180, 44, "head", GREEN, below="reads u and v"), line([(205, 330), (205, 352)]),
              text(205, 370, "score"), cells(440, 60, first, 44, BLUE), cells(660, 60, second[1:], 44, RED),
              text(548, 101, "segment 0, positions 0 to 4", 11, GRAY),
              text(748, 101, "segment 1, positions 5 to 8", 11, GRAY),
              line([(638, 110), (638, 138)]), box(493, 140, 290, 46, "encoder", below="attention goes across both"),
              line([(638, 188), (638, 214)]), box(573, 216, 130, 30, "one vector", PURPLE),
              line([(638, 248), (638, 282)]),
              box(548, 284, 180, 44, "head", GREEN, below="reads the one vector"), line([(638, 330), (638, 352)]),
              text(638, 370, "score"), text(205, 398, "The sentences meet in the head.", 12, GRAY),
              text(638, 398, "The sentences meet in every layer.", 12, GRAY)]
    return page(850, 415, "A siamese encoder reads each sentence alone; a cross-encoder reads both together", *parts)


def iteration() -> str:
    steps = [("draw", "a batch of 8 rows\nof each task", ORANGE), ("forward", "logits, and\none loss a task", BLUE),
             ("backward", "gradients gᵢ of\nthe encoder", RED), ("combine", "one gradient:\nsum, PCGrad, …", PURPLE),
             ("step", "AdamW moves\nall weights", GREEN)]
    parts = [text(440, 30, "One iteration of training", 15, bold=True)]
    for n, (title, below, colour) in enumerate(steps):
        x = 20 + n * 172
        parts.append(box(x, 62, 140, 72, title, colour, below, 15))
        if n < 4:
            parts.append(line([(x + 141, 98), (x + 170, 98)], thick=2))
    parts += [line([(778, 135), (778, 176), (262, 176), (262, 137)], GREEN, thick=2),
              text(520, 194, "GSE's second update: the same batch once more, at the moved weights", 12, GREEN),
              line([(808, 135), (808, 216), (90, 216), (90, 137)], thick=2),
              text(440, 234, "next iteration: a new batch; after each epoch the model is scored on dev", 12)]
    return page(880, 252, "One iteration: draw, forward, backward, combine, step", *parts)


def pcgrad() -> str:
    g1, g2 = (1.0, 0.0), (2 * math.cos(math.radians(130)), 2 * math.sin(math.radians(130)))
    dot = g1[0] * g2[0] + g1[1] * g2[1]
    first = tuple(a - dot / 4 * b for a, b in zip(g1, g2, strict=True))  # |g2|² = 4
    second = tuple(b - dot * a for a, b in zip(g1, g2, strict=True))  # |g1|² = 1
    plain = tuple((a + b) / 2 for a, b in zip(g1, g2, strict=True))
    surgery = tuple((a + b) / 2 for a, b in zip(first, second, strict=True))
    unit = 92

    def panel(x: float, title: str, arrows: list, dashed: list, corner: tuple = ()) -> list[str]:
        def at(v: tuple[float, float]) -> tuple[float, float]:
            return x + v[0] * unit, 262 - v[1] * unit

        drawn = [text(x - 20, 64, title, 13, bold=True)]
        drawn += [line([at(a), at(b)], GRAY, head=False, dashed=True) for a, b in dashed]
        for v, name, colour, (dx, dy), thick in arrows:
            (x1, y1), start = at(v), at((0, 0))
            drawn += [line([start, (x1, y1)], colour, thick=thick), text(x1 + dx, y1 + dy, name, 13, colour)]
        if corner:  # the mark of a right angle at `corner`, between the way to the origin and the dashed line
            way = [tuple(.11 * (a - c) / math.dist(end, corner) for a, c in zip(end, corner, strict=True))
                   for end in ((0, 0), dashed[0][0])]
            mark = [tuple(c + sum(w[k] for w in of) for k, c in enumerate(corner))
                    for of in (way[:1], way, way[1:])]
            drawn.append(line([at(point) for point in mark], INK, head=False, thick=1))
        return drawn

    o = (0.0, 0.0)
    both = [(g1, "g₁", BLUE, (2, 20), 1.4), (g2, "g₂", RED, (-8, -6), 1.4)]
    parts = [text(440, 28, "PCGrad on two gradients of lengths 1 and 2 that conflict, at 130 degrees", 15, bold=True),
             *panel(160, "g₁ loses its part along g₂",
                    [*both, (first, "what is left of g₁", BLUE, (22, -8), 3)],
                    [(g1, first), (o, (-g2[0] * .38, -g2[1] * .38))], first),
             *panel(455, "g₂ loses its part along g₁", [*both, (second, "what is left of g₂", RED, (56, -6), 3)],
                    [(g2, second)], second),
             *panel(730, "The two means", [*both, (plain, "plain mean", GRAY, (-13, -8), 3),
                                            (surgery, "PCGrad's mean", GREEN, (48, -8), 3)], []),
             text(150, 336, "Dashed: what is taken away, and the line of\ng₂. What is left is at a right angle to g₂.",
                  12, GRAY),
             text(440, 336, "Each is projected on the original of\nthe other. What is left is at a right\nangle to g₁.",
                  12, GRAY),
             text(722, 336, f"Product with g₁: {plain[0]:.2f} for the plain mean\n(the step harms task 1), "
                  f"{surgery[0]:+.2f} for\nPCGrad's mean (it helps task 1).".replace("-", "−"), 12, GRAY)]
    return page(880, 390, "PCGrad takes from each of two conflicting gradients its part along the other", *parts)


def smart() -> str:
    def square(x: float, y: float, half: float, colour: str) -> str:
        return (f'<rect x="{x - half:g}" y="{y - half:g}" width="{2 * half:g}" height="{2 * half:g}" '
                f'fill="{PALE[colour]}" stroke="{colour}" stroke-width="1.5"/>')

    def dot(x: float, y: float, colour: str = INK, radius: float = 4) -> str:
        return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}"/>'

    parts = [text(430, 28, "SMART's noise: two readings of ε = 0.00001", 15, bold=True),
             text(215, 60, "Library: ε guards against dividing by zero", 13, BLUE, bold=True),
             text(645, 60, "Ball: ε is the radius that noise must not leave", 13, RED, bold=True),
             line([(430, 50), (430, 410)], GRAY, head=False, dashed=True, thick=1),
             square(215, 205, 114, BLUE), line([(215, 205), (327, 116)], BLUE, thick=2.5), dot(215, 205),
             text(215, 226, "start: random noise, far too\nsmall to be seen here", 11),
             text(262, 136, "after the step,\nrescaled", 11, BLUE, "end"),
             text(215, 340, "square: largest entry .76", 12, BLUE), line([(80, 362), (155, 362)], ORANGE, thick=2.5),
             text(164, 366, "a typical entry of an embedding: .5", 12, ORANGE, "start"),
             text(215, 396, "The direction stays the random one (fresh heads).", 12, GRAY),
             square(645, 205, 114, RED), dot(620, 232), text(620, 254, "start: random noise", 11),
             line([(620, 232), (840, 62)], GRAY, dashed=True), text(780, 150, "up the gradient,\nfar outside", 11, GRAY,
                                                                    "start"),
             dot(759, 91, RED, 6), text(746, 106, "cut back, entry by entry", 11, RED, "end"),
             text(645, 340, "square: largest entry .00001", 12, RED),
             text(645, 366, "drawn 76,000 times as large as the one on the left", 12, GRAY),
             text(645, 396, "The direction is the gradient's; the penalty is next to nothing.", 12, GRAY)]
    return page(890, 412, "SMART's noise in the library reading and in the ball reading", *parts)


def packing() -> str:
    sentences = [["[CLS]", "fine", ".", "[SEP]"], ["[CLS]", "i", "would", "see", "it", "again", "soon", ".", "[SEP]"],
                 ["[CLS]", "no", "[SEP]"]]
    colours, longest = (BLUE, RED, GREEN), max(map(len, sentences))
    total = sum(map(len, sentences))
    parts = [text(20, 30, f"Padded: {len(sentences)} × {longest} = {len(sentences) * longest} places, "
                  f"{len(sentences) * longest - total} of them padding (crossed out)", 14, anchor="start", bold=True)]
    for n, (words, colour) in enumerate(zip(sentences, colours, strict=True)):
        parts.append(cells(20, 46 + 30 * n, words + ["[PAD]"] * (longest - len(words)), 50, colour))
    parts.append(text(20, 176, f"Packed: one row of N = {total} real tokens, and the lengths "
                      f"{', '.join(str(len(w)) for w in sentences)}", 14, anchor="start", bold=True))
    start, side = 0, 11
    for words, colour in zip(sentences, colours, strict=True):
        parts += [cells(20 + start * 50, 192, words, 50, colour),
                  f'<rect x="{20 + start * side}" y="{272 + start * side}" width="{len(words) * side}" '
                  f'height="{len(words) * side}" fill="{PALE[colour]}" stroke="{colour}" stroke-width="1.3"/>']
        start += len(words)
    whole = total * side
    parts += [f'<rect x="20" y="272" width="{whole}" height="{whole}" fill="none" stroke="{GRAY}"/>',
              text(20, 256, "Attention: each token looks at the tokens of its own sentence", 14, anchor="start",
                   bold=True),
              text(whole + 44, 292, "Rows: the tokens that look. Columns: the tokens that they look at.\n"
                   "White: never computed, because no sentence sees another.\n\n"
                   "Embeddings, feed-forward layers and layer norms work on the packed row, token by\ntoken. Only "
                   "attention needs the lengths: it groups sentences of similar length,\nand pads and masks inside a "
                   "group.", 12, anchor="start")]
    return page(840, 470, "A padded block of tokens, and the same tokens packed in one row", *parts)


def sheet() -> str:
    def number(x: float, y: float, words: str) -> str:
        wide = 8 + 7 * len(words)
        return (f'<rect x="{x - wide:g}" y="{y - 9:g}" width="{wide}" height="18" rx="9" fill="{INK}"/>'
                + text(x - wide / 2, y + 4, words, 11, "#ffffff", bold=True))

    def block(x: float, y: float, wide: float, high: float, title: str, colour: str, below: str, where: str) -> str:
        return box(x, y, wide, high, title, colour, below, 14) + number(x + wide - 6, y, where)

    parts = [text(450, 34, "The lab on one sheet", 19, bold=True),
             text(450, 56, "Black labels: the notebooks that teach it", 12, GRAY)]
    tasks = [(20, "SST", "sentiment of a review\nlabel 0 to 4", BLUE),
             (315, "QQP", "do two questions ask the same?\nlabel 0 or 1", RED),
             (610, "STS", "how similar are two sentences?\nscore 0 to 5", GREEN)]
    heads = ["Linear(H, 5), cross entropy\nscore: accuracy", "on [u; v], binary cross entropy\nscore: accuracy",
             "linear, cosine, …; squared error\nscore: Pearson's r"]
    for n, ((x, title, below, colour), head) in enumerate(zip(tasks, heads, strict=True)):
        turn, to = 510 + 9 * n, 155 + 75 * n  # the three gradients go into one box
        parts += [block(x, 82, 270, 62, title, colour, below, "03"), line([(x + 135, 145), (x + 135, 170)], colour),
                  line([(x + 135, 417), (x + 135, 440)], colour),
                  block(x, 442, 270, 58, f"{title} head", colour, head, "03 05" if title == "STS" else "03"),
                  line([(x + 135, 501), (x + 135, turn), (to, turn), (to, 548)], colour)]
    parts += [block(20, 172, 860, 46, "Batches", ORANGE,
                    "which task comes next, how many iterations; packed tokens", "01 07"),
              line([(450, 219), (450, 240)]),
              block(20, 242, 860, 92, "One shared encoder: MiniLM, 6 layers, H = 384", GRAY,
                    "embeddings → attention and feed-forward, six times → a hidden state for each token\n"
                    "SMART adds noise to the embeddings and penalizes what it changes in the predictions", "01 06"),
              line([(450, 335), (450, 362)]),
              block(20, 364, 860, 52, "Pooling", PURPLE,
                    "cls, mean or max: one vector u for each sentence (a pair: u and v)", "01 05"),
              block(20, 550, 420, 70, "Combine the three gradients", GRAY,
                    "separate, sum, PCGrad, GSE (PCGrad, then sum):\n"
                    "what if one task's gradient points against another's?", "04"),
              line([(441, 585), (458, 585)]),
              block(460, 550, 420, 70, "Step: AdamW", GRAY, "moves every weight by about the learning rate at most;\n"
                    "then the next iteration, from the batches on", "02"),
              line([(670, 621), (670, 644)]),
              block(20, 646, 860, 62, "Measure", PURPLE,
                    "dev after each epoch; overall = (SST + QQP + (STS + 1) / 2) / 3\n"
                    "several seeds, intervals, verdicts: is the difference real?", "03 08"),
              line([(450, 709), (450, 732)]),
              block(20, 734, 860, 58, "Your own idea", ORANGE,
                    "one change, one control, the same seeds; and twelve mistakes, most of which raise no error\n"
                    "records in the run store → lab report, dashboard, lab predict", "00 09 10")]
    return page(900, 810, "The lab on one sheet: data, encoder, heads, training, measurement, and the notebook of each",
                *parts)


def drawings() -> dict[str, str]:
    """Every picture: the name of its file -> its SVG."""
    return {f"{draw.__name__}.svg": draw() for draw in (siamese_cross, iteration, pcgrad, smart, packing, sheet)}


if __name__ == "__main__":
    for name, svg in drawings().items():
        (TO / name).write_text(svg, encoding="utf-8")
