"""What `sweep`, `compare` and `train` share: open, plan, work off, report, mirror, say where it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pgsbench.cli.options import seed_overrides
from pgsbench.cli.progress import Progress
from pgsbench.errors import StudyError
from pgsbench.study.shipped import find_study

if TYPE_CHECKING:
    from pgsbench.execution.local import StudyFolder, Watcher
    from pgsbench.reporting.render import Table
    from pgsbench.reporting.results import Results
    from pgsbench.study.plan import PlannedRun
    from pgsbench.study.study import Study

MIRROR_EVERY_SECONDS = 20.0


class Work:
    """One command at work on a study.

    Args:
        study: The study.
        output: Folder of ``runs/`` and ``reports/``.
        jobs: At most this many runs at a time.
        device: As on the command line.

    Attributes:
        failed: The runs that failed.
    """

    def __init__(self, study: Study, output: Path, *, jobs: int | None = None, device: str = "auto") -> None:
        from pgsbench.tracking.mlflow import Mirror

        self.study, self.jobs, self.device = study, jobs, device
        self.runs_root = (output / "runs").resolve()
        self.report_folder = output / "reports" / study.config.name
        self.failed: list[tuple[PlannedRun, Exception]] = []
        self._mirror = Mirror()
        self._mirrored = time.monotonic()
        self._told_of = ""
        self.num_trained = self.num_reused = 0

    @classmethod
    def open(
        cls,
        study: str,
        *,
        set_: list[str] | None,
        seeds: int | None,
        output: Path,
        jobs: int | None,
        device: str,
    ) -> Work:
        """Open a study by the options of a command; see `pgsbench.cli.options`.

        Raises:
            UserError: The study has mistakes, or there is no such device.
        """
        from pgsbench.devices import devices_named
        from pgsbench.study.open import open_study

        devices_named(device)  # a mistake in it is said before anything is prepared
        opened = open_study(find_study(study), overrides=[*(set_ or []), *seed_overrides(seeds)])
        return cls(opened, output, jobs=jobs, device=device)

    @cached_property
    def folder(self) -> StudyFolder:
        """The study's folder, with the runs of earlier commands; to be asked for when the arms are known."""
        from pgsbench.execution.local import StudyFolder

        return StudyFolder.open(self.study, self.runs_root, command_line())

    def plan(self, arms: Sequence[str]) -> list[PlannedRun]:
        """Return the runs of some arms; a strategy that is no arm becomes one, see `plan.with_arms`."""
        from pgsbench.config.schema import arm_name
        from pgsbench.study import plan

        self.study = plan.with_arms(self.study, arms)
        return plan.planned_runs(self.study, list(dict.fromkeys(map(arm_name, arms))))

    def train(self, runs: Sequence[PlannedRun]) -> None:
        """Train and evaluate what is not complete."""
        from pgsbench.execution.local import work_off

        with self.watching() as watcher:
            self.failed = work_off(self.folder, runs, watcher=watcher, jobs=self.jobs, device=self.device)

    def search(self, references: Sequence[PlannedRun], trials: int | None) -> dict[str, float]:
        """Work off the search space and the runs beside it; return the importance of each searched path."""
        from pgsbench.execution.search import search

        with self.watching() as watcher:
            found = search(
                self.folder, references, watcher=watcher, trials=trials, jobs=self.jobs, device=self.device
            )
        self.failed = found.failed
        return found.importances

    def results(self, *, candidate: str | None = None, baselines: Sequence[str] | None = None) -> Results:
        """Read the study's runs; see `Results`."""
        from pgsbench.reporting.frames import read_frames
        from pgsbench.reporting.results import Results

        return Results(read_frames(self.folder.path), candidate=candidate, baselines=baselines)

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Prepare the data, then give a watcher that shows progress and feeds MLflow."""
        from pgsbench.execution.local import Watcher
        from pgsbench.experiment import prepare_data

        with Progress() as show:
            prepare_data(self.study, progress=show)

            def on_done(run: PlannedRun, existed: bool) -> None:
                self.num_reused += existed
                self.num_trained += not existed
                show.finish(run.place.name)
                show.say(f"{'reused' if existed else 'done'}: {run.place.name}")

            def on_failed(run: PlannedRun, error: Exception) -> None:
                show.finish(run.place.name)
                show.say(f"failed: {run.place.name}: {error}")

            def on_tick() -> None:
                if time.monotonic() - self._mirrored > MIRROR_EVERY_SECONDS:
                    self.mirror(show, running=True)
                    self._mirrored = time.monotonic()

            yield Watcher(
                on_step=lambda run, done, total: show(run.place.name, done, total),
                on_done=on_done,
                on_failed=on_failed,
                on_note=lambda text: show.say(f"note: {text}"),
                on_tick=on_tick,
            )

    def mirror(self, show: Progress | None = None, *, running: bool = False) -> None:
        """Bring MLflow up to date; what is wrong with it is said once and stops nothing."""
        done = self._mirror.sync_study(self.folder.path, report_folder=self.report_folder, running=running)
        if done.problem and done.problem != self._told_of:
            self._told_of = done.problem
            text = f"warning: MLflow is behind: {done.problem}\n  -> `pgsbench sync` feeds it again later"
            show.say(text) if show else typer.echo(text, err=True)

    def mirror_report(self) -> None:
        """Bring MLflow up to date with what lies in the report's folder, also before any run."""
        from pgsbench.tracking.manifest import MANIFEST

        if not (self.folder.path / MANIFEST).is_file():
            self.folder.add([])  # the mirror feeds from a manifest
        self.mirror()

    def finish(self, results: Results, *, importances: Mapping[str, float] | None = None) -> None:
        """Write the report, mirror it, and print where everything is.

        Raises:
            StudyError: Some runs failed.
        """
        from pgsbench.reporting.page import write_report
        from pgsbench.reporting.run_figures import draw_missing

        draw_missing(results.study)
        paths = write_report(results, self.report_folder, importances=importances)
        self.mirror()
        typer.echo(f"\nruns: {self.num_trained} trained, {self.num_reused} reused")
        typer.echo(f"report: {paths.html}")
        typer.echo(f"        {paths.markdown}")
        typer.echo("MLflow: pgsbench ui")
        if self.failed:
            run, error = self.failed[0]
            raise StudyError(
                f"{len(self.failed)} of {len(self.failed) + self.num_trained + self.num_reused} runs failed; "
                f"the first: {error}",
                where=run.place.name,
                way_out="mend the cause and repeat the command: what is complete is reused",
            )


def show(*tables: Table | None) -> None:
    """Print tables, without those that have nothing to say."""
    from pgsbench.reporting import render

    for table in tables:
        if table is not None:
            typer.echo(render.text(table))


def command_line() -> str:
    """Return the command as it was typed, for the record."""
    return " ".join(["pgsbench", *(f"'{word}'" if " " in word else word for word in sys.argv[1:])])
