"""What goes wrong or is stopped in the middle of an evaluation, and how far it has come by then."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evalsets import counted, run

from pgsbench.errors import DataError, EvaluationError, Interrupted, RunError
from pgsbench.evaluation import task_results
from pgsbench.evaluation.suite import load_suite
from pgsbench.models.clip import Clip
from pgsbench.records.scores import Scores
from pgsbench.reporting import study_frames

# ------------------------------------------------------------------------------------- stop and progress


def test_progress_moves_with_pictures_and_texts(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.evaluation.evaluate.QUIET_SECONDS", 0.0)
    told: list[tuple[str, int, int]] = []
    run(tiny, suite, progress=lambda *step: told.append(step))
    assert [step for step in told if step[0] == "tasks"] == [("tasks", i, 4) for i in range(5)]
    pictures = [step for step in told if step[0] == "my/six: pictures"]
    assert pictures == [("my/six: pictures", done, 60) for done in (16, 32, 48, 60)]
    assert ("my/six: texts", 16, 18) in told
    assert ("my/six: texts", 18, 18) in told
    # Encoded before, and yet read: these count, too.
    assert [step for step in told if step[0] == "my/find: pictures"][-1] == ("my/find: pictures", 60, 60)


@pytest.mark.parametrize("batches", [0, 1, 3, 6])
def test_an_evaluation_stops_between_two_batches(batches: int, tiny: Clip, suite: Path) -> None:
    with counted(tiny.model) as seen:
        with pytest.raises(Interrupted):
            run(tiny, suite, should_stop=lambda: sum(seen.values()) >= 16 * batches)
        assert sum(seen.values()) <= 16 * (batches + 1)
    assert not (suite.parent / "out" / "scores.json").exists()
    done = {path.parent.name.rpartition("-")[0] for path in suite.parent.glob("out/outcomes/*/task.json")}
    assert done == ({"my__six", "my__two"} if batches == 6 else set())
    assert [name.replace("/", "__") for name in run(tiny, suite).reused] == sorted(done)


# ---------------------------------------------------------------------------------- protocols of the user


PROTOCOL = """
import numpy as np
from dataclasses import dataclass
from pgsbench.evaluation.protocols.base import Measurement

def of(metric):
    return Measurement(metric, np.ones(1), ["a"], 0.5)

@dataclass(frozen=True)
class Mine:
    primary = "acc"

    @property
    def requires(self):
        return REQUIRES

    def count_items(self, folder):
        return COUNT

    def measure(self, folder, encode):
        yield MEASURE
"""


@pytest.fixture
def of_mine(suite: Path) -> Callable[..., Path]:
    def write(*, requires: str = "()", count: str = "1", measure: str = "None") -> Path:
        code = PROTOCOL.replace("REQUIRES", requires).replace("COUNT", count).replace("MEASURE", measure)
        (suite.parent / "mine.py").write_text(code)
        suite.write_text(
            "name: mine\ntasks:\n  - {name: my/own, data: data/classes, protocol: 'mine.py:Mine', group: a}\n"
        )
        return suite

    return write


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            {"measure": "[].pop()"},
            r"mine\.py:Mine failed: IndexError: pop from empty list\n.*mine\.py:\d+: yield",
        ),
        ({"measure": "encode.texts(3)"}, r"failed: TypeError: .*\n.*mine\.py:\d+: yield encode"),
        ({"measure": "37"}, r"failed: TypeError: it yields int where a Measurement is due"),
        ({"measure": "of('acc'); yield of('acc')"}, "two measurements of one metric"),
        ({"measure": "of('bcc')"}, "the task's metric was not measured"),
    ],
)
def test_a_protocol_that_fails_is_named(
    broken: dict[str, str], said: str, tiny: Clip, of_mine: Callable[..., Path]
) -> None:
    with pytest.raises(EvaluationError, match=rf"^my/own: .*{said}"):
        run(tiny, of_mine(**broken))


def test_a_bug_of_a_built_in_protocol_keeps_its_traceback(
    tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsbench.evaluation.protocols.zero_shot.class_embeddings", lambda *_: [].pop())
    with pytest.raises(IndexError):
        run(tiny, suite)


# ------------------------------------------------------------------------------------ pictures and disks


@pytest.mark.parametrize("name", ["acc1.npz", "task.json", "scores.json"])
def test_a_full_disk_is_said(name: str, tiny: Clip, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.open

    def full(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if "w" in mode and name in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, mode, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match=r"out: results cannot be written here: No space left.*\n.*make room"):
        run(tiny, suite)
    monkeypatch.undo()
    assert len(run(tiny, suite).reused) == (4 if name == "scores.json" else 0)


# ------------------------------------------------------------------------------- two models in one folder


def test_outcomes_of_another_model_are_never_read_as_ones_own(tiny: Clip, suite: Path) -> None:
    run(tiny, suite)
    run(tiny, suite, checkpoint_sha256="other", out=suite.parent / "other")
    ours, theirs = (next(suite.parent.glob(f"{x}/outcomes/my__six-*/acc1.npz")) for x in ("out", "other"))
    shutil.copy(theirs, ours)
    task = load_suite(suite).tasks[0]
    scores = Scores.read(suite.parent / "out")
    key = scores.primary()["my/six"].key
    assert task_results.read(suite.parent / "out", task, key) is None
    with pytest.raises(RunError, match="belong to another evaluation than the scores beside them"):
        study_frames.primary_values(suite.parent / "out", scores.scores)
    assert run(tiny, suite).reused == ("my/two", "my/find", "my/swap")
