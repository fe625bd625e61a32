"""Memory that evaluation frees stays with the process."""

import resource

import pytest
import torch

from pgsbench.evaluation.embed import keep_freed_memory


def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    if not keep_freed_memory():
        pytest.skip("this C library is not glibc")
    torch.ones(16 * 2**20)  # 64 MiB, above the 32 MiB from which glibc maps each block anew
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < 1_000, "64 MiB are 16,384 pages of 4 KiB"
