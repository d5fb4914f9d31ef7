"""The command line as a user meets it: what works prints what it used, what is wrong is one line and exit code 2."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from helpers import records, stored

import lab
from lab import cli
from lab.commands.tour import PLAIN
from lab.experiment import PROTOCOLS
from lab.runs.folder import Run
from lab.runs.marks import Marks

LAB = os.path.join(os.path.dirname(sys.executable), "lab")


@pytest.fixture
def run(monkeypatch, capsys):
    """Call `lab ...` in this process: (exit code, standard output, standard error)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["lab", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def quick(tiny_data, tiny_encoder, *more):
    return ("--data", tiny_data, "--encoder", tiny_encoder, "--protocol", "smoke", "--set", "iterations=3",
            "--set", "device=cpu", *more)


def test_train_predict_and_report(run, tiny_data, tiny_encoder, tmp_path):
    code, out, err = run("train", "baseline", "cosine_embedding", *quick(tiny_data, tiny_encoder))
    assert code == 0 and "Traceback" not in err
    fingerprint = lab.load_data(tiny_data).fingerprint
    assert out.count(fingerprint) == 2 and "epoch  1, dev:" in out + err and "epoch  2, dev at the end:" in out + err
    runs = sorted(p.name for p in (tmp_path / "runs").iterdir() if not p.name.startswith("."))
    assert [name.split("-")[0] for name in runs] == ["baseline", "cosine_embedding"]

    code, out, _ = run("predict", runs[0], "A fine film.")
    assert code == 0 and out.startswith(f"{runs[0]}: ") and "\nsentiment: " in out
    assert "lab train strong" in out  # nothing is learned in six iterations, and it says so
    assert "give a sentence after it" in run("predict", runs[0])[2]
    code, out, _ = run("predict", runs[1], "How far is it?", "What is the distance?", "--weights", "last")
    assert code == 0 and "\nparaphrase: " in out and "\nsimilarity: a cosine of " in out and "last weights" in out
    best = max(runs, key=lambda name: next(row["value"] for row in Run.open(name).rows() if row["split"] == "dev_full"
                                           and row["metric"] == "overall") or 0)
    assert run("predict", "A fine film.")[1].startswith(f"{best}: ")

    code, out, _ = run("compare", *runs, "--data", tiny_data)
    assert code == 0 and f"a: {runs[0]}" in out and fingerprint in out and "McNemar, exact" in out
    assert "updates" in out.split("settings that differ:")[1].split("a minus b")[0]
    code, _, err = run("compare", *runs)  # the sample, with which they were not made
    assert code == 2 and len(err.splitlines()) == 1 and f"was made with other data ({fingerprint}" in err

    shutil.copytree(tmp_path / "runs" / runs[0], tmp_path / "runs" / "half")
    (tmp_path / "runs" / "half" / "status.json").write_text('{"state": "failed"}')
    code, out, _ = run("report")
    assert code == 0 and "baseline" in out and "cosine_embedding" in out and "too short to compare" in out
    assert f"runs: {', '.join(runs)}\n" in out and "not shown: half (failed)" in out
    assert "report.csv" in out and (tmp_path / "runs" / "report.md").exists()
    page = (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    assert "cosine_embedding" in page and "src=\"http" not in page and "too short to compare" in page

    code, out, _ = run("train", "baseline", "--resume", *quick(tiny_data, tiny_encoder))
    assert code == 0 and "finished already; nothing to do" in out


def test_a_cross_run_is_trained_and_asked(run, tiny_data, tiny_encoder):
    code, _, _ = run("train", "multitask", "--run", "both", *quick(tiny_data, tiny_encoder, "--set", "pair=cross"))
    assert code == 0
    assert "similarity: " in run("predict", "both", "A man sings.", "A dog runs.")[1]
    answers = [lab.predict("both", "sts", [texts])["prediction"][0]
               for texts in (("A man sings.", "A dog runs."), ("A dog runs.", "A man sings."))]
    assert answers[0] != answers[1]  # what an input begins with counts
    code, _, err = run("train", "cosine_d", *quick(tiny_data, tiny_encoder, "--set", "pair=cross"))
    assert code == 2 and "valid with it: linear" in err


def test_the_sample_is_called_so_everywhere(run, tiny_encoder, tmp_path):
    code, out, _ = run("train", "multitask", "--encoder", tiny_encoder, "--set", "iterations=2", "--set", "epochs=1",
                       "--set", "eval_rows=20")
    assert code == 0 and "data: sample" in out
    (name,) = [p.name for p in (tmp_path / "runs").iterdir() if not p.name.startswith(".")]
    assert name.split("-")[1] == "sample"  # the default protocol of the sample
    code, out, _ = run("report")
    assert "data: sample" in out and "made from the bundled sample" in out
    code, out, _ = run("data", "check")
    assert code == 0 and "sample" in out


def test_without_runs_the_heads_that_ship_answer(run, tmp_path):
    code, out, _ = run("predict", "I loved the film.")
    assert code == 0 and "as it ships with the lab" in out and "positive" in out and "of 100 unseen sentences" in out
    code, out, _ = run("predict", "I hated the film.")
    assert code == 0 and "sentiment: negative" in out
    code, out, _ = run("predict", "A man plays a guitar.", "Someone plays a guitar.")
    assert code == 0 and float(out.split("similarity: ")[1].split()[0]) > 2.5
    code, out, _ = run("predict", f"{'A long word. ' * 60}I give it 9/10.")  # no folder can have this name
    assert code == 0 and "sentiment: " in out
    assert not (tmp_path / "runs").exists()


def test_the_story_trains_asks_and_compares_and_goes_on_where_it_was(run, tiny_data, tiny_encoder, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "laptop", lambda e: PROTOCOLS["smoke"](e).with_settings(
        [f"encoder={tiny_encoder}", "iterations=2", "epochs=1", "batch_size=4"]))
    code, out, err = run("story", "--data", tiny_data)
    assert code == 0, err
    assert all(text in out for text in PLAIN["sst"]) and "majority class" in out.split("4. Compare")[1]
    assert all(name in out.split("4. Compare")[1] for name in ("strong", "baseline", "multitask", "frozen"))
    assert run("story", "--data", tiny_data)[1].count("is finished already") == 4


def test_data_check_names_rows(run, tiny_data, tmp_path):
    code, out, _ = run("data", "check", tiny_data)
    assert code == 0 and lab.load_data(tiny_data).fingerprint in out and "qqp" in out.lower()


def test_train_says_how_many_rows_are_left_out(run, tiny_encoder, tmp_path):
    folder = shutil.copytree(lab.data.checkout() / "data" / "sample", tmp_path / "mine")
    for name, bad in (("quora-train.csv", "1\tx\ta\tb\t\n" * 2), ("sts-dev.csv", "1\tx\ta\tb\t9\n")):
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(bad)
    code, out, _ = run("train", "baseline", *quick(folder, tiny_encoder, "--set", "epochs=1"))
    assert code == 0 and [line for line in out.splitlines() if "left out" in line] == [
        f"2 rows of quora-train.csv are left out: `lab data check {folder}` names them",
        f"1 row of sts-dev.csv is left out: `lab data check {folder}` names it"]


def test_scale_is_read_by_the_protocol_whatever_the_order(run, tiny_data, tiny_encoder, tmp_path):
    code, _, _ = run("train", "baseline", "--data", tiny_data, "--encoder", tiny_encoder, "--protocol", "laptop",
                     "--set", "epochs=1", "--set", "scale=0.005", "--run", "scaled", "--set", "device=cpu")
    assert code == 0
    settings = json.loads((tmp_path / "runs" / "scaled" / "experiment.json").read_text())["experiment"]
    assert settings["iterations"] == round(755 * 0.005) and settings["epochs"] == 1


BAD = [
    (["train", "basline"], "recipe 'basline' is not known; did you mean 'baseline'"),
    (["train", "smoke"], "'smoke' is a value of protocol, not a recipe; name a recipe, and add --protocol smoke"),
    (["ablate", "cls"], "'cls' is a value of pooling, not a recipe; name a recipe, and add --set pooling=cls"),
    (["train", "baseline", "--set", "poling=mean"], "did you mean 'pooling'"),
    (["train", "baseline", "--set", "updates=summ"], "did you mean 'sum'"),
    (["train", "baseline", "--protocol", "lapptop"], "did you mean 'laptop'"),
    (["train", "baseline", "--protocol", ""], "protocol '' is not known"),
    (["ablate", "plan", "--set", "scale=0.01"], "the protocol sets the scale; choose another with --protocol"),
    (["ablate", "plan", "--protocol", "lapptop"], "did you mean 'laptop'"),
    (["train", "baseline", "--seed", "2", "--set", "seed=1"], "seed is given twice, as '1' and as '2'"),
    (["train", "baseline", "--set", "encoder=a"], "encoder is given twice, as 'a' and as "),
    (["train", "baseline", "--encoder", "./nowhere"], "no such folder"),
    (["train", "baseline", "--data", "nowhere"], "nowhere"),
    (["train", "baseline", "--run", "../evil"], "cannot name a run"),
    (["train", "baseline", "multitask", "--run", "x"], "--run names one run"),
    (["predict", "nothing", "text"], "there is no run 'nothing'"),
    (["predict", "../../etc", "text"], "there is no run"),
    (["compare", "nothing", "else"], "there is no run 'nothing'"),
    (["data", "check", "nowhere"], "nowhere"),
    (["fork", "nothing", "--step", "1", "--set", "lr=1", "--out", "f.png"], "ends with .html"),
    (["share", "--runs", "nowhere"], "there is no run store nowhere"),
    (["report", "--runs", __file__], "test_cli.py, it is a file"),
    (["predict", "a film", "--runs", "/nowhere"], "there is no run store /nowhere"),
    (["compare", "a", "b", "--runs", "/nowhere"], "there is no run store /nowhere"),
    (["train", "baseline", "--runs", "~nosuch/x"], "there is no user 'nosuch'"),
    (["train", "baseline", "--seed", "x"], "--seed"),
    (["train", "baseline", "--sead", "1"], "No such option: --sead"),
    (["train"], "RECIPE"),
    (["trian"], "Did you mean 'train'"),
    (["train", "baseline", "--data", "\udcff\x1b[2J\n"], "no such folder"),
    (["predict", "no\udcff", "text"], "cannot name a run"),
    (["train", "BASELINE"], "recipe 'BASELINE' is not known; did you mean 'baseline'"),
    (["train", "baseline", "--set", "LR=1"], "field 'LR' is not known; did you mean 'lr'"),
    (["train", "baseline", "--set", "pooling=MEAN"], "pooling 'MEAN' is not known; did you mean 'mean'"),
    (["predict", ""], "a sentence is empty; write one between the quotes"),
    (["predict", "a film", " "], "a sentence is empty"),
    (["predict", "nothing", "\n"], "a sentence is empty"),
    (["predict", "one a", "two b", "three c"], "one or two sentences"),
    (["predict", "hello", "how are you"], "put a space after it: 'hello '"),
    (["predict", "-1 star"], "put -- before a sentence"),
    (["predict", "a film", "--weights", "worst"], "weights 'worst' is not known (valid: best, last)"),
    (["train", "baseline", "--run", "aux"], "Windows reserves this name"),
    (["train", "baseline", "--set", "batch_size=1000"], "batch of 1000 cannot be drawn"),
    (["train", "baseline", "--set", "lr=1e30", "--set", "epochs=1"], "NaN or infinite"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_what_is_wrong_is_one_line_and_exit_code_2(run, tiny_data, tiny_encoder, arguments, message):
    if arguments[0] == "train" and "--data" not in arguments:
        arguments = [*arguments, "--data", tiny_data]
    if arguments[0] == "train" and "--encoder" not in arguments:
        arguments = [*arguments, "--encoder", tiny_encoder]
    code, _, err = run(*arguments)
    lines = [line for line in re.split(r"[\r\n]+", err) if line.strip() and "it/s" not in line and "it]" not in line]
    assert code == 2 and len(lines) == 1 and lines[0].startswith("lab: ") and message in lines[0], err
    assert lines[0].isprintable()


def test_what_the_model_does_not_see_of_a_text_is_said(run):
    for texts, said in ((["good " * 600], "512 tokens"), (["\N{SNOWMAN}\N{GRINNING FACE}"], "knows no token of"),
                        (["a film", "\N{ZERO WIDTH SPACE}"], "has no token at all"), (["hello ", "a film"], None)):
        code, out, _ = run("predict", *texts)
        assert code == 0 and (said in out if said else "note:" not in out)


def test_any_text_is_answered(run):
    for text in ("caf\udce9", "\x1b[2J\x07 fine"):
        code, out, _ = run("predict", text)
        assert code == 0 and "sentiment: " in out and "\x1b" not in out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_signs_that_a_terminal_lacks_are_replaced(encoding, tmp_path):
    stored(tmp_path / "runs", records(data="\N{GREEK SMALL LETTER ALPHA}"))
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
                   "PYTHONIOENCODING": encoding}
    for arguments in (["report"], ["--help"], ["train", "\udcff\N{GREEK SMALL LETTER ALPHA}"]):
        done = subprocess.run([LAB, *arguments], env=environment, capture_output=True)
        assert done.returncode == (2 if "train" in arguments else 0) and b"Traceback" not in done.stderr, done.stderr
        assert b"data: ? " in done.stdout or "report" not in arguments


def test_a_reader_that_has_read_enough_is_no_error(tmp_path):
    stored(tmp_path / "runs", records())
    end, start = os.pipe()
    os.close(end)
    done = subprocess.run([LAB, "report"], stdout=start, stderr=subprocess.PIPE, text=True)
    os.close(start)
    assert (done.returncode, done.stderr) == (1, "")
    for stream, code in (("1>&-", 0), ("2>&-", 0), ("1>/dev/full", 2)):  # closed, closed, full
        done = subprocess.run(f"{LAB} report {stream}", shell=True, stderr=subprocess.PIPE, text=True)
        assert done.returncode == code and done.stderr.count("\n") == (code == 2), stream


def test_a_report_is_written_into_the_home_folder_or_says_why_not(run, tmp_path, monkeypatch):
    stored(tmp_path / "runs", records())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("report", "--out", "~/mine.html", "--runs", "~/runs")[0] == 0 and (tmp_path / "mine.html").exists()
    code, _, err = run("report", "--out", "~/mine.html/report.html")
    assert code == 2 and err.count("\n") == 1 and "name another file with --out" in err


def test_a_report_without_a_finished_run_says_where_it_looked_and_what_to_do(run, tmp_path):
    (tmp_path / "no runs").mkdir()
    stored(tmp_path / "one stopped", records(state="stopped"))
    for store in (tmp_path / "no runs", tmp_path / "one stopped"):
        code, out, _ = run("report", "--runs", store)
        assert (code, out) == (0, f"{store}: no finished runs; name another run store with --runs or LAB_RUNS, or make "
                                  f"a run: lab train baseline --runs '{store}'\n")


def test_hidden_runs_are_not_given_away_and_their_number_is_said(run, tmp_path):
    for name in ("baseline", "gse"):
        stored(tmp_path / "runs", records(name))
    Marks(tmp_path / "runs").set("gse-1", hidden=True)
    for options, said, there in (((), "left out: 1 hidden run;", False), (("--hidden",), "", True)):
        code, out, _ = run("share", "--out", str(tmp_path / "view.html"), "--runs", str(tmp_path / "runs"), *options)
        page = (tmp_path / "view.html").read_text(encoding="utf-8")
        assert code == 0 and said in out and ("left out" in out) is not there
        assert "data-line='baseline'" in page and ("data-line='gse'" in page) is there


def test_a_run_that_cannot_be_read_is_named_where_results_are_shared(run, tmp_path):
    for name in ("baseline", "gse"):
        stored(tmp_path / "runs", records(name), {"state": "done", "step": int(records(name)["step"].max())})
    (tmp_path / "runs" / "gse-1" / "metrics.jsonl").write_text("")
    code, out, _ = run("share", "--out", str(tmp_path / "view.html"), "--runs", str(tmp_path / "runs"))
    assert code == 0 and re.search("^left out: gse-1: .*metrics.jsonl has changed since", out, re.MULTILINE)


def test_a_store_without_a_finished_run_is_not_shared(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run("share", "--out", str(tmp_path / "view.html"), "--runs", str(tmp_path / "empty"))
    assert code == 2 and "nothing to share: no finished runs" in err and not (tmp_path / "view.html").exists()


def test_help_does_not_wait_for_torch():
    modules = "lab.cli, lab.results.report, lab.figures.training, lab.runs.records"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


def test_the_command_is_installed_and_works_from_any_folder(tmp_path):
    done = subprocess.run([LAB, "data", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "sample" in done.stdout
    done = subprocess.run([LAB, "train", "nothing"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("lab: recipe 'nothing' is not known")
