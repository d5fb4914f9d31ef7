"""lab/teach/solved.py: what was solved is still known in another notebook and after a restart."""

import subprocess
import sys

from learners import RIGHT, UNNAMED

from lab import teach
from lab.runs import load_runs
from lab.runs.stores import runs_root
from lab.teach.exercises import EXERCISES
from lab.teach.solved import solved_exercises


def test_only_an_answer_of_ones_own_that_is_right_counts_and_another_process_knows_it():
    assert teach.progress().startswith("0 of 16")
    teach.check("mcnemar", EXERCISES["mcnemar"].right)
    teach.check("interval", UNNAMED["interval"][0])
    assert solved_exercises() == {}
    assert "Solved: 1 of 16 exercises" in teach.check("mcnemar", RIGHT["mcnemar"][2])
    assert "Solved: 2 of 16 exercises" in teach.check("annealed", RIGHT["annealed"][0])
    assert "Solved: 2 of 16 exercises" in teach.check("mcnemar", RIGHT["mcnemar"][1])
    done = subprocess.run([sys.executable, "-c", "from lab import teach; print(teach.progress())"], capture_output=True,
                          text=True, encoding="utf-8")
    assert "2 of 16" in done.stdout and "✓ 08  mcnemar" in done.stdout and "· 04  pcgrad" in done.stdout
    assert (runs_root() / "progress.jsonl").read_text().count("\n") == 2 and load_runs().empty


def test_half_a_line_and_an_unknown_exercise_do_no_harm():
    runs_root().mkdir(parents=True)
    (runs_root() / "progress.jsonl").write_text('{"exercise": "pearson", "solved": "2026-01-01 10:00"}\n[]\n'
                                                '{"exercise": "no such", "solved": 1}\n{"exercise": "pcg')
    assert list(solved_exercises()) == ["pearson"]
    assert "Solved: 2 of 16" in teach.check("mcnemar", RIGHT["mcnemar"][2])
    assert list(solved_exercises()) == ["pearson", "mcnemar"]


def test_where_nothing_can_be_written_the_check_says_so_and_stays_right():
    runs_root().parent.mkdir(parents=True, exist_ok=True)
    runs_root().write_text("a file where the store should be")
    found = teach.check("mcnemar", RIGHT["mcnemar"][2])
    assert found and "it cannot be noted" in found
