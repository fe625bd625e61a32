"""Shortened captions in training: the tower runs on what stays, and learns from it."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from pgsbench.errors import ModelError
from pgsbench.masking.random import Random
from pgsbench.masking.text.base import TextStrategy
from pgsbench.masking.text.strategies import Frequency, RandomTokens, TokenBlock, WholeText
from pgsbench.masking.text.words import WordCounts
from pgsbench.models.clip import Clip, build
from pgsbench.models.masked_tower import attach
from pgsbench.models.short_texts import ShortTexts
from pgsbench.models.text_masking import TextMasking, word_ends

VISION = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16}
TEXT = {"context_length": 20, "vocab_size": 50, "width": 32, "heads": 2, "layers": 2}
END = 49


def built(kind: Any = open_clip.CLIP, **text: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = kind(16, vision_cfg=VISION, text_cfg={**TEXT, **text}, output_dict=True).eval()
    return model


def texts(*lengths: int, context: int = 20) -> Tensor:
    ids = torch.zeros(len(lengths), context, dtype=torch.long)
    for row, length in zip(ids, lengths, strict=True):
        row[: length - 1] = torch.randint(3, END, (length - 1,))
        row[length - 1] = END
    return ids


@pytest.fixture(scope="module")
def clip() -> Clip:
    return build("tiny-vit", seed=0)


@pytest.mark.parametrize("kind", [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize("pooling", [{"pool_type": "argmax"}, {"pool_type": "eos", "eos_id": END}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_short_texts_train_as_padded_ones_do(kind: Any, pooling: dict[str, Any], checkpointing: bool) -> None:
    model: Any = built(kind, **pooling).train().double()  # so that rounding is out of the question
    if checkpointing:
        model.set_grad_checkpointing()
    attach(model, Random(0.5)).begin_step(seed=0, step=0)
    images, ids = torch.randn(3, 3, 32, 32).double(), texts(3, 7, 5)
    gradients, features = [], []
    for length in (20, 7):
        model.zero_grad()
        out = ShortTexts(model).forward(images, ids[:, :length])
        (out["image_features"] * out["text_features"].roll(1, 0)).sum().backward()
        gradients.append(
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        )
        features.append(out["text_features"].detach())
    torch.testing.assert_close(*features, atol=1e-6, rtol=0)
    for name, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], whole, atol=1e-6, rtol=1e-4)
    (position,) = (
        value
        for name, value in gradients[1].items()
        if name.endswith("positional_embedding") and not name.startswith("visual")
    )
    assert position.shape == (20, 32)
    assert position[:7].abs().sum() > 0
    assert position[7:].abs().sum() == 0


def test_the_transformer_sees_only_what_stays(clip: Clip) -> None:
    seen: list[int] = []
    model: Any = clip.model
    hook = model.transformer.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    masking = TextMasking(clip, RandomTokens(keep=6))
    ids = clip.tokenize(["a red square on a grey ground, number one", "a dog"])
    for active in (True, False):
        masking.active = active
        masking.begin_step(seed=0, step=0)
        short = masking.shorten(ids)
        masking.forward(torch.randn(2, 3, 32, 32), short)
        assert short.shape == (2, masking.num_kept)
    hook.remove()
    assert seen == [6, 24]


@pytest.mark.parametrize("strategy", [WholeText(), RandomTokens(keep=24), RandomTokens(keep=500)])
def test_a_budget_of_the_whole_context_changes_nothing(clip: Clip, strategy: TextStrategy) -> None:
    masking = TextMasking(clip, strategy)
    masking.begin_step(seed=0, step=0)
    ids = clip.tokenize(["a red square", "a dog"])
    assert masking.shorten(ids) is ids
    images = torch.randn(2, 3, 32, 32)
    ours, plain = masking.forward(images, ids), clip.model(images, ids)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_what_is_drawn_follows_from_seed_and_step(clip: Clip) -> None:
    masking = TextMasking(clip, TokenBlock(keep=5))
    ids = clip.tokenize(["one two three four five six seven eight nine ten"] * 8)

    def at(seed: int, step: int) -> Tensor:
        masking.begin_step(seed=seed, step=step)
        return masking.shorten(ids)

    assert torch.equal(at(1, 2), at(1, 2))
    assert not torch.equal(at(1, 2), at(1, 3))
    assert not torch.equal(at(1, 2), at(2, 2))


def test_a_tokenizer_that_does_not_mark_words_is_refused_where_words_are_needed(clip: Clip) -> None:
    other = Clip(clip.model, lambda texts: clip.tokenize(texts), {}, {})
    with pytest.raises(ModelError, match="where words end"):
        TextMasking(other, Frequency(), WordCounts.none())
    TextMasking(other, RandomTokens())


def test_the_words_of_the_tokenizer_are_told_from_its_ids(clip: Clip) -> None:
    ends = word_ends(clip.tokenize)
    (ids,) = clip.tokenize(["An unforeseeably 42 O'Neill -- yes!"])
    inner = ids[1 : int(ids.argmax())]
    words, word = [], list[int]()
    for token in inner.tolist():
        word.append(token)
        if ends[token]:
            words.append(clip.tokenize.decode(word).strip())  # type: ignore[attr-defined]
            word = []
    assert not word
    assert words == ["an", "unforeseeably", "4", "2", "o", "'", "neill", "--", "yes", "!"]


def tokens_seen(model: nn.Module) -> list[int]:
    """The lengths that the transformer of the text tower is run on, from now on."""
    seen: list[int] = []
    tower: Any = model.transformer if hasattr(model, "transformer") else model.text.transformer  # type: ignore[union-attr]
    tower.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    return seen


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
    other = Clip(model, lambda texts: ids, {}, {})
    with pytest.raises(ModelError, match="cannot take fewer tokens"):
        TextMasking(other, RandomTokens())
    TextMasking(other, WholeText())
