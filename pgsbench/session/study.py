"""A study at work: open it, plan it, run it, read what it says. The command line and Python call the same.

::

    study = pgsbench.open_study("ratio", overrides=["training.samples=8192"])
    results = study.compare(baselines=["flip"], seeds=3)
    results.differences          # a pandas DataFrame

Runs are trained in processes of their own; in a script, call this below ``if __name__ == "__main__":``, as
Python's multiprocessing asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd

from pgsbench.config.schema import arm_name
from pgsbench.errors import StudyError
from pgsbench.evaluation.task_data import locate, make_builtin
from pgsbench.execution.driver import Watcher, enter, work_off
from pgsbench.execution.engine import Engine
from pgsbench.execution.estimate import Estimator
from pgsbench.execution.folder import StudyFolder, driving
from pgsbench.execution.kept_times import KeptTimes
from pgsbench.execution.search import search
from pgsbench.execution.shown import Counts, shown
from pgsbench.execution.slots import Slots
from pgsbench.experiment import suite_of
from pgsbench.progress import Bars
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import DecisionPlan, Tuning
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.plan_tables import TO_CHOOSE, deviation_frame, plan_frame, with_tuning
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.study_results import StudyResults
from pgsbench.session.tuning import tuning
from pgsbench.study.objective import check_baselines
from pgsbench.study.plan import Planner, reference_arms, searched_specs, with_arms
from pgsbench.study.study_file import StudyFile
from pgsbench.study.tuning import tuning_of
from pgsbench.tracking.mirror import Mirror, Synced
from pgsbench.training.trunk import first_step

Done = TypeVar("Done")


class Study:
    """A study at work; made by `open_study`.

    Args:
        file: The study file.
        output: The folder of ``runs/`` and ``reports/``.
        engine: Who works on its runs.
        command: What the record says has run the study.
        wait: See `work_on`.

    Attributes:
        engine: Who works on its runs.
        failed: The runs of the last call that failed, each with its error.
    """

    def __init__(self, file: StudyFile, output: Path, engine: Engine, *, command: str, wait: bool) -> None:
        self._file, self.engine, self._command, self._wait = file, engine, command, wait
        self.runs_root = (output / "runs").resolve()
        self._reports_root = output / "reports"
        self.failed: list[tuple[RunSpec, Exception]] = []
        self._counts = Counts()
        self._mirror, self._told_of = Mirror(), ""
        self._cached_planner: Planner | None = None
        self.foreseen: Sequence[RunSpec] = ()  # runs that `dry_run` takes for trained before

    def __repr__(self) -> str:
        return f"Study({self.name!r}, arms={self.arms}, seeds={self._file.config.seeds})"

    @property
    def name(self) -> str:
        """Name of the study, and of its folders."""
        return self._file.config.name

    @property
    def slots(self) -> Slots:
        """Of which devices and threads its runs are trained."""
        return self.engine.slots

    @property
    def arms(self) -> list[str]:
        """Its arms, the base first."""
        return self._file.config.arm_names

    @property
    def file(self) -> StudyFile:
        """The study file, as it is worked on now."""
        return self._file

    def beside(self, file: StudyFile) -> Study:
        """Take another study to work in the same place; its runs are counted with those of this one."""
        output = self._reports_root.parent
        other = Study(file, output, self.engine, command=self._command, wait=self._wait)
        other._counts = self._counts
        return other

    @property
    def worked(self) -> str:
        """What the calls so far did, in words."""
        return self._counts.words

    @property
    def report_folder(self) -> Path:
        """Where its report goes: ``reports/<study>``."""
        return self._reports_root / self.name

    def plan(self, arms: Sequence[str] | None = None) -> list[RunSpec]:
        """Return the runs of some arms, by default of all; made or looked at is what they are trained on.

        Args:
            arms: Arms of the study, or strategies, which become arms.

        Raises:
            UserError: A name is neither, or data is missing or unusable.
        """
        names = self._with_arms(self.arms if arms is None else arms)
        with Bars() as bars:
            self._planner.progress = bars
            specs = self._planner.specs(names)
            self._prepare_data(specs, bars)
            return specs

    def deviations(self) -> pd.DataFrame:
        """Return in what the study deviates from what is published of CLIP-PGS; see `deviation_frame`."""
        return deviation_frame(self._file)

    def dry_run(self, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """Return what `train` would do, and how long it would take on this machine; nothing is trained.

        Args:
            arms: As for `plan`.
        """
        names = self._with_arms(self.arms if arms is None else arms)
        before = self._tuning_study(names)
        if before is None:
            return self._costs(self.plan(arms))
        frame = before.dry_run_of_sweep()
        if is_chosen := bool((frame["state"] == "exists").all()):
            self.tune(names)
        own = self._costs(self.plan(arms))
        return with_tuning(frame, own, is_chosen=is_chosen)

    def dry_run_of_comparison(self, baselines: Sequence[str], candidate: str | None = None) -> pd.DataFrame:
        """Return what `compare` would do; see `dry_run`."""
        return self.dry_run(self._compared(baselines, candidate))

    def dry_run_of_sweep(self, trials: int | None = None) -> pd.DataFrame:
        """Return what `sweep` would do; see `dry_run`."""
        references, searched, num_open = self.plan_sweep(trials)
        return self._costs([*references, *searched], num_open=num_open)

    def _costs(self, specs: Sequence[RunSpec], *, num_open: int = 0) -> pd.DataFrame:
        estimator = Estimator(self.slots.first_device, threads=self.slots.threads)
        folder, first_open = self._folder(), len(specs) - num_open
        rows, together = [], len(self.slots.devices[0].split(","))
        for number, spec in enumerate(specs):
            is_new = number < first_open and not folder.finished(spec)
            begins = first_step(spec, self.runs_root, together, self.foreseen) if is_new else 0
            new = f"from step {begins}" if begins else "to train"
            state = new if is_new else "exists" if number < first_open else TO_CHOOSE
            rows.append((spec, estimator.cost(spec.config, first_step=begins), state))
        return plan_frame(rows, self.slots.devices)

    def train(self, arms: Sequence[str] | None = None) -> StudyResults:
        """Train and evaluate the arms, or some of them; what is complete is reused.

        Args:
            arms: As for `plan`.

        Returns:
            The results; runs that failed are missing there, and stand in `failed`.
        """
        self.tune(arms)
        self._work_off(self.plan(arms))
        return self._finish()

    def tune(self, arms: Sequence[str] | None = None) -> tuple[Tuning, ...]:
        """Choose values for each arm by itself, where the study says so (`tune`): in the study ``NAME-tune``.

        Its points are runs like others: what is complete is reused, and the same call goes on after an
        interrupt. `train` and `compare` begin with it.

        Args:
            arms: As for `plan`.

        Returns:
            What each of the arms is tuned to, as far as it was not before.

        Raises:
            StudyError: No point of an arm has a score.
        """
        names = self._with_arms(self.arms if arms is None else arms)
        before = self._tuning_study(names)
        if before is None:
            return ()
        found = before.sweep().statistics
        chosen = tuple(tuning(found, arm) for arm in before.file.config.searched_arms)
        tuned = {**self._file.config.tuned, **{one.arm: one.params for one in chosen}}
        self._file = replace(self._file, config=self._file.config.model_copy(update={"tuned": tuned}))
        self._tunings = (*self._tunings, *chosen)
        return chosen

    def _tuning_study(self, arms: Sequence[str]) -> Study | None:
        """Return the study that tunes those of the arms that are not tuned yet; None: there are none."""
        config = self._file.config
        left = [arm for arm in arms if arm not in config.tuned]
        return self.beside(tuning_of(self._file, left)) if config.tune and left else None

    def compare(
        self,
        baselines: Sequence[str],
        *,
        candidate: str | None = None,
        seeds: int | Sequence[int] | None = None,
        plan: DecisionPlan | None = None,
    ) -> StudyResults:
        """Compare an arm with others: train what is missing, then intervals and paired tests.

        Args:
            baselines: Arms or strategies to compare with.
            candidate: The arm in question; None: the study's base.
            seeds: Number of seeds, or the seeds; None: the study's.
            plan: How it is repeated until it is decided (`pgsbench.session.comparing`); None: not at all.

        Raises:
            UserError: There is no such arm, or nothing to compare.
        """
        if seeds is not None:
            self._file = self._file.with_seeds(range(seeds) if isinstance(seeds, int) else seeds)
        self._decision = plan
        chosen, *others = self._compared(baselines, candidate)
        self.tune([chosen, *others])
        self._work_off(self.plan([chosen, *others]))
        return self._finish(candidate=arm_name(chosen), baselines=[arm_name(name) for name in others])

    def sweep(self, trials: int | None = None) -> StudyResults:
        """Search the study's space, and train beside it the arms that are not searched.

        Args:
            trials: How many trials there are in all, past ones included; None: the study's.

        Raises:
            StudyError: The study has nothing to search.
        """
        references, _, _ = self.plan_sweep(trials)
        self.failed = self.watched(lambda folder, watcher: search(folder, references, self.engine, watcher))
        return self._finish()

    def plan_sweep(self, trials: int | None = None) -> tuple[list[RunSpec], list[RunSpec], int]:
        """Return the runs that are not searched, and what `searched_specs` says, with all data there."""
        self._check_search()
        self._file = self._file.with_trials(trials)
        references = self.plan(reference_arms(self._file))
        searched, num_open = searched_specs(self._planner)
        with Bars() as bars:
            self._prepare_data(searched, bars)
        return references, searched, num_open

    def watched(self, do: Callable[[StudyFolder, Watcher], Done]) -> Done:
        """Drive the study: do something with its folder that no other command does, and show progress."""
        with (
            shown(self._counts, lambda bars: self._tell_mirror(bars, running=True)) as watcher,
            driving(self.runs_root / self.name, wait=self._wait, say=watcher.on_note),
        ):
            return do(self._folder(), watcher)

    def results(
        self, *, candidate: str | None = None, baselines: Sequence[str] | None = None
    ) -> StudyResults:
        """Read what the study's runs say, as they lie on disk.

        Args:
            candidate: The arm in question; None: that of `compare --until decided`, else the study's base.
            baselines: What it is compared with; None: all other arms but the oracle.

        Raises:
            UserError: No run is there, there is no such arm, or nothing to compare the candidate with.
        """
        return StudyResults(
            Results(read_frames(self.runs_root / self.name), candidate=candidate, baselines=baselines)
        )

    def report(self, results: StudyResults | None = None) -> Path:
        """Write the report of the study, and return its folder."""
        results = results or self.results()
        return write_report(results.statistics, self.report_folder)

    def sync(self, *, running: bool = False) -> Synced:
        """Bring MLflow up to date; what is wrong with it is in the answer, and stops nothing."""
        folder = self.runs_root / self.name
        if not (folder / files.STUDY).is_file():
            self._folder().write()  # the mirror feeds from a record
        return self._mirror.sync_study(folder, report_folder=self.report_folder, running=running)

    def check_failed(self) -> None:
        """Raise where runs of the last call failed.

        Raises:
            StudyError: With the first of the errors.
        """
        if self.failed:
            spec, error = self.failed[0]
            raise StudyError(
                f"{len(self.failed)} of {len(self.failed) + self._counts.complete} runs failed; "
                f"the first: {error}",
                where=spec.name,
                way_out="mend the cause and repeat the command: what is complete is reused",
            )

    def _compared(self, baselines: Sequence[str], candidate: str | None) -> list[str]:
        chosen = candidate or self._file.config.base_arm
        check_baselines(baselines, chosen)
        return [chosen, *baselines]

    def _with_arms(self, wanted: Sequence[str]) -> list[str]:
        self._file = with_arms(self._file, wanted)
        return list(dict.fromkeys(map(arm_name, wanted)))

    @property
    def _planner(self) -> Planner:
        if self._cached_planner is None or self._cached_planner.study is not self._file:
            device, threads = self.slots.device_type, self.slots.threads
            pace = KeptTimes(self.runs_root / self.name, self.slots)
            self._cached_planner = Planner(self._file, device=device, threads=threads, pace=pace)
        return self._cached_planner

    _decision: DecisionPlan | None = None
    _tunings: tuple[Tuning, ...] = ()

    def _folder(self) -> StudyFolder:
        found = StudyFolder.open(self._planner, self.runs_root, self._command)
        found.decision = self._decision or found.decision
        now = {one.arm for one in self._tunings}
        found.tunings = (*(one for one in found.tunings if one.arm not in now), *self._tunings)
        return found

    def _check_search(self) -> None:
        if self._file.config.search is None:
            raise StudyError(
                "the study has nothing to search",
                where=self.name,
                way_out="add `search:` with a `space:`, or use `pgsbench train` or `compare`",
            )

    def _prepare_data(self, specs: Sequence[RunSpec], bars: Bars) -> None:
        """Make the built-in data that runs are tested on and look for the rest, before hours of training."""
        one_of_each = {(spec.evaluation.suite, spec.config.data.source): spec for spec in specs}
        for suite in map(suite_of, one_of_each.values()):
            make_builtin(suite, progress=bars)
            locate(suite)

    def _work_off(self, specs: Sequence[RunSpec]) -> None:
        self.failed = self.watched(
            lambda folder, watcher: work_off(folder, enter(folder, specs, watcher), self.engine, watcher)
        )

    def _finish(
        self, *, candidate: str | None = None, baselines: Sequence[str] | None = None
    ) -> StudyResults:
        results = self.results(candidate=candidate, baselines=baselines)
        self.report(results)
        with Bars() as bars:
            self._tell_mirror(bars)
        return results

    def _tell_mirror(self, bars: Bars, *, running: bool = False) -> None:
        problem = self.sync(running=running).problem
        if problem and problem != self._told_of:  # said once
            self._told_of = problem
            bars.say(f"warning: MLflow is behind: {problem}\n  -> `pgsbench sync` feeds it again later")
