"""Slow twins of the fast masks: one patch at a time, in double precision, as the formulas read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def edge_strength(image: Array, patch: tuple[int, int]) -> list[float]:
    """Mean Sobel magnitude of each patch of one (3, h, w) picture."""
    light = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
    h, w = light.shape

    def at(y: int, x: int) -> float:
        return float(light[min(max(y, 0), h - 1), min(max(x, 0), w - 1)])

    sobel = [(-1, 1), (0, 2), (1, 1)]
    strengths = []
    for top in range(0, h, patch[0]):
        for left in range(0, w, patch[1]):
            total = 0.0
            for y in range(top, top + patch[0]):
                for x in range(left, left + patch[1]):
                    gx = sum(weight * (at(y + d, x + 1) - at(y + d, x - 1)) for d, weight in sobel)
                    gy = sum(weight * (at(y + 1, x + d) - at(y - 1, x + d)) for d, weight in sobel)
                    total += math.hypot(gx, gy)
            strengths.append(total / (patch[0] * patch[1]))
    return strengths


def num_hidden(scores: list[float], *, num_kept: int, num_least: int, threshold: float) -> int:
    """How many of one picture's kept patches the dynamic ratio hides; infinite scores do not count."""
    known = [score for score in scores if math.isfinite(score)]
    limit = np.mean(known) + threshold * np.std(known)
    visible = sum(score <= limit for score in scores)
    return num_kept - min(max(visible, num_least), num_kept)


def ranks(values: list[float]) -> list[float]:
    """Share of the other values that are smaller."""
    return [sum(other < value for other in values) / (len(values) - 1) for value in values]


def cut(image: Array, patch: tuple[int, int]) -> list[Array]:
    """Patches (c, height, width) of one picture, row by row."""
    _, h, w = image.shape
    return [
        image[:, top : top + patch[0], left : left + patch[1]]
        for top in range(0, h, patch[0])
        for left in range(0, w, patch[1])
    ]


def averaged(patch: Array, side: int) -> Array:
    """A patch with its sides averaged down to nearly `side`."""

    def factor(length: int) -> int:
        shorter = [left for left in range(1, length + 1) if length % left == 0]
        return length // min(shorter, key=lambda left: abs(math.log(left / side)))

    _, h, w = patch.shape
    down, across = factor(h), factor(w)
    return np.stack(
        [
            [[c[y : y + down, x : x + across].mean() for x in range(0, w, across)] for y in range(0, h, down)]
            for c in patch
        ]
    )


def correlation(x: Array, y: Array) -> float:
    x, y = x.ravel() - x.mean(), y.ravel() - y.mean()
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


def cosine(x: Array, y: Array) -> float:
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


def block_attention(attention: list[float], grid: tuple[int, int], side: int) -> list[float]:
    """Each patch's mean attention over the patches of its block, for one picture."""
    blocks: dict[tuple[int, int], list[float]] = {}
    places = [(row // side, col // side) for row in range(grid[0]) for col in range(grid[1])]
    for place, value in zip(places, attention, strict=True):
        blocks.setdefault(place, []).append(value)
    return [sum(blocks[place]) / len(blocks[place]) for place in places]


def doubly_stochastic(kernel: Array, rounds: int) -> Array:
    """P = diag(u) K diag(u) after the symmetric updates."""
    u = 1.0 / np.sqrt(kernel.sum(axis=1))
    for _ in range(rounds):
        u = np.sqrt(u / (kernel @ u))
    return u[:, None] * kernel * u[None, :]


def similarity(
    image: Array, tokens: Array, patch: tuple[int, int], *, side: int, colour: float, token_share: float
) -> Array:
    """S of one picture, pair by pair; no patch may be flat."""
    patches = [averaged(p, side) for p in cut(image, patch)]
    colours = np.array([p.mean(axis=(1, 2)) for p in patches])
    n = len(patches)
    mean_distance = np.mean([((colours[i] - colours[j]) ** 2).sum() for i in range(n) for j in range(n)])
    result = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            pattern = correlation(patches[i], patches[j])
            alike = math.exp(-((colours[i] - colours[j]) ** 2).sum() / mean_distance)
            pixels = (1 - colour) * pattern + colour * alike
            result[i, j] = (1 - token_share) * pixels + token_share * cosine(tokens[i], tokens[j])
    return result


def spread_over_neighbours(strength: list[float], cols: int, radius: int) -> list[float]:
    """Mean strength of the patches within `radius` rows and columns that lie in the picture."""
    places = [(j // cols, j % cols) for j in range(len(strength))]
    near = [
        [k for k, (y, x) in enumerate(places) if abs(y - row) <= radius and abs(x - col) <= radius]
        for row, col in places
    ]
    return [sum(strength[k] for k in found) / len(found) for found in near]


def near(one: int, other: int, cols: int, radius: int | None) -> bool:
    """Whether two patches lie within `radius` rows and columns of one another."""
    rows_apart, cols_apart = abs(one // cols - other // cols), abs(one % cols - other % cols)
    return radius is None or max(rows_apart, cols_apart) <= radius


def pgs_score(
    image: Array,
    tokens: Array,
    noise: Array,
    patch: tuple[int, int],
    *,
    side: int = 8,
    colour: float = 0.0,
    token_share: float = 0.0,
    otn: bool = True,
    tau: float = 0.2,
    rounds: int = 10,
    share: float = 0.05,
    edge_weight: float = 1.0,
    edge_penalty: float = 0.0,
    spread: int = 0,
    neighbourhood: int | None = None,
) -> tuple[list[int], list[float]]:
    """Candidates and mask scores of one picture, the scores up to a constant."""
    cols = image.shape[2] // patch[1]
    edge = ranks(spread_over_neighbours(edge_strength(image, patch), cols, spread))
    n = len(edge)
    protected = [noise[j] + edge_weight * edge[j] for j in range(n)]
    candidates = sorted(range(n), key=lambda j: protected[j])[: max(1, round(share * n))]
    s = similarity(image, tokens, patch, side=side, colour=colour, token_share=token_share)
    kernel = np.array(
        [[math.exp(s[i, j] / tau) * near(i, j, cols, neighbourhood) for j in range(n)] for i in range(n)]
    )
    mass = doubly_stochastic(kernel, rounds) if otn else kernel
    most = [max(mass[i, j] for i in candidates) for j in range(n)]
    scores = [(math.log(most[j]) if most[j] else -math.inf) - edge_penalty * edge[j] for j in range(n)]
    return candidates, [math.inf if j in candidates else scores[j] for j in range(n)]
