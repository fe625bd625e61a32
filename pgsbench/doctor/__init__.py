"""What will go wrong on this machine, looked at in seconds, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgsbench.doctor import machine, stores
from pgsbench.doctor.machine import OK, PROBLEM, WARNING, Check
from pgsbench.reporting.render import Header, Table, counted


def checks(output: Path = Path()) -> Iterator[Check]:
    """Yield all checks.

    Args:
        output: The folder of ``runs/`` and ``reports/``.
    """
    yield from machine.versions()
    yield from machine.processor()
    yield from machine.devices()
    yield from machine.reading()
    yield from machine.folders(output)
    yield from stores.stores()
    yield from stores.cluster()
    yield from stores.network()
    yield from stores.plugins()


def gpu_checks(output: Path = Path()) -> list[Check]:
    """Return what the first GPU shows in a few steps, and write it to a file below `output`.

    Raises:
        ConfigError: There is no GPU.
    """
    from pgsbench.devices import devices_named
    from pgsbench.doctor import gpu

    device = devices_named("cuda")[0]
    found = [*machine.versions(), *machine.devices(), *gpu.checks(device)]
    place = gpu.write(output, found)
    return [*found, Check("file", str(place))]


def checks_table(found: Sequence[Check]) -> Table:
    """Return checks for people, problems first."""
    order = [PROBLEM, WARNING, OK]
    rows = [[one.what, one.state, one.found, one.remedy] for one in found]
    rows.sort(key=lambda row: order.index(row[1]))
    problems, warnings, fine = (sum(one.state == state for one in found) for state in order)
    counts = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}, {fine} ok"
    header: Header = ["what", "state", "found", "remedy"]
    return Table("This machine", header, rows, [f"{counts}."])
