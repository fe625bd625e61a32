"""Runs that are left to others: directories for a launcher of one's own, jobs that nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgsbench.errors import ConfigError
from pgsbench.execution.driver import Watcher, enter
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.slurm import SlurmEngine
from pgsbench.records.run_spec import RunSpec
from pgsbench.session.study import Study
from pgsbench.tracking.rundir import find_or_make


def lay(study: Study, specs: Sequence[RunSpec]) -> list[Path]:
    """Write the directories of runs, for `pgsbench run`; return those that are not complete.

    Raises:
        ConfigError: The study's arms are tuned first.
    """
    _check_chosen(study)

    def lay(folder: StudyFolder, watcher: Watcher) -> list[Path]:
        missing = enter(folder, specs, watcher)
        return [find_or_make(study.runs_root, spec).path for spec in missing]

    return study.watched(lay)


def detach(study: Study, specs: Sequence[RunSpec]) -> list[RunSpec]:
    """Submit the jobs of runs and wait for nothing; return the runs that are not complete.

    Raises:
        ConfigError: The runs are not trained by jobs, or the study's arms are tuned first.
    """
    _check_chosen(study)
    engine = study.engine
    if not isinstance(engine, SlurmEngine):
        rule, way_out = "only jobs go on without the command", "--on slurm"
        raise ConfigError(rule, where="--detach", way_out=way_out)

    def submit(folder: StudyFolder, watcher: Watcher) -> list[RunSpec]:
        missing = enter(folder, specs, watcher)
        with engine:
            for spec in missing:
                run = folder.look_for(spec)
                if run.holder is None and engine.found(run) is None:
                    engine.submit(spec, run)
        return missing

    return study.watched(submit)


def _check_chosen(study: Study) -> None:
    if study.file.config.tune is not None:
        rule, way_out = "arms are tuned while the command looks on", "let `pgsbench train` stay"
        raise ConfigError(rule, where=f"{study.name}, tune", way_out=way_out)
