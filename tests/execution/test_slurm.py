"""Runs as jobs of a cluster: what a job asks for, and what it does on signals."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_search
from tinyworld import TinyWorld

from pgsbench import experiment
from pgsbench.config.cluster_profiles import Profile, read_profile
from pgsbench.errors import ConfigError, DataError, Interrupted, StudyError
from pgsbench.execution import slurm
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.runs import Watcher
from pgsbench.records.marks import Failure, Queued
from pgsbench.session import comparing, jobs, workers
from pgsbench.session.jobs import RunJob
from pgsbench.session.study import Study
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner

submitit = pytest.importorskip("submitit")


@pytest.fixture
def cluster_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cluster.yaml"
    monkeypatch.setenv("PGSBENCH_CLUSTER", str(path))
    path.write_text(
        "profiles:\n  small: {partition: main, minutes: 20, save_seconds: 30}\n"
        "  big: {gpus: 1, cpus: 4, account: vision, setup: [module load cuda], parallel: 3}\n"
    )
    return path


def planned(tiny: TinyWorld, output: Path) -> StudyFolder:
    study = open_study_file(tiny.study, overrides=["search=null", "arms={}"])
    folder = StudyFolder.open(Planner(study), output / "runs")
    folder.add(folder.planner.specs(["pgs"]))
    return folder


def test_profiles_are_read_and_their_mistakes_named(cluster_file: Path) -> None:
    assert read_profile() == Profile(partition="main", minutes=20, save_seconds=30)
    assert read_profile("big").device == "cuda"
    with pytest.raises(ConfigError, match="did you mean 'small'"):
        read_profile("smal")
    cluster_file.write_text("profiles:\n  small: {minuts: 1}\n")
    with pytest.raises(ConfigError, match=r"cluster.yaml:2: profiles\.small\.minuts"):
        read_profile()
    cluster_file.unlink()
    with pytest.raises(ConfigError, match="needs a file that says what jobs ask for"):
        read_profile()


def test_a_profile_becomes_a_jobs_script(cluster_file: Path, tmp_path: Path) -> None:
    asked = slurm._parameters(read_profile("big"), "ratio")
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="debug")
    executor.update_parameters(**asked)  # every name is one that submitit knows
    named = {
        key.removeprefix("slurm_"): value
        for key, value in asked.items()
        if key not in ("timeout_min", "mem_gb")
    }
    text = submitit.slurm.slurm._make_sbatch_string(
        command="true", folder=tmp_path, job_name=named.pop("name"), time=60, map_count=9, **named
    )
    for line in ("--array=0-8%3", "--account=vision", "--signal=USR1@90", "--cpus-per-task=4", "--requeue"):
        assert f"#SBATCH {line}\n" in text
    assert "module load cuda" in text


def test_a_job_reads_its_spec_when_it_starts_and_marks_what_fails(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, seen = planned(tiny, tmp_path), []

    def run(spec: Any, **_: object) -> None:
        seen.append(spec)
        raise DataError("no such shard")

    monkeypatch.setattr(experiment, "run_once", run)
    monkeypatch.setattr(jobs.Signals, "listen", lambda *_, **__: None)
    job = RunJob(str(tmp_path), "tiny", "pgs s0", "cpu", 1)
    with pytest.raises(DataError):
        job()
    assert seen == [folder.runs["pgs s0"].spec]
    failure = folder.marks.failure(seen[0].id)
    assert failure is not None
    assert failure.error == "no such shard"
    folder.marks.cancel()
    assert job() == "not asked for any more"
    folder.marks.go_on()
    assert RunJob(str(tmp_path), "tiny", "gone s0", "cpu", 1)() == "not asked for any more"


@pytest.mark.parametrize(("number", "again"), [(signal.SIGUSR1, 1), (signal.SIGTERM, 0)])
def test_before_its_limit_a_job_saves_and_is_queued_again(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, again: int
) -> None:
    planned(tiny, tmp_path)
    before = {one: signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM)}
    queued: list[int] = []
    monkeypatch.setattr(jobs, "queue_again", lambda: queued.append(1))

    def run(spec: object, *, should_stop: Any, **_: object) -> None:
        assert not should_stop()
        os.kill(os.getpid(), number)
        assert should_stop()
        raise Interrupted

    monkeypatch.setattr(experiment, "run_once", run)
    try:
        assert RunJob(str(tmp_path), "tiny", "pgs s0", "cpu", 1)() == "saved"
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert len(queued) == again


def test_a_job_that_is_gone_without_a_word_is_a_failed_run_with_the_end_of_its_output(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planned(tiny, tmp_path)
    (spec,) = [run.spec for run in folder.runs.values()]
    (tmp_path / "log").mkdir()
    (tmp_path / "log/7_0_log.out").write_text("slurmstepd: error: Detected 1 oom_kill event\n")
    folder.marks.queue(spec.id, Queued("7", str(tmp_path / "log")))
    monkeypatch.setattr(slurm, "known_jobs", set)
    monkeypatch.setattr(slurm, "GONE_SECONDS", 0.05)
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.02)
    ((_, error),) = slurm.wait_for(folder, [spec], Watcher())
    assert "oom_kill" in str(error)
    assert isinstance(folder.marks.failure(spec.id), Failure)


def test_a_job_that_is_seen_again_is_not_gone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, clock = planned(tiny, tmp_path), [0.0]
    (spec,) = [run.spec for run in folder.runs.values()]
    folder.marks.queue(spec.id, Queued("7"))

    def known() -> set[str]:
        if clock[0] >= 3 * 0.6 * slurm.GONE_SECONDS:
            test_search.finish(folder, spec, 0.5)
        return {"7"} if clock[0] == 0.6 * slurm.GONE_SECONDS else set()

    def sleep(_: float) -> None:
        clock[0] += 0.6 * slurm.GONE_SECONDS

    monkeypatch.setattr(slurm, "known_jobs", known)
    monkeypatch.setattr(slurm, "time", SimpleNamespace(time=lambda: clock[0], sleep=sleep))
    assert slurm.wait_for(folder, [spec], Watcher()) == []


def test_what_is_queued_is_not_submitted_again_and_waited_for_all_the_same(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted, waited = list[str](), list[list[str]]()
    known: set[str] = set()

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        ids = [str(len(submitted) + number) for number, _ in enumerate(jobs)]
        submitted.extend(job.run for job in jobs)
        return ids

    def wait(_: StudyFolder, specs: Any, __: Watcher) -> list[Any]:
        waited.append([spec.name for spec in specs])
        return []

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "known_jobs", lambda: known)
    monkeypatch.setattr(slurm, "wait_for", wait)
    monkeypatch.setattr(Study, "_finish", lambda *_, **__: None)
    study = workers.on_cluster(open_study_file(tiny.study), on="slurm", output=tmp_path)
    study.train(["pgs", "none"])
    known.add("0")
    study.train(["pgs", "none"])
    assert submitted == ["pgs s0", "none s0", "none s0"]
    assert waited == [["pgs s0", "none s0"]] * 2
    queued = [study._folder().marks.queued(spec.id) for spec in study.plan(["pgs", "none"])]
    assert [one and one.job for one in queued] == ["0", "2"]


def test_a_search_that_samples_is_waited_for_until_its_jobs_are_gone(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = planned(tiny, tmp_path), []
    (spec,) = [run.spec for run in folder.runs.values()]

    def known() -> set[str] | None:
        asked.append(1)
        if len(asked) == 3:  # its job has taken the run, and now it is over
            folder.marks.fail(spec.id, Failure("no such shard"))
        return [{"7_0"}, None, {"8"}][len(asked) - 1]

    monkeypatch.setattr(slurm, "known_jobs", known)
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.01)
    ((_, error),) = slurm.wait_for_jobs(folder, ["7_0"], Watcher())
    assert "no such shard" in str(error)


def sampled(tiny: TinyWorld, output: Path, *, points: int) -> StudyFolder:
    """Return a search of three points, of which some were entered, and whose only job is gone."""
    asked = "{sampler: random, trials: 3, space: {strategy.mask_ratio: {low: 0.1, high: 0.9}}, arms: [pgs]}"
    study = open_study_file(tiny.study, overrides=[f"search={asked}", "arms={}"])
    folder = StudyFolder.open(Planner(study), output / "runs")
    ratios = [0.3, 0.6][:points]
    folder.add([folder.planner.spec("pgs", 0, {"strategy.mask_ratio": ratio}) for ratio in ratios])
    log = folder.path / "jobs/7_0"
    log.mkdir(parents=True)
    (log / "7_0_0_log.out").write_text("slurmstepd: error: Detected 1 oom_kill event\n")
    folder.marks.keep_worker(Queued("7_0", str(log)))
    return folder


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "known_jobs", set)
    monkeypatch.setattr(slurm, "GONE_SECONDS", 0.05)
    monkeypatch.setattr(slurm, "WAIT_SECONDS", 0.02)


@pytest.mark.usefixtures("gone")
def test_points_whose_jobs_died_have_failed_and_the_rest_is_missing(tiny: TinyWorld, tmp_path: Path) -> None:
    folder, told = sampled(tiny, tmp_path, points=2), list[str]()
    first, second = [run.spec for run in folder.runs.values()]
    test_search.finish(folder, first, 0.5)
    ((spec, error),) = slurm.wait_for_jobs(folder, ["7_0"], Watcher(on_note=told.append))
    assert spec == second
    assert "oom_kill" in str(error)
    assert told == ["2 of 3 points are missing"]
    assert folder.marks.failure(second.id) is not None
    assert folder.marks.workers() == []


@pytest.mark.usefixtures("gone")
def test_jobs_that_died_before_they_took_anything_are_told(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = sampled(tiny, tmp_path, points=0)
    with pytest.raises(StudyError, match=r"3 of 3 points are missing: its job ended .*oom_kill"):
        slurm.wait_for_jobs(folder, ["7_0"], Watcher())


@pytest.mark.usefixtures("gone")
def test_a_search_that_ended_before_it_had_all_points_has_not_failed(tiny: TinyWorld, tmp_path: Path) -> None:
    folder, told = sampled(tiny, tmp_path, points=1), list[str]()
    (spec,) = [run.spec for run in folder.runs.values()]
    test_search.finish(folder, spec, 0.5)
    (folder.path / "jobs/7_0/7_0_0_result.pkl").write_bytes(pickle.dumps(("success", "done")))
    assert slurm.wait_for_jobs(folder, ["7_0"], Watcher(on_note=told.append)) == []
    assert told == ["2 of 3 points are missing"]


@pytest.mark.usefixtures("gone")
def test_jobs_of_another_command_on_the_same_search_are_waited_for(
    tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = sampled(tiny, tmp_path, points=1), list[int]()
    folder.marks.keep_worker(Queued("8_0"))
    (spec,) = [run.spec for run in folder.runs.values()]

    def known() -> set[str]:
        asked.append(1)
        if len(asked) == 3:
            test_search.finish(folder, spec, 0.5)
        return {"8_0"} if len(asked) < 3 else set()

    monkeypatch.setattr(slurm, "known_jobs", known)
    with pytest.raises(StudyError, match="2 of 3 points are missing"):
        slurm.wait_for_jobs(folder, ["7_0"], Watcher())
    assert len(asked) == 3


@pytest.mark.usefixtures("gone")
def test_a_cancelled_study_is_waited_for_no_longer(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = sampled(tiny, tmp_path, points=1)
    folder.marks.cancel()
    (spec,) = [run.spec for run in folder.runs.values()]
    for wait in (
        lambda: slurm.wait_for(folder, [spec], Watcher()),
        lambda: slurm.wait_for_jobs(folder, ["7_0"], Watcher()),
    ):
        with pytest.raises(StudyError, match="cancelled"):
            wait()
    assert folder.marks.failure(spec.id) is None


@pytest.mark.usefixtures("gone")
def test_a_killed_job_that_nobody_waits_for_is_a_failed_run(tiny: TinyWorld, tmp_path: Path) -> None:
    folder = planned(tiny, tmp_path)
    (spec,) = [run.spec for run in folder.runs.values()]
    (tmp_path / "log").mkdir()
    (tmp_path / "log/7_0_0_log.out").write_text("slurmstepd: error: Detected 1 oom_kill event\n")
    folder.marks.queue(spec.id, Queued("7_0", str(tmp_path / "log")))
    looks = list(workers.watch("tiny", output=tmp_path, seconds=0.06))
    assert [[run.state for run in look] for look in looks] == [["lost"], ["failed"]]
    assert "oom_kill" in looks[-1][0].why
    assert folder.marks.queued(spec.id) is None


@pytest.mark.usefixtures("gone")
def test_points_that_nobody_waits_for_fail_with_their_jobs(tiny: TinyWorld, tmp_path: Path) -> None:
    sampled(tiny, tmp_path, points=2)
    looks = list(workers.watch("tiny", output=tmp_path, seconds=0.06))
    assert [[run.state for run in look] for look in looks] == [["waiting"] * 2, ["failed"] * 2]


def test_jobs_that_take_the_next_point_are_shown_kept_and_cancelled(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_file.write_text("profiles:\n  small: {parallel: 3}\n")
    submitted, cancelled, known = list[str](), list[str](), set[str]()

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        ids = [f"7_{len(submitted) + number}" for number, _ in enumerate(jobs)]
        submitted.extend(ids)
        known.update(ids)
        return ids

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "known_jobs", lambda: known)
    monkeypatch.setattr(slurm, "cancel", cancelled.extend)
    asked = ["search.sampler=random", "search.trials=8"]
    study = workers.on_cluster(open_study_file(tiny.study, overrides=asked), on="slurm", output=tmp_path)
    assert workers.leave(study, search=True).jobs == ["7_0", "7_1", "7_2"]
    assert workers.leave(study, search=True).jobs == []
    known.discard("7_1")
    assert workers.leave(study, search=True).jobs == ["7_3"]
    waiting = [run.job for run in workers.status(study.name, output=tmp_path) if run.name == workers.NEXT]
    assert waiting == ["7_0", "7_2", "7_3"]
    known.discard("7_0")
    assert workers.cancel(study.name, output=tmp_path).jobs == ["7_2", "7_3"] == cancelled
    assert not any(run.name == workers.NEXT for run in workers.status(study.name, output=tmp_path))


@pytest.mark.parametrize("search", [False, True])
def test_nothing_is_submitted_twice_because_the_queue_does_not_answer(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch, search: bool
) -> None:
    submitted: list[int] = []

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        submitted.append(len(jobs))
        return [f"7_{number}" for number, _ in enumerate(jobs)]

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "known_jobs", lambda: None)
    asked = ["search.sampler=random", "search.trials=3"]
    study = workers.on_cluster(open_study_file(tiny.study, overrides=asked), on="slurm", output=tmp_path)
    workers.leave(study, ["pgs"], search=search)
    with pytest.raises(StudyError, match="squeue does not answer"):
        workers.leave(study, ["pgs"], search=search)
    assert len(submitted) == 1


def test_seeds_are_added_by_jobs_until_a_comparison_is_decided(
    tiny: TinyWorld, tmp_path: Path, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[str] = []

    def submit(jobs: Any, *_: object, **__: object) -> list[str]:
        submitted.extend(job.run for job in jobs)
        return [str(number) for number, _ in enumerate(jobs)]

    def wait(folder: StudyFolder, specs: Any, _: Watcher) -> list[Any]:
        for spec in specs:  # as if its job had run
            test_search.finish(folder, spec, 0.5)
        return []

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "wait_for", wait)
    monkeypatch.setattr(Study, "_finish", lambda self, **_: SimpleNamespace(statistics=None))
    monkeypatch.setattr(comparing, "decisions", lambda _: [SimpleNamespace(is_decided=len(submitted) > 6)])
    monkeypatch.setattr(comparing, "_said", str)
    study = workers.on_cluster(open_study_file(tiny.study), on="slurm", output=tmp_path)
    comparing.compare_until_decided(study, ["flip"])
    assert len(submitted) == len(set(submitted)) > 6
    assert study.beside(study.file).profile is study.profile


def test_a_refusal_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyError, match="SLURM took no jobs"):
        slurm.submit([print], Profile(), tmp_path, name="x")
