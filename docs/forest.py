"""A picture of differences with their intervals, one line each, as an SVG that reads in light and in dark."""

from collections.abc import Sequence
from typing import NamedTuple

from lab.results.words import between

WIDTH, ROW, TOP = 460, 22, 56  # pixels


class Line(NamedTuple):
    """One difference. low, high: its interval, nan where there is none. beside: another value, nan where none."""

    group: str  # printed at the left, once for lines that follow each other
    mean: float
    low: float
    high: float
    colour: str
    said: str  # printed at the right
    beside: float = float("nan")


def forest(title: str, axis: str, lines: Sequence[Line], ticks: Sequence[float], right: int = 150,
           band: float = 0, left: int = 190) -> str:
    """The SVG. axis: what is measured; ticks: symmetric, the largest is the reach of the axis, and a mark beyond it is
    an arrowhead; left, right: pixels for the texts; band: half the width of a grey band around 0."""
    reach, centre, svg, y, before = max(ticks), left + WIDTH / 2, [], TOP, None

    def x(value: float) -> float:
        return centre + WIDTH / 2 * max(-1, min(1, value / reach))

    for line in lines:
        if line.group != before:
            y += 10 if before else 0
            svg.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end" class="ink">{line.group}</text>')
            before = line.group
        if line.beside == line.beside:
            svg.append(f'<path d="M{x(line.beside):.1f} {y - 6}l6 6l-6 6l-6 -6z" class="hollow"/>')
        if line.low == line.low:
            svg.append(f'<line x1="{x(line.low):.1f}" x2="{x(line.high):.1f}" y1="{y}" y2="{y}" stroke="{line.colour}" '
                       'stroke-width="3"/>')
        if abs(line.mean) > reach:
            end, to = x(line.mean), 7 if line.mean > 0 else -7
            svg.append(f'<path d="M{end:.1f} {y - 6}v12l{to} -6z" fill="{line.colour}"/>')
        elif line.mean == line.mean:
            svg.append(f'<circle cx="{x(line.mean):.1f}" cy="{y}" r="5" fill="{line.colour}"/>')
        svg.append(f'<text x="{left + WIDTH + 12}" y="{y + 4}" class="soft">{line.said}</text>')
        y += ROW
    under = [f'<rect x="{x(-band):.1f}" y="{TOP - 14}" width="{x(band) - x(-band):.1f}" height="{y - TOP + 8}" '
             'class="band"/>'] if band else []
    under.append(f'<line x1="{centre}" x2="{centre}" y1="{TOP - 14}" y2="{y - 6}" class="axis"/>')
    under += [f'<text x="{x(tick)}" y="{y + 14}" text-anchor="middle" class="soft">{tick:+.2f}</text>'
              for tick in ticks]
    under.append(f'<text x="{centre}" y="{y + 34}" text-anchor="middle" class="ink">{axis}</text>')
    words = "; ".join(f"{line.group}, {line.said}: {between(line.mean, line.low, line.high)}"
                      for line in lines if line.mean == line.mean)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + WIDTH + right} {y + 50}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13">\n'
            f'<title>{title}</title>\n<desc>{words}</desc>\n'
            '<style>.ink{fill:#222}.soft{fill:#555}.axis{stroke:#888}.band{fill:#8883}'
            '.hollow{fill:none;stroke:#555;stroke-width:1.5}'
            '@media(prefers-color-scheme:dark){.ink{fill:#eee}.soft{fill:#bbb}.hollow{stroke:#bbb}}</style>\n'
            f'<text x="{left}" y="22" class="ink" font-size="15">{title}</text>\n'
            + "\n".join(under + svg) + "\n</svg>\n")
