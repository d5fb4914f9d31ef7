"""The front page and the manual: commands can be run, what they link to and name exists, no file is left out."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import typer

import lab
from lab.cli import app
from lab.experiment import KNOWN

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md", "data/runs/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
SHELL = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
CODE = re.compile(r"^```.*?^```\n", re.M | re.S)
LINK = re.compile(r'\]\((?!https?:)([^)#]*)(#[^)]*)?\)|src="([^"]+)"')
NAMED = re.compile(r"`((?:lab|dashboard|data|docs|notebooks|tests)/[\w./-]*)`")

of_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def shell_lines(page):
    """The commands of a page, as lists of words: those in sh blocks, without comments."""
    lines = "\n".join(SHELL.findall(page.read_text(encoding="utf-8"))).splitlines()
    return [words for line in lines if (words := shlex.split(line.replace(".venv/bin/", ""), comments=True))]


def commands(page, name):
    """The arguments of each use of a command, in sh blocks and in the text."""
    text = re.findall(rf"`{name} ([^`]*)`", CODE.sub("", page.read_text(encoding="utf-8")))
    return [words[1:] for words in shell_lines(page) if words[0] == name] + [shlex.split(line) for line in text]


def parse(command, words, complete):
    """The parameters of a `lab` command line. An error: no such command or option, or an argument is missing."""
    context = command.make_context("lab", list(words), resilient_parsing=not complete)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, list(words), resilient_parsing=not complete)
    return context.params


@of_every_page
def test_every_lab_command_parses(page):
    shown = [words[1:] for words in shell_lines(page) if words[0] == "lab"]
    for words in commands(page, "lab"):
        if words == ["COMMAND", "--help"]:
            continue
        params = parse(typer.main.get_command(app), words, complete=words in shown)
        assert set(params.get("recipes") or ()) <= {*KNOWN, "table1", "quick", "controls", "plan"}, words
        kind = lab.Pretraining() if words[0] == "pretrain" else KNOWN["baseline"]
        kind.with_settings(s for s in params.get("settings") or () if s != "FIELD=VALUE")


@of_every_page
def test_every_make_target_is_in_the_makefile(page):
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for words in commands(page, "make"):
        assert {word for word in words if "=" not in word} <= targets, words


@of_every_page
def test_links_pictures_and_named_files_exist(page):
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for target, anchor, picture in LINK.findall(text):
        file = (page.parent / (target or picture)).resolve() if target or picture else page
        assert file.exists(), target or picture
        if anchor:
            headings = re.findall(r"^#+ (.*)$", CODE.sub("", file.read_text(encoding="utf-8")), re.M)
            assert anchor[1:] in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}, anchor
    for named in NAMED.findall(text):
        assert (ROOT / named).exists(), named


@of_every_page
def test_public_names_exist(page):
    for name in re.findall(r"\blab\.([A-Za-z]\w*)", page.read_text(encoding="utf-8")):
        assert hasattr(lab, name), name


def test_the_front_page_is_short():
    assert len(CODE.sub("", (ROOT / "README.md").read_text(encoding="utf-8")).split()) <= 900


def test_the_tree_has_every_file_of_lab_and_no_other():
    found = set(re.findall(r"\]\(\.\./(lab/[\w/]+\.py)\)", (ROOT / "docs" / "tree.md").read_text(encoding="utf-8")))
    assert found == {path.relative_to(ROOT).as_posix() for path in (ROOT / "lab").rglob("*.py")}


def test_the_picture_of_imports_has_every_module():
    drawn = set(re.findall(r">([\w/]+)</text>", (ROOT / "docs" / "imports.svg").read_text(encoding="utf-8")))
    files = {path.relative_to(ROOT / "lab").with_suffix("").as_posix() for path in (ROOT / "lab").rglob("*.py")}
    assert drawn == files - {"__init__"}


def test_the_manual_has_every_setting_and_recipe():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    settings = [field.name for field in fields(lab.Experiment)]
    for name in [*settings, *KNOWN, *lab.COMBINERS, *lab.POOLINGS, *lab.STS_HEADS, *lab.SAMPLERS]:
        assert f"`{name}`" in text, name
    assert set(re.findall(r"^\| `smart\.(\w+)`", text, re.M)) == {field.name for field in fields(lab.Smart)}
