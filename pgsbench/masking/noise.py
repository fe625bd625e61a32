"""Random numbers that belong to samples: a hash of where they are drawn, not the state of a generator.

The number at an element of a sample is a function of (seed, step, sample, draw, element) and of nothing else.
So a mask is the same in half of a batch, on another process or device, and when a pass is run again.

The hash is arithmetic on integers that wrap around, which every processor does alike. Each sample gets a key
of two 32-bit words, each element one word; a row of numbers is ``w ^= k0; w *= k1; w ^= w >> 16; w *= B``,
of which the upper 24 bits are the number. `tests/masking/test_noise.py` has the statistics.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor


def _signed(number: int, bits: int) -> int:
    return (number + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


# Odd multipliers of known mixers: splitmix64's, and one of "lowbias32" (github.com/skeeto/hash-prospector).
_GOLDEN, _MIX = _signed(0x9E3779B97F4A7C15, 64), _signed(0xBF58476D1CE4E5B9, 64)
_B = _signed(0x846CA68B, 32)
#: Makes the upper word of a key odd, so that a multiplication by it loses nothing.
_ODD = 1 << 32


class Draws:
    """What a strategy draws from: each call of `uniform` gives every sample new numbers of its own.

    Args:
        samples: (b,) int64 number of each sample; training counts pairs from its beginning.
        seed: Seed of the run.
        step: Optimizer step.
        of: What is masked: the draws for pictures and for captions have nothing to do with each other.

    Attributes:
        count: How often numbers were drawn.
    """

    def __init__(
        self, samples: Tensor, *, seed: int, step: int = 0, of: Literal["images", "texts"] = "images"
    ) -> None:
        self._samples, self._place, self.count = samples, f"{of}/{seed}/{step}", 0

    @classmethod
    def of_batch(
        cls,
        batch_size: int,
        *,
        seed: int,
        step: int = 0,
        device: torch.device | str = "cpu",
        of: Literal["images", "texts"] = "images",
    ) -> Draws:
        """Return the draws for a whole batch of a training: sample i of step s is number ``s b + i``."""
        first = step * batch_size
        samples = torch.arange(first, first + batch_size, device=device)
        return cls(samples, seed=seed, step=step, of=of)

    def uniform(self, *shape: int) -> Tensor:
        """Return (b, *shape) float32 numbers in [0, 1), multiples of 2^-24, on the device of the samples.

        Row i depends on sample i alone, whatever the others are and however many.
        """
        words = _words(math.prod(shape), self._samples.device)
        return _hashed(self._samples, self._start(), words).view(-1, *shape)

    def _start(self) -> int:
        digest = hashlib.blake2b(f"{self._place}/{self.count}".encode(), digest_size=8).digest()
        self.count += 1
        return int.from_bytes(digest, "little", signed=True)


def _hashed(samples: Tensor, start: int, words: Tensor) -> Tensor:
    # (b,) int64 and (n,) int32 to (b, n) float32, in place wherever that saves memory.
    key = samples * _GOLDEN
    key += start
    key ^= key >> 32
    key *= _MIX
    key |= _ODD
    pair = key.view(torch.int32).view(-1, 2)
    number = pair[:, :1] ^ words
    number *= pair[:, 1:]
    number ^= number >> 16
    number *= _B
    number >>= 8
    return number.to(torch.float32).mul_(2.0**-24).add_(0.5)


@lru_cache  # a device waits for the host once for each length
def _words(length: int, device: torch.device) -> Tensor:
    # (n,) int32: a different word for each element, murmur3's last steps on its number.
    word = np.arange(1, length + 1, dtype=np.uint32)
    word ^= word >> np.uint32(16)
    word *= np.uint32(0x85EBCA6B)
    word ^= word >> np.uint32(13)
    word *= np.uint32(0xC2B2AE35)
    word ^= word >> np.uint32(16)
    return torch.from_numpy(word.view(np.int32)).to(device)
