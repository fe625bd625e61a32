"""What an engine is: it hands the callable of a run to an executor of the standard library's kind.

What came of a run is read from its directory; a future only says that nobody works on it any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future

from pgsbench.execution.slots import Slots
from pgsbench.records.run_spec import RunSpec
from pgsbench.tracking.rundir import RunDir


class Engine(ABC):
    """Takes runs; use it in a `with` block, which an exception leaves after all have saved.

    Attributes:
        slots: Of which kind its places are: their devices and threads.
    """

    slots: Slots

    @property
    @abstractmethod
    def places(self) -> int:
        """How many runs it takes at a time."""

    @abstractmethod
    def submit(self, spec: RunSpec, run: RunDir) -> Future[None]:
        """Let a run be worked on; `run` is its directory, which need not exist yet."""

    def found(self, run: RunDir) -> Future[None] | None:
        """Return the future of a run that an earlier command has given away and that has not ended."""
        del run
        return None

    @abstractmethod
    def __enter__(self) -> Engine: ...

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...
