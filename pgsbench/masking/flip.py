"""FLIP's masks, which are random ones."""

from __future__ import annotations

from dataclasses import dataclass

from pgsbench.masking.random import Random


@dataclass(frozen=True)
class Flip(Random):
    """FLIP: half of the patches at random, meant to be followed by unmasked tuning.

    "Scaling Language-Image Pre-training via Masking" (arXiv 2212.00794), section 3. The mask itself is
    `Random`; the paper also trains at 0.75. What makes it FLIP are two settings of the training that any
    strategy can have, so they are not hidden in here:

    * ``training.unmasked_tuning``: a last phase without mask at a much smaller learning rate. The paper
      uses about 0.3 of 32 epochs at one hundredth of the base rate.
    * ``training.batch_size``: the paper spends the freed memory on a batch 2x (0.5) or 4x (0.75) larger.
    """
