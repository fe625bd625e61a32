"""`pgsbench runs`, `study best`, `doctor`, `data ls` as typed, and the names of `import pgsbench`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from commands import pgsbench
from made_study import write_study

from pgsbench import doctor

SEARCH = {"space": {"strategy.mask_ratio": [0.5, 0.75]}, "arms": ["pgs"]}


class Shell:
    """Runs command lines in a folder with the runs of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, write_study(folder)
        self.ids = [run.spec.id for run in self.runs]

    def __call__(self, *words: str, status: int = 0) -> str:
        done = pgsbench(self.folder, *words)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_ls_prints_runs_and_json(shell: Shell) -> None:
    out = shell("runs", "ls", "--sort", "score", "--min-score", "60")
    assert out.index(shell.ids[1]) < out.index(shell.ids[0])
    assert "75.0" in out
    assert shell.ids[2] not in out
    rows = json.loads(shell("runs", "ls", "--arm", "flip", "--json"))
    assert [row["score"] for row in rows] == [0.45, 0.5]
    assert "a number and a unit" in shell("runs", "ls", "--newer", "soon", status=2)
    assert "valid: flip, pgs" in shell("runs", "ls", "--arm", "flap", status=2)
    for command in (("ls",), ("best", "tiny")):
        said = shell("runs", *command, "--metric", "tiny/colour/acc", status=2)
        assert "no run has such a score" in said
        assert "did you mean 'tiny/colour/acc1'" in said


def test_show_diff_and_best(shell: Shell) -> None:
    first, second, third, _ = shell.ids
    out = shell("runs", "show", first[:8])
    for text in ("strategy.mask_ratio", "numerics.device", "torch", "train_seconds", "70.0"):
        assert text in out
    tables = json.loads(shell("runs", "diff", first, third, "--json"))
    assert [row["setting"] for row in tables["Settings that differ"]] == ["strategy.name"]
    assert tables["Scores"][0]["difference"]["value"] == pytest.approx(20.0)
    cost = {row["what"]: row["value"] for row in json.loads(shell("runs", "show", first, "--json"))["Cost"]}
    assert isinstance(cost["steps"], int)
    assert cost["train_seconds"] == 1.0
    assert second in shell("runs", "best", "tiny")
    assert "there is no run with this id" in shell("runs", "show", "zzz", status=2)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("compare --baselines flip --margin 3", "--margin: it goes with --until decided alone"),
        ("compare --baselines flip --max-seeds 3", "--max-seeds: it goes with --until decided alone"),
        ("plan tiny --baselines flip", "--baselines: it goes with --power alone"),
    ],
)
def test_an_option_that_would_be_passed_over_is_a_mistake(shell: Shell, line: str, said: str) -> None:
    assert said in shell(*line.split(), status=2)


def test_rm_asks_first(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = shell.runs
    for answer in ("n\n", ""):  # no, or nobody to answer
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        shell("runs", "rm", shell.ids[0], status=1)
    shell("runs", "rm", shell.ids[0], "zzz", "--yes", status=2)  # of one unknown run removes none
    assert first.is_done
    assert "deleted: 2" in shell("runs", "rm", shell.ids[0][:9], shell.ids[1], shell.ids[1], "--yes")
    assert not first.path.exists()
    assert not second.path.exists()
    assert len(json.loads(shell("runs", "ls", "--json"))) == 2


def test_doctor_prints_a_table_and_fails_where_something_will(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = json.loads(shell("doctor", "--json"))["This machine"]
    assert {"python", "packages", "MLflow"} <= {row["what"] for row in table}
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "optuna" else "1.0")
    assert "pip install optuna" in " ".join(shell("doctor", status=1).split())
