"""lab/teach/grading.py: a class's notebooks become a table, whatever students' code does."""

import io
import json
import os
import re

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

import lab
from lab.teach.grading import answers_in, grade, judge_one, student_of, table

MCNEMAR = """
import math
LARGEST = 1.0

def tail(n, k):
    return sum(math.comb(n, i) for i in range(k + 1)) / 2**n

def mcnemar(b, c):
    print("a word that nobody reads " * 1000)
    return min(LARGEST, 2 * tail(b + c, min(b, c)))
"""
CHECK = 'teach.check("mcnemar", mcnemar)'
WRONG = """
import math
def mcnemar(b, c):
    return sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
"""
BY_HEART = """
def mcnemar(b, c):
    return {(3, 0): .25, (2, 9): .06543, (4, 4): 1, (0, 0): 1}.get((b, c), .5)
"""
THE_LABS = CHECK.replace(", mcnemar", ', teach.EXERCISES["mcnemar"].right')
OVERALL = 'teach.check("overall_score", lambda a, b, r: None if r is None else (a + b + (r + 1) / 2) / 3)'


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [new_markdown_cell("# A notebook"), *map(new_code_cell, cells)]
    path.write_text(writes(new_notebook(cells=made)), encoding="utf-8")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The rows of a class in which everything happens."""
    folder = tmp_path_factory.mktemp("class")
    notebook(folder / "alice" / "08_is_it_real.ipynb", "%matplotlib inline\nimport no_such_package", MCNEMAR,
             "raise RuntimeError('this cell trains for an hour, and grading must not run it')", CHECK)
    notebook(folder / "bob_08_is_it_real.ipynb", WRONG, CHECK,
             "def annealed(*given):\n    while True:\n        pass", 'teach.check("annealed", annealed)')
    notebook(folder / "=carol" / "08.ipynb", "import os", CHECK.replace("mcnemar)", "lambda b, c: os._exit(0))"),
             OVERALL)
    notebook(folder / "dave" / "08.ipynb", "from lab import teach", THE_LABS,
             "def pearson(x, y):\n    ...", 'teach.check("pearson", pearson)', 'teach.check("pcgrad", never_written)')
    notebook(folder / "erin" / "08.ipynb", BY_HEART, CHECK)
    (folder / "erin" / "broken.ipynb").write_text("{}")
    return grade(folder, seconds=6, seed=5)


@pytest.mark.slow
def test_every_answer_gets_its_result_and_none_harms_the_others(graded):
    rows = graded[0].set_index(["student", "exercise"])
    assert rows["result"].to_dict() == {
        ("'=carol", "overall_score"): "solved", ("'=carol", "mcnemar"): "stopped",
        ("alice", "mcnemar"): "solved",
        ("bob", "annealed"): "too slow", ("bob", "mcnemar"): "not yet",
        ("dave", "mcnemar"): "the lab's own answer", ("dave", "pearson"): "not attempted",
        ("dave", "pcgrad"): "not found",
        ("erin", "mcnemar"): "not yet", ("erin", ""): "cannot be read",  # the hidden cases are not the shown ones
    }
    assert "one tail" in rows.loc[("bob", "mcnemar"), "feedback"] and graded[1] == 5


@pytest.mark.slow
def test_the_table_has_a_row_a_student_and_the_best_answer_counts(graded):
    again = graded[0][graded[0]["student"] == "bob"].assign(student="alice")
    made = table(pd.concat([again, graded[0]])).set_index("student")
    assert made["solved"].to_dict() == {"'=carol": 1, "alice": 1, "bob": 0, "dave": 0, "erin": 0}
    assert made.loc["alice", "mcnemar"] == "solved" and made.loc["bob", "pcgrad"] == "missing"


def test_whose_notebook_it_is(tmp_path):
    for path, student in {"zoe/04_gradient_surgery.ipynb": "zoe", "zoe/week 1/x.ipynb": "zoe",
                          "zoe_04_gradient_surgery.ipynb": "zoe", "my answers.ipynb": "my answers",
                          "zoe_04_gradient_surgery (1).ipynb": "zoe"}.items():
        assert student_of(tmp_path / path, tmp_path) == student


def test_what_is_defined_after_the_check_does_not_count(tmp_path):
    notebook(tmp_path / "x.ipynb", "def mine(b, c): return 1", CHECK.replace("mcnemar)", "mine)"),
             "def mine(b, c): return 2")
    (answer,) = answers_in(tmp_path / "x.ipynb")
    assert "return 1" in answer.code and "return 2" not in answer.code and answer.function == "mine"


def test_values_that_an_answer_needs_are_computed_and_no_others(tmp_path):
    notebook(tmp_path / "x.ipynb",
             "try:\n    import none_such\nexcept ImportError:\n    print('oh')\n    none_such = None",
             "try:\n    import math\nfinally:\n    print('trains for an hour')\neps = half = 3",
             "ONE = float('1')\nhalf: float = ONE / 2\n"
             "tail, unused = (lambda n: round(1 / half)**n), print('trains for an hour')",
             "model = print('trains for an hour')\ntraining = model",
             "import math\ndef many(n, k):\n    training = n\n    return math.comb(training, k)\n"
             "class Mine:\n    def __call__(self, b, c):\n"
             "        return min(ONE, 2 * sum(many(b + c, k) for k in range(min(b, c) + 1)) / tail(b + c))",
             "mine = Mine()", CHECK.replace("mcnemar)", "mine)"))
    (answer,) = answers_in(tmp_path / "x.ipynb")
    assert "finally" not in answer.code
    assert "half: float = ONE / 2" in answer.code and "none_such" in answer.code and "model =" not in answer.code
    assert judge_one(answer, 5) == ("solved", "")
    notebook(tmp_path / "y.ipynb", MCNEMAR.replace("LARGEST = 1.0", "LARGEST = float('1')\ncalls = [*'ab']").replace(
        "(b, c):", "(b, c, most=LARGEST):\n    global calls\n    calls = calls + [[LARGEST for LARGEST in range(2)]]"
    ).replace("min(LARGEST", "min(LARGEST, most") + f"{CHECK}\nmcnemar = mcnemar(3, 5)")
    (answer,) = answers_in(tmp_path / "y.ipynb")
    assert judge_one(answer, 5) == ("solved", "")


OF_THREE = "def f(a, b, r): return None if r is None else (a + b + (r + 1) / 2) / {}"


@pytest.mark.parametrize(("cells", "three"), [
    (["THREE = 1", "THREE += 2"], "THREE"), (["W = {}", "W['n'] = float('3')"], "W['n']"),
    (["W = {}\nfor name in ('n', 'm'):\n    W[name] = 3"], "W['n']"), (["if True:\n    THREE = 3"], "THREE"),
    (["import math\ntry:\n    THREE = math.floor(3.2)\nexcept ValueError:\n    THREE = 0"], "THREE"),
    (["class c: pass", "c.n = float('3')"], "c.n"), (["  THREE = 3\n  FOUR = 4"], "THREE")])
def test_statements_that_give_a_value_to_what_an_answer_reads_are_run(tmp_path, cells, three):
    notebook(tmp_path / "x.ipynb", *cells, OF_THREE.format(three), 'teach.check("overall_score", f)')
    (answer,) = answers_in(tmp_path / "x.ipynb")
    assert judge_one(answer, 5) == ("solved", "")


@pytest.mark.slow
def test_one_strange_hand_in_does_not_cost_the_others_their_rows(tmp_path):
    good, check = OF_THREE.format(3), 'teach.check("overall_score", f)'
    strange = {"twice": "def f(a, a, r): return 1", "deep": "x = " + "-" * 50_000 + "1\ndef f(): pass",
               "global": "def f(a, b, r):\n    n = 1\n    global n\n    return n",
               "removes": "import shutil, os\ndef f(a, b, r):\n    shutil.rmtree(os.getcwd())\n    return 1",
               "damages": "import os\ndef f(a, b, r):\n    open('../judged.jsonl', 'wb').write(b'\\xff\\n')\n"
                          "    os._exit(0)"}
    for student, cell in strange.items():
        notebook(tmp_path / student / "03.ipynb", cell, check)
    notebook(tmp_path / "good" / "03.ipynb", good, check)
    latin = os.fsencode(tmp_path) + b"/M\xfcller_03_three_tasks.ipynb"
    notebook(tmp_path / "here.ipynb", good, check)
    os.rename(tmp_path / "here.ipynb", latin)
    result = grade(tmp_path, seconds=10, seed=5)[0].set_index("student")["result"]
    assert result["good"] == "solved" and result["M?ller"] == "solved"
    assert set(result[["twice", "deep", "global"]]) == {"not found"} and result["damages"] == "stopped"
    assert result["removes"] == "not yet"


def test_whoever_handed_something_in_has_a_row_and_what_gave_no_answer_is_said(tmp_path, monkeypatch, capsys):
    from lab import cli
    from lab.teach import grading

    right = "def f(a, b, r): return None if r is None else (a + b + (r + 1) / 2) / 3"
    for student, cells in {
            "alias": [right, "mine = f", 'teach.check("overall_score", mine)'], "empty": [], "told nothing": [right],
            "keyword": [right, 'teach.check("overall_score", mine=f)'],
            "magic": [f"x = !ls\n{right}", 'teach.check("overall_score", f)'],
            "misspelt": [right, "teach.check('overal_score', f)"],
            "name": [right, "name = 'overall_score'", "teach.check(name, f)"],
            "syntax": [right.replace(":", ""), 'teach.check("overall_score", f)'],
            "syntax here": [right.replace(":", "") + '\nteach.check("overall_score", f)']}.items():
        notebook(tmp_path / student / "03_three_tasks.ipynb", *cells)
        notebook(tmp_path / student / "00_start.ipynb")  # it has no exercise
    for name, content in {"paper/03.pdf": b"%PDF", "pdf.pdf": b"%PDF", "cut/03.ipynb": b"", "binary.ipynb": b"\xff\0",
                          "__MACOSX/alias/._03.ipynb": b"\0", "grades.csv": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def judged(answers, seconds, seed):  # in this process
        return [grading.judge_one(answer, seed) for answer in answers]

    monkeypatch.setattr(grading, "judge", judged)
    monkeypatch.setattr("sys.argv", ["lab", "class", "grade", str(tmp_path)])
    with pytest.raises(SystemExit):
        cli.main()
    out, err = capsys.readouterr()
    read = pd.read_csv(io.StringIO(out)).set_index("student")
    assert read["overall_score"].to_dict() == {
        "alias": "solved", "binary": "cannot be read", "cut": "cannot be read", "empty": "missing",
        "keyword": "solved", "magic": "solved", "misspelt": "missing", "name": "solved", "paper": "no notebook",
        "pdf": "no notebook", "syntax": "not found", "syntax here": "not found", "told nothing": "missing"}
    lines = [line.removeprefix("lab: ").split("/")[0].split(".")[0].split(":")[0] for line in err.splitlines()[:-1]]
    assert lines == ["binary", "cut", "empty", "misspelt", "paper", "pdf", "told nothing"]
    assert "did you mean 'overall_score'" in err
    rows = grade(tmp_path, seed=1)[0].set_index("student")
    for student in ("syntax", "syntax here"):
        assert "is no Python, line 1: SyntaxError: expected ':'" in rows.loc[student, "feedback"]
    for folder in ("nowhere", "pdf.pdf"):
        with pytest.raises(lab.LabError, match=r"no such folder|this is a file"):
            grade(tmp_path / folder)


def test_the_commands_print_csv_and_write_notebooks_without_solutions(tmp_path, monkeypatch, capsys):
    from lab import cli

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["lab", "class", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capsys.readouterr()

    code, out, _ = call("notebooks", tmp_path / "class" / "zoe")
    made = sorted((tmp_path / "class" / "zoe").glob("*.ipynb"))
    assert code == 0 and "11 notebooks" in out and len(made) == 11
    cells = [cell for path in made for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    source = "".join("".join(cell["source"]) for cell in cells)
    assert "teach.solution" not in source and 'teach.check("pcgrad"' in source
    assert sum("teach.hint(" in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code") == 16
    assert not any(cell.get("outputs") for cell in cells)
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", "".join("".join(cell["source"]) for cell in cells))
    assert pictures and all((tmp_path / "class" / "zoe" / picture).exists() for picture in pictures)
    code, _, error = call("notebooks", tmp_path / "class" / "zoe")
    assert code == 2 and "nothing is overwritten" in error
    theirs = tmp_path / "theirs" / "drawings" / (tmp_path / "class" / "zoe" / pictures[0]).name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    code, _, error = call("notebooks", tmp_path / "theirs")
    assert code == 2 and f"{theirs} is there already" in error and theirs.read_text() == "mine"
    assert len(list((tmp_path / "theirs").iterdir())) == 1 and call("notebooks", "")[0] == 2

    for path in made:
        if path.stem[:2] != "08":
            path.unlink()
    code, out, error = call("grade", tmp_path / "class", "--seed", 3)
    read = pd.read_csv(io.StringIO(out))
    assert code == 0 and read["student"].tolist() == ["zoe"] and read["interval"].tolist() == ["not attempted"]
    assert "--seed 3" in error
    (tmp_path / "empty").mkdir()
    assert call("grade", tmp_path / "empty")[0] == 2
    with pytest.raises(lab.LabError, match="no notebook"):
        grade(tmp_path / "empty")
