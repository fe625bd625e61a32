"""How much a training's seed moves a score, as one study tells another of its recipe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SeedSpread:
    """What other studies say of how much seeds matter.

    Attributes:
        variance: Variance that a seed gives to the score of one arm alone: beyond what it does to all arms,
            and beyond what test items explain, so it holds for any number of them. A difference of two arms
            has twice as much. Simulations have one for each repetition.
        df: Degrees of freedom of the mean square that it comes from.
        source: Where it comes from, in words.
        noise: What test items added to that mean square. Where they add less to the borrower's, the degrees
            of freedom count less, by Satterthwaite.
    """

    variance: float | NDArray[np.float64]
    df: float
    source: str = ""
    noise: float = 0.0
