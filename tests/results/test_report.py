"""The report: an HTML file that needs no network, with the tables as CSV and Markdown beside it."""

import json
import re

import pandas as pd
import plotly.graph_objects as go
import pytest
from helpers import hostile_records, records

import lab
from lab.results import report, tables


def test_the_same_tables_are_written_beside_it(tmp_path):
    runs = pd.concat([records("gse_3x", overall=0.5, test=0.7), records("baseline", overall=0.6)])
    page = report.write(runs, tmp_path / "report.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.csv", "report.html", "report.md"]
    assert page.with_suffix(".csv").read_text(encoding="utf-8") == tables.as_csv(runs)
    assert page.with_suffix(".md").read_text(encoding="utf-8") == tables.as_markdown(runs)


def test_the_report_is_an_html_file(tmp_path):
    with pytest.raises(lab.LabError, match="HTML"):
        report.write(records(), tmp_path / "report.csv")


def test_the_page_has_its_parts_and_needs_no_network(tmp_path):
    runs = pd.concat([records(name, more=[(94, "batch", "sst-qqp", "cosine", 0.1)], test=0.5)
                      for name in ("baseline", "smart", "gse")] + [records(data="sample", run="another")])
    page = report.write(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    body = page[page.index("<body>"):]
    body, code = body[:body.index("<script>")], body[body.index("<script>"):]
    anchors = re.findall(r"href='#([^']+)'", body)
    assert len(anchors) == len(set(anchors)) > 10 and all(f"id='{anchor}'" in body for anchor in anchors)
    for title in ("Table 1: dev", "Table 2: test", "Verdicts", "Figures 1-3", "Figure 4", "Gradients of the"):
        assert title in body
    assert "SMART&#x27;s penalty</h3>" not in body  # nothing recorded
    folded = re.findall(r"<summary>(.*?)</summary>", body)
    assert sorted(folded) == ["Lines", "baseline", "baseline", "gse"]  # smart, the paper's Figure 4, is open
    assert "<strong>" not in body and "made from the bundled sample" not in body.split("id='b2'")[0]
    assert "no verdict against baseline: that takes 3 seeds" in body.lower()
    assert not re.search(r"<(link|img|iframe)|\ssrc=|@import|url\(", body + page[:page.index("<body>")])
    assert "default-src 'none'" in page and "showSendToCloud: false" in code
    assert "prefers-color-scheme: dark" in page
    for data in re.findall(r"</figcaption><script type='application/json'>(.*?)</script>", body):
        assert json.loads(data)["data"]


def test_texts_from_files_are_never_html(tmp_path):
    page = report.write(hostile_records(), tmp_path / "report.html").read_text(encoding="utf-8")
    body = page[page.index("<body>"):].split("<script>")[0]
    assert "alert(1)</script" not in body and "<b>x" not in body and "<img" not in body and "</td>`" not in body
    assert body.count("<script") == body.count("<script type='application/json'>")


@pytest.mark.parametrize(("name", "theirs"), [("README.html", "README.md"), ("README.html", "README.csv"),
                                              ("README.html", "README.html"), ("README.htm", "README.htm")])
def test_a_file_that_no_report_wrote_is_never_overwritten(tmp_path, name, theirs):
    runs = records()
    for content in ("# minBERT lab\n\nA lab for teaching.\n", "table of contents", "<title>Mine</title>", ""):
        (tmp_path / theirs).write_text(content)
        with pytest.raises(lab.LabError, match=rf"{theirs} is there already, and no report wrote it"):
            report.write(runs, tmp_path / name)
        assert [f.name for f in tmp_path.iterdir()] == [theirs] and (tmp_path / theirs).read_text() == content
    (tmp_path / theirs).unlink()
    for _ in range(2):  # its own files are replaced
        report.write(runs, tmp_path / name)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_picture_is_written_by_the_same_rules(tmp_path):
    figure = go.Figure(layout_title="first")
    for _ in range(2):
        file = report.write_figure(figure, tmp_path / "new" / "picture.html")
    assert "plotly" in file.read_text(encoding="utf-8") and [file] == list(file.parent.iterdir())
    (tmp_path / "mine.html").write_text("mine")
    for name, why in {"picture.png": "ends with .html", "mine.html": "did not write it",
                      "mine.html/picture.html": "cannot be written"}.items():
        for what in (None, figure):  # None: before the training
            with pytest.raises(lab.LabError, match=f"^[^\n]*{why}"):
                report.write_figure(what, tmp_path / name)
    report.write_figure(None, tmp_path / "later.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.html", "new"]


def test_the_page_can_be_written_alone_and_is_small_also_for_many_runs(tmp_path):
    runs = pd.concat([records("gse", seed, overall=.5, best=.45, lr=number / 10, run=f"{number}-{seed}",
                              more=[(step, "sampled", "sst-qqp", "cosine", .1) for step in (25, 50, 75)])
                      for number in range(20) for seed in range(5)])
    page = report.write(runs, tmp_path / "page.html", beside=False)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"] and page.stat().st_size < 10e6
    body = page.read_text(encoding="utf-8").split("<script>")[0]
    assert body.count("data-line='gse (lr=1.9)'") == 2  # its row and its folded figure
    data = next(json.loads(text) for text in re.findall(r"<script type='application/json'>(.*?)</script>", body)
                if '"axes"' in text)
    assert [len(trace["x"]) for trace in data["data"]] == [len(x) for x in data["axes"]["step"]]
    assert max(data["axes"]["step"][-1]) == 94 and isinstance(data["data"][0]["x"], list)
    compared = next(json.loads(text) for text in re.findall(r"<script type='application/json'>(.*?)</script>", body)
                    if '"seeds"' in text)
    assert compared["lines"]["gse (lr=1.9)"]["seeds"]["4"]["all"] == 0.5
    assert compared["lines"]["gse (lr=1.9)"]["settings"]["lr"] == "1.9"
