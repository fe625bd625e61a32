"""How sure a score is: 95 % intervals for one metric and for the mean over the tasks of a group.

The unit of chance is the unit of drawing (`Measurement.units`, usually an image): whatever was drawn
together is resampled together, within a task and across tasks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pgsbench.evaluation.protocols.base import Measurement

Z = 1.959964  #: 97.5 % point of the normal distribution.
DRAWS = 2000  #: Bootstrap draws; the ends of an interval are then steady to a few per cent of its width.
SEED = 20_240_601


def interval(measurement: Measurement) -> tuple[float, float]:
    """Return the 95 % interval of a metric.

    Plain means of outcomes get Wilson's score interval, at the effective number of items where several
    items share a unit; means over classes a percentile bootstrap over units (fixed seed), and Wilson's where
    all outcomes are alike.
    """
    is_uniform = np.min(measurement.correct) == np.max(measurement.correct)
    if measurement.strata is None or is_uniform:  # no draw of all right, or all wrong, can differ from it
        return wilson(measurement.value, effective_size(measurement))
    return _around(measurement.value, _resampled([measurement])[0])


def group_interval(measurements: Sequence[Measurement]) -> tuple[float, float]:
    """Return the 95 % interval of the plain mean over several metrics, one for each task of a group.

    Percentile bootstrap over units, fixed seed. Units of the same name in different tasks are drawn
    together, as when four tasks ask different questions about the same pictures.
    """
    if len(measurements) == 1:
        return interval(measurements[0])
    value = float(np.mean([m.value for m in measurements]))
    if all(np.min(m.correct) == np.max(m.correct) for m in measurements):
        # No draw can differ from what was seen, which says nothing about what was not.
        return wilson(value, len({name for m in measurements for name in _unit_names(m)}))
    return _around(value, _resampled(measurements).mean(axis=0))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval (1927) of a share seen among n independent items."""
    centre = share + Z**2 / (2 * n)
    half = Z * math.sqrt(max(0.0, share * (1 - share)) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def effective_size(measurement: Measurement) -> float:
    """Return how many independent items carry as much as these do (Kish's design effect).

    It lies between the number of units and the number of items.
    """
    n = len(measurement.correct)
    if measurement.units is None:
        return n
    index = np.unique(np.asarray(measurement.units), return_inverse=True)[1]
    num_units = int(np.max(index)) + 1
    residual = np.bincount(index, weights=measurement.correct - measurement.correct.mean())
    variance = float(np.square(residual).sum()) * num_units / max(1, num_units - 1) / n**2
    plain = float(measurement.correct.var())
    if num_units == n:
        return n
    if plain == 0.0 or variance == 0.0:
        return num_units
    return float(np.clip(plain / variance, min(num_units, n), n))


def _resampled(measurements: Sequence[Measurement]) -> NDArray[np.float64]:
    """Return (metrics, draws): each metric's value in each bootstrap draw of units."""
    names = [_unit_names(m) for m in measurements]
    distinct = np.unique(np.concatenate([np.asarray(n) for n in names]))
    tables = [
        _tables(m, np.searchsorted(distinct, n), len(distinct))
        for m, n in zip(measurements, names, strict=True)
    ]
    generator = np.random.default_rng(SEED)
    drawn = np.empty((len(measurements), DRAWS))
    at_a_time = max(1, (1 << 22) // len(distinct))
    for start in range(0, DRAWS, at_a_time):
        size = min(at_a_time, DRAWS - start)
        picks = generator.integers(len(distinct), size=(size, len(distinct)))
        weights = np.stack([np.bincount(pick, minlength=len(distinct)) for pick in picks], axis=1)
        for row, (right, total) in zip(drawn, tables, strict=True):
            counts = total @ weights  # a class that a draw lacks is left out of its mean
            with np.errstate(invalid="ignore"):
                row[start : start + size] = np.nanmean((right @ weights) / counts, axis=0)
    return drawn


def _unit_names(m: Measurement) -> Sequence[str]:
    return m.items if m.units is None else m.units


def _tables(
    m: Measurement, unit: NDArray[np.int64], num_units: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Return two (strata, units) tables: outcomes and items, summed."""
    strata = (
        np.zeros(len(unit), np.int64) if m.strata is None else np.unique(m.strata, return_inverse=True)[1]
    )
    shape = (int(np.max(strata)) + 1, num_units)
    right = sparse.csr_array((m.correct, (strata, unit)), shape=shape)
    total = sparse.csr_array((np.ones(len(unit)), (strata, unit)), shape=shape)
    return right, total


def _around(value: float, draws: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)
