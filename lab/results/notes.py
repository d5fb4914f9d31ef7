"""What a reader must know beside a table of results: warnings about its data, its encoder and its rows."""

import numpy as np
import pandas as pd

from lab.results.words import QUORA
from lab.runs.labels import line_labels, settings_of

NOTES = {"sample": "made from the bundled sample: these numbers say nothing about the real data sets",
         "smoke": "protocol smoke: too short to compare recipes",
         "minilm": f"{QUORA}, which raises its QQP scores; the "
                   "weights of its [CLS] pooler, which was never trained, are multiplied by 8",
         "minilm-raw": f"{QUORA}, which raises its QQP scores; its "
                       "[CLS] pooler was never trained, which lowers the scores of recipes with cls pooling"}
TEST_NOTES = {"b59f4013d8a2": "the QQP test rows of this data are not those of the course, so QQP and overall are "
                              "scored on other rows than the paper's"}  # by the data's fingerprint


def notes(dev: pd.DataFrame) -> list[str]:
    """Warnings about the rows of Table 1."""
    found = {*dev["protocol"], *dev["encoder"], *(["sample"] if "sample" in set(dev["data"]) else [])}
    said = [note for name, note in NOTES.items() if name in found]
    real = dev["settings"][dev["data"] != "sample"]  # which has fewer rows than any limit
    if limits := {limit for text in real if (limit := settings_of(text).get("end_qqp"))}:
        error = (0.7 * 0.3 / min(limits)) ** 0.5  # of an accuracy of .7
        said.append(f"QQP is scored on at most {min(limits):,} rows of its dev set, always the same; so many have a "
                    f"sampling error of {error:.3f}")
    constant = [f"{name} ({row['null_seeds']} of {row['seeds']} seeds)"
                for name, (_, row) in zip(line_labels(dev), dev.iterrows(), strict=True)
                if row["null_seeds"] and np.isnan(row["sts"])]
    if constant:
        said.append(f"no overall score of {', '.join(constant)}: after the last epoch every pair has the same STS "
                    "score, so that there is no Pearson r")
    return said


def test_notes(table: pd.DataFrame) -> list[str]:
    """Warnings about the rows of Table 2."""
    return [note for fingerprint, note in TEST_NOTES.items() if fingerprint in set(table["fingerprint"])]
