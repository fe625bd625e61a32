"""A disk that breaks: ``disk.c``, built, and told what to do."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

#: Fault -> its number in ``disk.c``, and how many calls meet it at most.
FAULTS = {"disk full": (1, 40), "EIO": (2, 6), "torn write": (3, 1)}
_NUMBERS = struct.Struct("4i")


class Disk:
    """What the files below ``work`` in a folder meet, in processes that were started with `environment`."""

    def __init__(self, home: Path) -> None:
        self._library, self._path = home / "disk.so", home / "disk"
        if not self._path.exists():
            source = Path(__file__).with_name("disk.c")
            built = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl"]
            subprocess.run(built, check=True)
            self._path.write_bytes(bytes(_NUMBERS.size))
        with self._path.open("r+b") as file:
            self._numbers = mmap.mmap(file.fileno(), _NUMBERS.size)
        self.environment = {
            "LD_PRELOAD": str(self._library),
            "CHAOS_DISK": str(self._path),
            "CHAOS_ROOT": str(home / "work"),
        }

    @staticmethod
    def can_be_built() -> bool:
        return shutil.which("cc") is not None

    def breaks(self, fault: str, before: int, times: int) -> None:
        """Let `times` calls meet a fault, after so many that go well."""
        self._numbers[:] = _NUMBERS.pack(FAULTS[fault][0], before, times, 0)

    @property
    def is_over(self) -> bool:
        """Whether all calls have met their fault that shall."""
        return int(_NUMBERS.unpack(self._numbers[:])[2]) <= 0

    def mend(self) -> int:
        """Let all go well; return how many calls have met the fault."""
        met = int(_NUMBERS.unpack(self._numbers[:])[3])
        self._numbers[:] = bytes(_NUMBERS.size)
        return met
