"""A study at work: open it, plan it, run it, read what it says. The command line and Python call the same.

::

    study = pgsbench.open_study("ratio", overrides=["training.samples=8192"])
    results = study.compare(baselines=["flip"], seeds=3)
    results.differences          # a pandas DataFrame

Runs are trained in processes of their own; in a script, call this below ``if __name__ == "__main__":``, as
Python's multiprocessing asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

from pgsbench.config.schema import arm_name
from pgsbench.errors import ConfigError, StudyError
from pgsbench.evaluation.suite import suite_of
from pgsbench.evaluation.task_data import locate, make_builtin
from pgsbench.execution.driver import Watcher, enter, give_away, work_off
from pgsbench.execution.engine import Engine
from pgsbench.execution.kept_times import KeptTimes
from pgsbench.execution.ledger import Ledger, driving
from pgsbench.execution.search import search
from pgsbench.execution.shown import Board, Counts, shown
from pgsbench.progress import Bars
from pgsbench.records import files
from pgsbench.records.run_spec import RunSpec
from pgsbench.records.study_record import DecisionPlan, Tuning
from pgsbench.reporting.findings import Findings
from pgsbench.reporting.pages.study_report import write_report
from pgsbench.reporting.plan_tables import with_tuning
from pgsbench.reporting.results import Results
from pgsbench.reporting.study_frames import read_frames
from pgsbench.reporting.tuned import tuning
from pgsbench.session import costs
from pgsbench.study.design import Design
from pgsbench.study.objective import check_baselines
from pgsbench.study.plan import Planner, reference_arms, searched_specs, with_arms
from pgsbench.tracking.mirror import Mirror, Synced
from pgsbench.tracking.rundir import find_or_make


class Study:
    """A study at work; made by `open_study`.

    Args:
        design: The study.
        output: The folder of ``runs/`` and ``reports/``.
        engine: Who works on its runs.
        command: What the record says has run the study.
        wait: See `work_on`.

    Attributes:
        design: The study, as it is worked on now.
        engine: Who works on its runs.
        runs_root: The folder of all studies.
        failed: The runs of the last call that failed, each with its error.
    """

    def __init__(self, design: Design, output: Path, engine: Engine, *, command: str, wait: bool) -> None:
        self.design, self.engine, self._command, self._wait = design, engine, command, wait
        self._output, self.runs_root = output, (output / "runs").resolve()
        self.failed: list[tuple[RunSpec, Exception]] = []
        self._counts = Counts()
        self._mirror, self._told_of = Mirror(), ""
        self._cached_planner: Planner | None = None
        self.foreseen: Sequence[RunSpec] = ()  # runs that `dry_run` takes for trained before

    def __repr__(self) -> str:
        return f"Study({self.name!r}, arms={self.arms}, seeds={self.design.config.seeds})"

    @property
    def name(self) -> str:
        """Name of the study, and of its folders."""
        return self.design.config.name

    @property
    def arms(self) -> list[str]:
        """Its arms, the base first."""
        return self.design.config.arm_names

    def beside(self, design: Design) -> Study:
        """Take another study to work in the same place; its runs are counted with those of this one."""
        other = Study(design, self._output, self.engine, command=self._command, wait=self._wait)
        other._counts = self._counts
        return other

    @property
    def worked(self) -> str:
        """What the calls so far did, in words."""
        return self._counts.words

    @property
    def report_folder(self) -> Path:
        """Where its report goes: ``reports/<study>``."""
        return self._output / "reports" / self.name

    def plan(self, arms: Sequence[str] | None = None) -> list[RunSpec]:
        """Return the runs of some arms, by default of all; made or looked at is what they are trained on.

        Args:
            arms: Arms of the study, or strategies, which become arms.

        Raises:
            UserError: A name is neither, or data is missing or unusable.
        """
        names = self._with_arms(arms)
        with Bars() as bars:
            self._planner.progress = bars
            specs = self._planner.specs(names)
            self._prepare_data(specs, bars)
            return specs

    def dry_run(self, arms: Sequence[str] | None = None) -> pd.DataFrame:
        """Return what `train` would do, and how long it would take on this machine; nothing is trained.

        Args:
            arms: As for `plan`.
        """
        before = self.untuned(arms)
        if before is None:
            return self._costs(self.plan(arms))
        frame = before.dry_run_of_sweep()
        if is_chosen := bool((frame["state"] == "exists").all()):
            self.tune(arms)
        return with_tuning(frame, self._costs(self.plan(arms)), is_chosen=is_chosen)

    def dry_run_of_sweep(self, trials: int | None = None) -> pd.DataFrame:
        """Return what `sweep` would do; see `dry_run`."""
        references, searched, num_open = self.plan_sweep(trials)
        return self._costs([*references, *searched], num_open)

    def _costs(self, specs: Sequence[RunSpec], num_open: int = 0) -> pd.DataFrame:
        return costs.of_runs(specs, self.ledger(), self.engine.slots, self.foreseen, num_open)

    def train(self, arms: Sequence[str] | None = None) -> Findings:
        """Train and evaluate the arms, or some of them; what is complete is reused.

        Args:
            arms: As for `plan`.

        Returns:
            The results; runs that failed are missing there, and stand in `failed`.
        """
        self.tune(arms)
        return self._work(self.plan(arms))

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
        before = self.untuned(arms)
        if before is None:
            return ()
        found = before.sweep().statistics
        chosen = tuple(tuning(found, arm) for arm in before.design.config.searched_arms)
        tuned = {**self.design.config.tuned, **{one.arm: one.params for one in chosen}}
        self.design = replace(self.design, config=self.design.config.model_copy(update={"tuned": tuned}))
        self._tunings = (*self._tunings, *chosen)
        return chosen

    def untuned(self, arms: Sequence[str] | None = None) -> Study | None:
        """Return the study that tunes those of the arms that are not tuned yet; None: there are none."""
        names, config = self._with_arms(arms), self.design.config
        left = [arm for arm in names if arm not in config.tuned]
        return self.beside(self.design.tuning(left)) if config.tune and left else None

    def compare(
        self,
        baselines: Sequence[str],
        *,
        candidate: str | None = None,
        seeds: int | Sequence[int] | None = None,
        plan: DecisionPlan | None = None,
    ) -> Findings:
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
            self.design = self.design.with_seeds(range(seeds) if isinstance(seeds, int) else seeds)
        self._decision = plan
        arms = self.compared(baselines, candidate)
        self.tune(arms)
        chosen, *others = map(arm_name, arms)
        return self._work(self.plan(arms), candidate=chosen, baselines=others)

    def sweep(self, trials: int | None = None) -> Findings:
        """Search the study's space, and train beside it the arms that are not searched.

        Args:
            trials: How many trials there are in all, past ones included; None: the study's.

        Raises:
            StudyError: The study has nothing to search.
        """
        references, searched, _ = self.plan_sweep(trials)
        return self._work(references, searched)

    def plan_sweep(self, trials: int | None = None) -> tuple[list[RunSpec], list[RunSpec], int]:
        """Return the runs that are not searched, and what `searched_specs` says, with all data there.

        Raises:
            StudyError: The study has nothing to search.
        """
        if self.design.config.search is None:
            raise StudyError(
                "the study has nothing to search",
                where=self.name,
                way_out="add `search:` with a `space:`, or use `pgsbench train` or `compare`",
            )
        self.design = self.design.with_trials(trials)
        references = self.plan(reference_arms(self.design))
        searched, num_open = searched_specs(self._planner)
        with Bars() as bars:
            self._prepare_data(searched, bars)
        return references, searched, num_open

    def leave(self, specs: Sequence[RunSpec], *, submit: bool = False) -> list[Path]:
        """Lay the directories of runs for `pgsbench run`, or submit their jobs, and wait for nothing.

        Args:
            specs: The runs, planned before.
            submit: Whether the study's engine takes them.

        Returns:
            The directories of those that are not complete.

        Raises:
            ConfigError: The engine's runs end with the command, or the study's arms are tuned first.
        """
        if self.design.config.tune is not None:
            rule, way_out = "arms are tuned while the command looks on", "let `pgsbench train` stay"
            raise ConfigError(rule, where=f"{self.name}, tune", way_out=way_out)
        if submit and not self.engine.goes_on:
            rule, way_out = "only jobs go on without the command", "--on slurm"
            raise ConfigError(rule, where="--detach", way_out=way_out)
        with Bars() as bars, driving(self.runs_root / self.name, wait=self._wait, say=bars.say):
            ledger = self.ledger()
            missing = enter(ledger, specs, Watcher(on_progress=bars))
            if submit:
                give_away(ledger, missing, self.engine)
            return [find_or_make(self.runs_root, spec).path for spec in missing]

    def results(self, *, candidate: str | None = None, baselines: Sequence[str] | None = None) -> Findings:
        """Read what the study's runs say, as they lie on disk.

        Args:
            candidate: The arm in question; None: that of `compare --until decided`, else the study's base.
            baselines: What it is compared with; None: all other arms but the oracle.

        Raises:
            UserError: No run is there, there is no such arm, or nothing to compare the candidate with.
        """
        return Findings(
            Results(read_frames(self.runs_root / self.name), candidate=candidate, baselines=baselines)
        )

    def report(self, results: Findings | None = None) -> Path:
        """Write the report of the study, and return its folder."""
        results = results or self.results()
        return write_report(results.statistics, self.report_folder)

    def sync(self, *, running: bool = False) -> Synced:
        """Bring MLflow up to date; what is wrong with it is in the answer, and stops nothing."""
        folder = self.runs_root / self.name
        if not (folder / files.STUDY).is_file():
            self.ledger().write()  # the mirror feeds from a record
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

    def compared(self, baselines: Sequence[str], candidate: str | None = None) -> list[str]:
        """Return the arms that a comparison trains, the candidate first; see `compare`."""
        chosen = candidate or self.design.config.base_arm
        check_baselines(baselines, chosen, self.arms)
        return [chosen, *baselines]

    def _with_arms(self, wanted: Sequence[str] | None) -> list[str]:
        wanted = self.arms if wanted is None else wanted
        self.design = with_arms(self.design, wanted)
        return list(dict.fromkeys(map(arm_name, wanted)))

    @property
    def _planner(self) -> Planner:
        if self._cached_planner is None or self._cached_planner.study is not self.design:
            device, threads = self.engine.slots.device_type, self.engine.slots.threads
            pace = KeptTimes(self.runs_root / self.name, self.engine.slots)
            self._cached_planner = Planner(self.design, device=device, threads=threads, pace=pace)
        return self._cached_planner

    _decision: DecisionPlan | None = None
    _tunings: tuple[Tuning, ...] = ()

    def ledger(self) -> Ledger:
        """Return the ledger of its runs, as it is now."""
        found = Ledger.open(self._planner, self.runs_root, self._command)
        found.decision = self._decision or found.decision
        now = {one.arm for one in self._tunings}
        found.tunings = (*(one for one in found.tunings if one.arm not in now), *self._tunings)
        return found

    def _prepare_data(self, specs: Sequence[RunSpec], bars: Bars) -> None:
        """Make the built-in data that runs are tested on and look for the rest, before hours of training."""
        one_of_each = {(spec.evaluation.suite, spec.config.data.source): spec for spec in specs}
        for suite in map(suite_of, one_of_each.values()):
            make_builtin(suite, progress=bars)
            locate(suite)

    def _work(
        self, specs: Sequence[RunSpec], searched: Sequence[RunSpec] | None = None, **compared: Any
    ) -> Findings:
        """Drive the study, show how far it is, and report on it.

        Args:
            specs: Runs to train.
            searched: Those that its search asks for besides, as far as is known; None: it is not searched.
            **compared: What the report is about; see `results`.
        """
        plan = [*specs, *(searched or ())]
        board, ledger = Board(plan, self.engine.slots), self.ledger()
        missing = [spec for spec in plan if not ledger.finished(spec)]
        if said := board.first_line(self.name, missing, str(self.report_folder / "report.html")):
            print(said, file=sys.stderr, flush=True)
        feed = partial(self._tell_mirror, running=True)
        with (
            shown(self._counts, board, feed, lambda: self.report(self.results(**compared))) as watcher,
            driving(self.runs_root / self.name, wait=self._wait, say=watcher.on_note),
        ):
            ledger = self.ledger()
            if searched is None:
                self.failed = work_off(ledger, enter(ledger, specs, watcher), self.engine, watcher)
            else:
                self.failed = search(ledger, specs, self.engine, watcher)
        results = self.results(**compared)
        self.report(results)
        with Bars() as bars:
            self._tell_mirror(bars)
        return results

    def _tell_mirror(self, bars: Bars, *, running: bool = False) -> None:
        problem = self.sync(running=running).problem
        if problem and problem != self._told_of:  # said once
            self._told_of = problem
            bars.say(f"warning: MLflow is behind: {problem}\n  -> `pgsbench sync` feeds it again later")
