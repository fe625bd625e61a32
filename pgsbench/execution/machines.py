"""Devices that are elsewhere: what they could compute by their data sheets, to guess how long a run takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgsbench.errors import ConfigError, nearest

#: Share of a device's peak that a training is taken to reach. An assumption: nothing was measured on a GPU.
#: Small models reach far less.
ASSUMED_SHARE = 0.3


#: More are not planned for: they are a slip of the hand.
MOST_DEVICES = 100_000


@dataclass(frozen=True)
class Device:
    """A device by its data sheet.

    Attributes:
        half: Peak of dense matrix products in bf16, in 10^12 operations a second.
        single: The same in fp32, without TF32.
        memory_gb: Its memory in 10^9 bytes.
    """

    half: float
    single: float
    memory_gb: float


#: NVIDIA's data sheets; of those with several forms the one for servers (SXM).
DEVICES = {
    "A100": Device(312, 19.5, 80),
    "H100": Device(989, 67, 80),
    "H200": Device(989, 67, 141),
    "L4": Device(121, 30.3, 24),
    "L40S": Device(362, 91.6, 48),
    "RTX4090": Device(165, 82.6, 24),
}


@dataclass(frozen=True)
class Machine:
    """Equal devices.

    Attributes:
        name: Of the device, as in `DEVICES`.
        count: How many there are.
    """

    name: str
    count: int

    @property
    def device(self) -> Device:
        """One of them."""
        return DEVICES[self.name]

    def seconds(self, flops: float, *, precision: str, num_devices: int) -> float:
        """Return how long operations take on some of the devices, at the assumed share of their peak."""
        peak = self.device.single if precision == "fp32" else self.device.half
        return flops / (num_devices * ASSUMED_SHARE * peak * 1e12)


def machine_named(text: str) -> Machine | None:
    """Return the machine that ``H100`` or ``H100x8`` names; None where it names none of the table.

    Raises:
        ConfigError: It is written like one, but no such device is known.
    """
    found = re.fullmatch(r"([A-Z][A-Za-z0-9]*?)(?:x(\d+))?", text)
    if found is None:
        return None
    name, count = found[1], int((found[2] or "1")[:9])  # Python reads no number of thousands of digits
    if name not in DEVICES or not 0 < count <= MOST_DEVICES:
        way_out = f"{nearest(name, DEVICES)}; xN behind it: N of them, at most {MOST_DEVICES:,}"
        raise ConfigError("the table has no such devices", where="--device", value=text, way_out=way_out)
    return Machine(name, count)
