"""The lab's answer to a claim: what the records that ship say of a planned contrast, in a sentence."""

from math import nan

from lab.errors import LabError, nearest
from lab.results.tables import claims
from lab.results.words import between
from lab.runs import stores
from lab.runs.records import load_runs
from lab.teach.source import Text


def contrasts(*names: str) -> Text:
    """Planned contrasts, such as "gse - sum_sum": the difference of the overall scores on dev after the last epoch.

    Each line has the difference with its 95 % interval over the seeds that both recipes have, the paper's difference
    (of one run each), and the verdict, which is adjusted for all planned contrasts.
    LabError: no such contrast, or no records.
    """
    table = claims(load_runs(stores.shipped_root()))
    if table.empty:
        raise LabError(f"there are no records of the planned contrasts in {stores.shipped_root()}")
    table.index = table["a"] + " - " + table["b"]
    lines = []
    for name in names:
        if name not in table.index:
            raise nearest(name, table.index, "contrast")
        row = table.loc[name]
        here = between(row["difference"], row["low"], row["high"]) or "n/a"
        paper = between(row["paper"], nan, nan) or "none"
        lines.append((f"{name}, {row['seeds']} seeds: {here}.", f"The paper has {paper}. Verdict: {row['verdict']}."))
    text = Text("\n".join(f"{found} {more}" for found, more in lines))
    text.markdown = "\n".join(f"- **{found}** {more}" for found, more in lines)
    return text
