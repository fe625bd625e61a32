"""A text tower on cut batches gives what it gives on whole ones."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgsbench.models.short_texts import ShortTexts

VISION = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
TEXT = {"context_length": 20, "vocab_size": 50, "width": 32, "heads": 2, "layers": 2}
END = 49


def built(kind: Any = open_clip.CLIP, **text: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = kind(16, vision_cfg=VISION, text_cfg={**TEXT, **text}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return model


def texts(*lengths: int) -> Tensor:
    ids = torch.zeros(len(lengths), TEXT["context_length"], dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[: length - 1] = torch.randint(3, END, (length - 1,))
        row[length - 1] = END
    return ids


def tokens_seen(model: nn.Module) -> list[int]:
    """The lengths that the transformer of the text tower is run on, from now on."""
    seen: list[int] = []
    tower: Any = model.transformer if hasattr(model, "transformer") else model.text.transformer  # type: ignore[union-attr]
    tower.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    return seen


@pytest.mark.parametrize("kind", [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize("pooling", [{"pool_type": "argmax"}, {"pool_type": "eos", "eos_id": END}])
def test_cut_texts_give_what_whole_ones_give(kind: Any, pooling: dict[str, Any]) -> None:
    model = built(kind, **pooling)
    ids = texts(3, 7, 5)
    with torch.no_grad():
        whole = model.encode_text(ids)  # type: ignore[operator]
        before = {name: value.clone() for name, value in model.state_dict().items()}
        seen = tokens_seen(model)
        cut = ShortTexts(model)(ids)

    assert seen == [7]
    cut, whole = F.normalize(cut, dim=1), F.normalize(whole, dim=1)
    torch.testing.assert_close(cut, whole, atol=1e-6, rtol=0)
    assert (whole[0] - whole[1]).abs().max() > 0.05  # texts differ: equality says something
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (open_clip.CLIP, {"no_causal_mask": True}),
        (open_clip.CLIP, {"pool_type": "last"}),
        (open_clip.CustomTextCLIP, {"no_causal_mask": True}),
        (open_clip.CustomTextCLIP, {"pool_type": "first"}),
        (open_clip.CustomTextCLIP, {"embed_cls": True}),
    ],
)
def test_towers_that_look_at_the_whole_context_get_it(kind: Any, text: dict[str, Any]) -> None:
    model = built(kind, **text)
    ids = texts(3, 4)
    seen = tokens_seen(model)
    with torch.no_grad():
        assert torch.equal(ShortTexts(model)(ids), model.encode_text(ids))  # type: ignore[operator]
    assert seen[0] == seen[1] >= TEXT["context_length"]


def test_a_model_of_another_class_gets_whole_texts() -> None:
    class Own(nn.Module):
        def encode_text(self, ids: Tensor) -> Tensor:
            return ids.float()

    ids = texts(3, 4)
    assert torch.equal(ShortTexts(Own())(ids), ids.float())
    assert ShortTexts(Own()).lengths(ids).tolist() == [20, 20]
    assert ShortTexts(built()).lengths(ids).tolist() == [3, 4]
