"""Colours of objects, and backgrounds: six kinds of photo-like texture from multi-scale noise.

Each kind paints a field (b, h, w) of roughly [0, 1] and mixes a dark and a light colour by it. Colours
and scales vary from picture to picture, so that no kind is one colour.
"""

from __future__ import annotations

import numpy as np

from pgsbench.worlds.scenes.scene import NATURAL, Floats, Ints
from pgsbench.worlds.scenes.words import BACKGROUNDS, COLOURS

#: Dark and light colour of each kind, RGB in [0, 1], before they vary.
_PALETTES = {
    "sand": ((0.66, 0.52, 0.28), (0.95, 0.84, 0.55)),
    "grass": ((0.10, 0.30, 0.06), (0.42, 0.66, 0.22)),
    "water": ((0.04, 0.24, 0.42), (0.40, 0.68, 0.86)),
    "bricks": ((0.66, 0.56, 0.52), (0.62, 0.20, 0.14)),
    "wood": ((0.28, 0.14, 0.05), (0.62, 0.37, 0.16)),
    "stone": ((0.28, 0.29, 0.31), (0.70, 0.70, 0.70)),
}

#: RGB of a grey field in each colour. Paler than any object of that colour.
_TINTS = {
    "red": (1.45, 0.80, 0.75),
    "green": (0.78, 1.20, 0.72),
    "blue": (0.72, 0.95, 1.45),
    "yellow": (1.25, 1.12, 0.55),
}

#: Range of hue (turns), saturation and value of each colour word where colours stand out most.
_HSV = {
    "red": ((-0.025, 0.02), (0.72, 0.95), (0.60, 0.92)),
    "green": ((0.30, 0.41), (0.55, 0.90), (0.42, 0.80)),
    "blue": ((0.57, 0.66), (0.60, 0.92), (0.50, 0.92)),
    "yellow": ((0.125, 0.160), (0.70, 0.95), (0.78, 0.98)),
}
#: Factors on saturation where colours stand out least.
_PALE = (0.45, 0.8)
#: Least value (brightness) there, in units of what it else is.
_DARK = 0.55


def rgb(rng: np.random.Generator, colour: Ints, vividness: float) -> Floats:
    """Return (b, 3) RGB of colour words, paler and of more different brightness where less vivid."""
    ranges = np.asarray([_HSV[name] for name in COLOURS], np.float32)[colour]
    low, high = ranges[..., 0], ranges[..., 1]
    hue, saturation, value = (low + (high - low) * rng.random(low.shape, dtype=np.float32)).T
    pale, dark = rng.uniform(*_PALE, len(colour)), rng.uniform(_DARK, 1, len(colour))
    saturation = saturation * (vividness + (1 - vividness) * pale)
    value = value * (vividness + (1 - vividness) * dark)
    # The usual HSV formula, channel by channel.
    place = np.mod(np.asarray([5, 3, 1], np.float32)[None] + 6 * hue[:, None], 6)
    dip = np.clip(np.minimum(place, 4 - place), 0, 1)
    return (value[:, None] * (1 - saturation[:, None] * dip)).astype(np.float32)


def noise(rng: np.random.Generator, b: int, rows: int, cols: int, side: int) -> Floats:
    """Return (b, side, side) smooth noise in [0, 1] with about `rows` x `cols` bumps."""
    grid = rng.random((b, rows + 2, cols + 2), dtype=np.float32)
    shift = rng.random(2, dtype=np.float32)
    top, blend = _steps(rows, side, shift[0])
    grid = grid[:, top] * (1 - blend)[:, None] + grid[:, top + 1] * blend[:, None]
    left, blend = _steps(cols, side, shift[1])
    return grid[:, :, left] * (1 - blend) + grid[:, :, left + 1] * blend


def _steps(cells: int, side: int, shift: np.float32) -> tuple[Ints, Floats]:
    place = np.arange(side, dtype=np.float32) * np.float32(cells / side) + shift
    whole = np.minimum(place.astype(np.int64), cells)
    part = place - whole.astype(np.float32)
    return whole, part * part * (3 - 2 * part)


def fractal(rng: np.random.Generator, b: int, side: int) -> Floats:
    """Return (b, side, side) noise with a photo's spectrum, mean 0 and standard deviation 1.

    Amplitudes fall as a power of the frequency, by about 1 as in photos, another one in each picture.
    """
    slope = pick(rng, 0.8, 1.5, b)
    spectrum = np.fft.rfft2(rng.standard_normal((b, side, side), dtype=np.float32))
    rows, cols = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    frequency = np.hypot(rows[:, None], cols[None]).astype(np.float32)
    frequency[0, 0] = np.inf  # no mean
    field = np.fft.irfft2(spectrum * frequency**-slope, s=(side, side)).astype(np.float32)
    return field / field.std((1, 2), keepdims=True)


def paint(rng: np.random.Generator, kind: Ints, tint: Ints, side: int, vividness: float) -> Floats:
    """Return (b, 3, side, side) pictures in [0, 1] of the given kinds and tints of background.

    Args:
        rng: What is drawn from.
        kind: (b,) index into `BACKGROUNDS`.
        tint: (b,) index into `COLOURS`, or `NATURAL`.
        side: Height and width in pixels.
        vividness: How strong tints are: 0 pale, 1 as strong as the colours of objects.
    """
    pictures = np.empty((len(kind), 3, side, side), np.float32)
    for index, name in enumerate(BACKGROUNDS):
        rows = np.flatnonzero(kind == index)
        if len(rows):
            pictures[rows] = _mix(rng, name, tint[rows], _FIELDS[name](rng, len(rows), side), vividness)
    return pictures


def _mix(rng: np.random.Generator, name: str, tint: Ints, field: Floats, vividness: float) -> Floats:
    b = len(field)
    dark, light = (
        np.asarray(colour, np.float32) + rng.normal(0, 0.055, (b, 3)).astype(np.float32)
        for colour in _PALETTES[name]
    )
    brightness = rng.uniform(0.55, 1.25, (b, 1)).astype(np.float32)
    dark, light = (_tinted(colour * brightness, tint, vividness) for colour in (dark, light))
    return dark[:, :, None, None] + (light - dark)[:, :, None, None] * field[:, None]


def _tinted(colour: Floats, tint: Ints, vividness: float) -> Floats:
    """Return (b, 3) colours, those with a tint replaced by their grey in that tint."""
    tints = np.asarray([_TINTS[name] for name in COLOURS], np.float32)[tint]
    tints = 1 + (tints - 1) * np.float32(0.8 + 0.5 * vividness)
    return np.where((tint == NATURAL)[:, None], colour, colour.mean(1, keepdims=True) * tints)


def pick(rng: np.random.Generator, low: float, high: float, b: int) -> Floats:
    """Return (b, 1, 1) numbers between two others."""
    return rng.uniform(low, high, (b, 1, 1)).astype(np.float32)


def _axes(side: int) -> tuple[Floats, Floats]:
    y, x = np.mgrid[:side, :side].astype(np.float32) / np.float32(side)
    return x, y


def _sand(rng: np.random.Generator, b: int, side: int) -> Floats:
    x, y = _axes(side)
    bend = noise(rng, b, 3, 3, side)
    tilt = pick(rng, -0.6, 0.6, b)
    dunes = 0.5 + 0.5 * np.sin(2 * np.pi * (pick(rng, 3, 6, b) * (y + tilt * x) + 1.2 * bend))
    return 0.30 * dunes + 0.25 * noise(rng, b, 6, 6, side) + 0.45 * noise(rng, b, 40, 40, side)


def _grass(rng: np.random.Generator, b: int, side: int) -> Floats:
    blades = noise(rng, b, 9, 40, side)
    tufts = noise(rng, b, 5, 12, side)
    return 0.55 * blades + 0.30 * tufts + 0.15 * noise(rng, b, 20, 50, side)


def _water(rng: np.random.Generator, b: int, side: int) -> Floats:
    _, y = _axes(side)
    bend = noise(rng, b, 4, 4, side)
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (pick(rng, 5, 9, b) * y + 1.6 * bend))
    glints = noise(rng, b, 32, 7, side)
    return 0.40 * waves * noise(rng, b, 8, 3, side) * 1.6 + 0.45 * glints + 0.1 * y


def _bricks(rng: np.random.Generator, b: int, side: int) -> Floats:
    x, y = _axes(side)
    rows = y * pick(rng, 5.5, 8.5, b) + pick(rng, 0, 1, b)
    row = np.floor(rows)
    cols = x * pick(rng, 3.0, 4.5, b) + 0.5 * np.mod(row, 2) + pick(rng, 0, 1, b)
    to_joint_y = 0.5 - np.abs(rows - row - 0.5)
    to_joint_x = (0.5 - np.abs(cols - np.floor(cols) - 0.5)) * 1.9
    brick = np.clip((np.minimum(to_joint_x, to_joint_y) - 0.06) * 9, 0, 1)
    shade = np.mod(np.sin(row * 12.9898 + np.floor(cols) * 78.233 + pick(rng, 0, 6, b)) * 43.5, 1)
    worn = 0.30 * noise(rng, b, 24, 24, side) + 0.25 * noise(rng, b, 4, 4, side) + 0.35 * shade
    return brick * (0.55 + worn) + (1 - brick) * 0.25 * noise(rng, b, 30, 30, side)


def _wood(rng: np.random.Generator, b: int, side: int) -> Floats:
    x, y = _axes(side)
    bend = noise(rng, b, 3, 2, side)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (pick(rng, 4, 8, b) * x + 2.2 * bend + 0.3 * y))
    fibres = noise(rng, b, 4, 48, side)
    planks = x * pick(rng, 2.0, 3.5, b) + pick(rng, 0, 1, b)
    joint = np.clip((0.5 - np.abs(planks - np.floor(planks) - 0.5)) * 22, 0.25, 1)
    return (0.35 * rings + 0.40 * fibres + 0.25 * noise(rng, b, 3, 6, side)) * joint


def _stone(rng: np.random.Generator, b: int, side: int) -> Floats:
    rough = 0.4 * noise(rng, b, 5, 5, side) + 0.3 * noise(rng, b, 12, 12, side)
    veins = np.abs(noise(rng, b, 4, 4, side) + 0.5 * noise(rng, b, 10, 10, side) - 0.75)
    return rough + 0.3 * noise(rng, b, 28, 28, side) - 0.35 * np.clip(1 - 14 * veins, 0, 1) + 0.05


_FIELDS = dict(zip(BACKGROUNDS, (_sand, _grass, _water, _bricks, _wood, _stone), strict=True))
