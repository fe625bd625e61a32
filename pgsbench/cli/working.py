"""What `sweep`, `compare` and `train` have in common: prepare, work off, report, mirror, say where it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pgsbench.cli.progress import Progress
from pgsbench.errors import StudyError

if TYPE_CHECKING:
    from pgsbench.config.load import Study
    from pgsbench.reporting.results import Results
    from pgsbench.sweeps.plan import PlannedRun
    from pgsbench.sweeps.study import StudyFolder, Watcher

MIRROR_EVERY_SECONDS = 20.0


class Work:
    """One command at work on a study.

    Args:
        study: The study.
        output: Folder of ``runs/`` and ``reports/``.
    """

    def __init__(self, study: Study, output: Path) -> None:
        from pgsbench.sweeps.study import StudyFolder
        from pgsbench.tracking.mlflow import Mirror

        self.study = study
        self.runs_root = (output / "runs").resolve()
        self.report_folder = output / "reports" / study.config.name
        self.folder: StudyFolder = StudyFolder.open(study, self.runs_root, command_line())
        self._mirror = Mirror()
        self._mirrored = time.monotonic()
        self._told_of = ""
        self.num_trained = self.num_reused = 0

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Prepare the data, then give a watcher that shows progress and feeds MLflow."""
        from pgsbench.experiment import prepare_data
        from pgsbench.sweeps.study import Watcher

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
        from pgsbench.tracking.rundir import MANIFEST

        if not (self.folder.path / MANIFEST).is_file():
            self.folder.add([])  # the mirror feeds from a manifest
        self.mirror()

    def finish(
        self,
        failed: Sequence[tuple[PlannedRun, Exception]],
        results: Results,
        *,
        importances: Mapping[str, float] | None = None,
    ) -> None:
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
        if failed:
            run, error = failed[0]
            raise StudyError(
                f"{len(failed)} of {len(failed) + self.num_trained + self.num_reused} runs failed; "
                f"the first: {error}",
                where=run.place.name,
                way_out="mend the cause and repeat the command: what is complete is reused",
            )


def command_line() -> str:
    """Return the command as it was typed, for the record."""
    return " ".join(["pgsbench", *(f"'{word}'" if " " in word else word for word in sys.argv[1:])])
