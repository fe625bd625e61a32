"""The hash that masks are drawn from: uniform, independent, and a function of a sample's place alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pgsbench.masking.noise import Draws

NUM_STEPS, BATCH, N = 100, 512, 64


@pytest.fixture(scope="module")
def numbers() -> Tensor:
    """(steps, samples, elements) float64, as a training draws them."""
    steps = [Draws.of_batch(BATCH, seed=0, step=step).uniform(N) for step in range(NUM_STEPS)]
    return torch.stack(steps).double()


def chi_square(values: Tensor, kinds: int) -> float:
    """Return how many standard deviations the counts of (m,) kinds lie from equal ones."""
    counts = torch.bincount(values.flatten(), minlength=kinds).double()
    expected = values.numel() / kinds
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return (statistic - (kinds - 1)) / math.sqrt(2 * (kinds - 1))


def test_the_numbers_are_uniform(numbers: Tensor) -> None:
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert abs(chi_square((numbers * 256).long(), 256)) < 4
    bits = (numbers * 2**24).long()
    assert torch.equal(bits / 2**24, numbers), "multiples of 2^-24"
    for low in (0, 8, 16):
        assert abs(chi_square((bits >> low) & 255, 256)) < 4


def correlation(one: Tensor, other: Tensor) -> float:
    """Return the correlation of uniform numbers, in standard deviations of what chance gives."""
    centred = (12 * (one - 0.5) * (other - 0.5)).flatten()
    return float(centred.mean()) * math.sqrt(centred.numel())


def test_neighbours_have_nothing_to_do_with_each_other(numbers: Tensor) -> None:
    for axis in range(3):
        length = numbers.shape[axis]
        for distance in (1, 2, 3, 8, length // 2):
            one = numbers.narrow(axis, 0, length - distance)
            other = numbers.narrow(axis, distance, length - distance)
            assert abs(correlation(one, other)) < 4, (axis, distance)
            pairs = (one * 16).long() * 16 + (other * 16).long()
            assert abs(chi_square(pairs, 256)) < 4, (axis, distance)


def test_seeds_steps_draws_and_kinds_give_numbers_of_their_own() -> None:
    found = []
    for seed in range(3):
        for step in range(3):
            for draws in (Draws.of_batch(64, seed=seed, step=step),):
                found += [draws.uniform(N), draws.uniform(N)]
                assert draws.count == 2
            found.append(Draws(torch.arange(64), seed=seed, step=step, of="texts").uniform(N))
    rows = torch.stack(found).flatten(1).double()
    for i, one in enumerate(rows):
        for other in rows[:i]:
            assert abs(correlation(one, other)) < 4.5


def test_a_number_depends_on_its_place_alone() -> None:
    whole = Draws.of_batch(8, seed=3, step=2)
    samples = torch.tensor([17, 23])  # rows 1 and 7: sample i of step s is number s b + i
    part = Draws(samples, seed=3, step=2)
    assert torch.equal(part.uniform(5), whole.uniform(5)[[1, 7]])
    assert torch.equal(part.uniform(2, 3), whole.uniform(2, 3)[[1, 7]])
    longer, shorter = (Draws(samples, seed=3).uniform(n) for n in (9, 4))
    assert torch.equal(longer[:, :4], shorter)
    assert Draws(samples, seed=3).uniform().shape == (2,)


def test_golden_numbers() -> None:
    # Of this implementation: masks of finished runs follow from them. To change them is another
    # RESULTS_VERSION.
    drawn = (Draws.of_batch(2, seed=1, step=1).uniform(3) * 2**24).long()
    assert drawn.tolist() == [[4084607, 558402, 13740286], [2471223, 14253689, 7731831]]
