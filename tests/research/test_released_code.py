"""The measured differences of the published code: figures that are known on pictures made for it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pgsbench.masking import pgs_released
from pgsbench.masking.base import PatchView, view_of
from pgsbench.masking.testing import draws_for
from research import edge_retention as retention
from research import released_code


def pictures(flat: int = 32) -> PatchView:
    """Return six pictures: `flat` columns with a little noise, stripes from there on."""
    random = torch.Generator().manual_seed(0)
    images = 0.01 * torch.randn(6, 3, 64, 64, generator=random)
    images[:, :, :, flat:] += torch.sin(torch.arange(64.0 - flat)) * 2
    return view_of(images, (8, 8))


def values(view: PatchView) -> dict[str, str]:
    return {f"{found.part}: {found.what}": found.value for found in released_code.measure(view)}


def test_candidates_of_pgs_avoid_edges_and_those_of_a_true_map_seek_them() -> None:
    found = values(pictures())
    ours = found["candidates: mean percentile of their edges, pgs"]
    repaired = found["candidates: mean percentile of their edges, pgs-released if its edge map were true"]
    assert int(ours.split()[0]) < 30
    assert int(repaired.split()[0]) > 90


def test_it_has_as_many_candidates_as_the_published_code(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    topk = torch.Tensor.topk

    def watched(values: torch.Tensor, k: int, *args: object, **kwargs: object) -> object:
        counts.append(k)
        return topk(values, k, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.Tensor, "topk", watched)
    released_code._candidates(pictures(), 0)
    assert counts[:2] == [4, 4]  # of 64: 3.2, rounded up
    assert [pgs_released.PgsReleased().num_candidates(n) for n in (49, 64, 196)] == [3, 4, 10]


def test_the_published_normalisation_does_not_normalise_and_ours_does() -> None:
    found = values(pictures())
    assert found["OTN: rows that sum to 1 after 50 rounds, pgs-released"] == "0 %"
    assert float(found["OTN: largest error of a row sum after 10 rounds, pgs"]) < 0.01


def test_round_off_decides_only_where_edges_and_otn_are_on() -> None:
    assert values(pictures())["OTN: the same with ED and OTN off"] == "0 %"


def test_retention_tells_masks_apart() -> None:
    kept = retention.retention(pictures(), retention.compared(0.5))
    assert kept["pgs"][0] > kept["random"][0] + 0.1
    assert all(0 < iou <= 1 for _, iou in kept.values())
    more = retention.retention(pictures(), retention.compared(0.3))
    assert more["random"][0] > kept["random"][0] + 0.1


def test_of_the_two_slips_the_map_alone_is_no_repair() -> None:
    kept = retention.retention(pictures(), retention.compared(0.5))
    assert kept["pgs-released, true edge map"][0] < kept["random"][0]
    assert kept["pgs-released, both"][0] > kept["random"][0]


def test_with_nothing_repaired_it_is_the_published_code() -> None:
    view = pictures()
    for mine, theirs in zip(
        retention.Repaired().masked(view, draws=draws_for(view, 1)),
        pgs_released.PgsReleased().masked(view, draws=draws_for(view, 1)),
        strict=True,
    ):
        assert mine is not None
        assert theirs is not None
        assert torch.equal(mine, theirs)


def test_its_normalisation_rests_after_as_many_rounds_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = int(values(pictures())["OTN: rounds until its row sums rest, were all similarities positive"])
    assert rounds > 1000  # it takes 50
    unit = F.normalize(pgs_released.z_scored_patches(pictures())[:1], dim=2)
    kernel = (unit @ unit.transpose(1, 2)).double().exp()
    sums = []
    for number in (rounds - 2, rounds - 1, rounds):
        monkeypatch.setattr(pgs_released, "OTN_ROUNDS", number)
        sums.append(pgs_released.oscillating_normalisation(kernel).sum(dim=2))
    assert (sums[1] - sums[0]).abs().max() >= released_code.CONVERGED
    assert (sums[2] - sums[1]).abs().max() < released_code.CONVERGED


def test_the_attention_bias_reaches_other_pictures_and_hides_nothing() -> None:
    found = values(pictures(flat=16))  # stripes are alike, so most are masked, more than are left out
    assert int(found["attention bias: kept patches that are masked"].split()[0]) > 10
    assert found["attention bias: weight of a masked patch beside an unmasked one"] == "37 %"  # e^-1
    strangers = found["attention bias: pictures x 12 heads that get the bias of another picture"]
    assert int(strangers.split()[0]) > 50


def test_the_attention_bias_adds_one_between_unmasked_patches_head_by_head() -> None:
    masked = torch.tensor([[False, True, False, True], [True, False, True, True]])
    keep = torch.tensor([[0, 1, 2], [0, 1, 3]])
    bias = released_code.attention_bias(masked, keep, num_heads=2)
    assert bias.shape == (4, 4, 4)
    first = torch.tensor([[1.0, 1, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]])  # class token first
    assert torch.equal(bias[0], first)
    assert torch.equal(bias[2], first)  # heads outside, pictures inside: slot 2 is head 1 of picture 0
    assert bias[1].sum() == 4  # the class token and one unmasked patch
