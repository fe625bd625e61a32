"""A run that several processes of one machine train together: equal to one process, stopped, and bereaved."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from tinyworld import HALF, TinyWorld

from pgsbench.errors import ConfigError, Interrupted, RunError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended
from pgsbench.execution.pending import Pending
from pgsbench.execution.slots import plan_slots
from pgsbench.execution.together import run_together
from pgsbench.experiment import run_once
from pgsbench.records.marks import Failure
from pgsbench.records.run_spec import RunSpec
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir
from pgsbench.training.ranks import HEARD

TWO = ("cpu", "cpu")


def planned(tiny: TinyWorld, *overrides: str) -> RunSpec:
    changed = ["search=null", "training.checkpoint_every_steps=100", *overrides]
    study = open_study_file(tiny.study, overrides=changed)
    (spec,) = Planner(study).specs([study.config.base_arm])
    return spec


def losses(run: RunDir) -> list[float]:
    return [line["loss"] for line in run.metrics()]


def test_two_processes_are_stopped_and_go_on_and_leave_the_run_of_one(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    spec = planned(tiny)
    stop = multiprocessing.get_context("spawn").Event()
    stop.set()
    with pytest.raises(Interrupted):
        run_together(spec, tmp_path / "two", TWO, threads=1, stop=stop)
    (saved,) = tmp_path.glob("two/tiny/*/checkpoints/state/step-*/state.json")
    assert json.loads(saved.read_text())["step"] == 1
    stop.clear()
    directory = run_together(spec, tmp_path / "two", TWO, threads=1, stop=stop)
    together = RunDir(tmp_path / "two" / directory)
    assert together.is_done
    assert together.scores is not None
    assert together.summary is not None
    alone = run_once(spec, runs_root=tmp_path / "one", device=torch.device("cpu"))
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    assert alone.summary is not None
    for name in ("samples", "visual_tokens", "text_tokens", "flops", "mask_ratio_effective"):
        assert getattr(together.summary, name) == pytest.approx(getattr(alone.summary, name)), name


DYING = HALF.replace("from dataclasses", "import os, signal\nfrom dataclasses").replace(
    "        return",
    "        if os.environ.get('RANK') == '1' and view.progress > 0.4:\n"
    "            os.kill(os.getpid(), signal.SIGKILL)\n"
    "        return",
)


def test_a_process_that_dies_ends_all_and_the_run_goes_on_from_its_state(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    spec = planned(
        tiny, f"strategy={{name: '{tmp_path}/dying.py:Half'}}", "training.checkpoint_every_steps=1"
    )
    stop = multiprocessing.get_context("spawn").Event()
    with pytest.raises(RunError, match="a process of this run died") as raised:
        run_together(spec, tmp_path, TWO, threads=1, stop=stop)
    assert "rank 1 of 2" in str(raised.value)
    resumed = run_once(spec, runs_root=tmp_path, device=torch.device("cpu"))
    assert resumed.is_done
    quiet = run_once(spec, runs_root=tmp_path / "quiet", device=torch.device("cpu"))
    assert len(losses(resumed)) == 6
    assert losses(resumed) == pytest.approx(losses(quiet), rel=1e-5), "by one process, after two"


@pytest.mark.parametrize(
    ("marked", "told"), [(f"{HEARD} has failed", "no such shard"), ("loss is nan", "loss is nan")]
)
def test_a_run_is_marked_with_the_reason_and_not_with_what_rank_0_has_heard(
    tiny: TinyWorld, tmp_path: Path, marked: str, told: str
) -> None:
    spec = planned(tiny)
    folder = StudyFolder.open(Planner(open_study_file(tiny.study, overrides=["search=null"])), tmp_path)
    folder.marks.fail(spec.id, Failure(f"rank 0 of 2, step 3: {marked}"))
    assert Pending(folder).close(Ended(spec, error=RunError("no such shard")))
    failure = folder.marks.failure(spec.id)
    assert failure is not None
    assert told in failure.error


def test_slots_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsbench.execution.slots.usable_cores", lambda: 5)
    assert plan_slots(device="cpu", threads=1, devices_per_run=2).devices == ("cpu,cpu", "cpu,cpu")
    gpus = [f"cuda:{number}" for number in range(5)]
    monkeypatch.setattr("pgsbench.execution.slots.devices_named", lambda _: list(gpus))
    slots = plan_slots(device="cuda", threads=1, devices_per_run=2)
    assert slots.devices == ("cuda:0,cuda:1", "cuda:2,cuda:3")
    assert slots.device_type == "cuda"
    assert plan_slots(device="cuda", threads=1, devices_per_run=2, jobs=1).devices == ("cuda:0,cuda:1",)
    with pytest.raises(ConfigError, match="5 devices, fewer than train one run"):
        plan_slots(device="cuda", threads=1, devices_per_run=8)
