"""The runs that a command wants complete, whoever works on them: this process, or others on the same study.

The leases of run directories say who works on what. A run that another process holds is waited for; if that
one is lost, the run is taken over. So any number of commands share a study, and each run is trained once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from pgsbench.disk import leases
from pgsbench.errors import RunHeldError, StudyError
from pgsbench.execution.folder import StudyFolder
from pgsbench.execution.local import Ended
from pgsbench.records.marks import Failure
from pgsbench.records.run_spec import RunSpec
from pgsbench.training.ranks import HEARD


class Pending:
    """Runs that are not complete yet.

    Args:
        folder: The study.
        specs: The runs.
        more: Asked for further runs where all of these are taken.
        on_note: Told, in one line, that a run is waited for.
    """

    def __init__(
        self,
        folder: StudyFolder,
        specs: Iterable[RunSpec] = (),
        *,
        more: Callable[[], Sequence[RunSpec]] = lambda: (),
        on_note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder, self._more, self._on_note = folder, more, on_note
        self._left: dict[str, RunSpec] = {}
        self._ours: set[str] = set()
        self._ended: list[Ended] = []
        self._told: set[str] = set()
        self._rests_until: dict[str, float] = {}
        self.add(specs)

    def __bool__(self) -> bool:
        """Whether any run is left, here or elsewhere."""
        return bool(self._left or self._ended)

    def __contains__(self, spec: RunSpec) -> bool:
        """Tell whether a run is still to be completed."""
        return spec.id in self._left

    def add(self, specs: Iterable[RunSpec]) -> None:
        """Want further runs complete, too; equal ones count once."""
        for spec in specs:
            self._left.setdefault(spec.id, spec)

    def next(self) -> RunSpec | None:
        """Return a run that nobody works on, for this process to work on; None: there is none now."""
        found = self._free()
        while found is None and self._ask_for_more():  # what others have entered may have ended already
            found = self._free()
        return found

    def check(self) -> None:
        """Look whether the study was cancelled.

        Raises:
            StudyError: It was.
        """
        self._folder.marks.check_going_on()

    def _ask_for_more(self) -> bool:
        found = self._more()
        self.add(found)
        return bool(found)

    def _free(self) -> RunSpec | None:
        pruned = self._folder.pruned()
        for spec in list(self._left.values()):
            if spec.id in self._ours or not self._is_free(spec, is_pruned=spec.label in pruned):
                continue
            if time.monotonic() >= self._rests_until.get(spec.id, 0.0):
                self._ours.add(spec.id)
                return spec
        return None

    def _is_free(self, spec: RunSpec, *, is_pruned: bool) -> bool:
        self._folder.look_for(spec)
        run = self._folder.directory(spec)
        if holder := run.holder:  # asked first: what it leaves behind is then whole
            if spec.id not in self._told:
                self._told.add(spec.id)
                self._on_note(f"{spec.name} is worked on elsewhere ({holder})")
            return False
        failure, is_complete = self._folder.marks.failure(spec.id), self._folder.is_complete(spec)
        if failure is None and not is_complete and not is_pruned:
            return True
        is_pruned = is_pruned and not is_complete and failure is None
        error = StudyError(failure.error, way_out=failure.log) if failure else None
        del self._left[spec.id]
        directory = self._folder.runs[spec.name].directory
        self._ended.append(Ended(spec, directory, error, is_ours=False, is_pruned=is_pruned))
        return False

    def ended_elsewhere(self) -> list[Ended]:
        """Return, once, the runs that other processes have ended since."""
        found, self._ended = self._ended, []
        return found

    def close(self, ended: Ended) -> bool:
        """Take note of a run that this process is done with; False: it turned out to be another one's."""
        self._ours.discard(ended.spec.id)
        if isinstance(ended.error, RunHeldError):
            self._folder.look_for(ended.spec)
            if self._folder.directory(ended.spec).holder is None:  # it seems lost to who does not watch it
                self._rests_until[ended.spec.id] = time.monotonic() + leases.BEAT_SECONDS
            return False
        self._left.pop(ended.spec.id, None)
        if ended.error is not None and not ended.was_stopped:
            said = self._folder.marks.failure(ended.spec.id)
            # Its process could not say so itself, or had only heard that another one of the run failed.
            if said is None or HEARD in said.error:
                self._folder.marks.fail(ended.spec.id, Failure(str(ended.error)))
        return True
