from __future__ import annotations

import pytest
import torch
from evalsets import counted, picture
from torch import nn

from pgsbench.data.tar import EncodedImage
from pgsbench.errors import DataError
from pgsbench.evaluation.embed import Encoder
from pgsbench.models.clip import Clip


def test_texts_that_the_model_cannot_tell_apart_are_one_text(tiny: Clip, encode: Encoder) -> None:
    long = "word " * 40
    texts = ["a cat", f"{long} a", f"{long} b", "a dog", "a cat"]
    with counted(tiny.model) as seen:
        rows = encode.texts(texts)
        encode.texts(["a dog"])

    assert seen["encode_text"] == encode.num_texts == 3
    assert torch.equal(rows[1], rows[2])  # exactly: a comparison of the two must be a tie
    assert torch.equal(rows[0], rows[4])
    assert not torch.equal(rows[0], rows[3])


def test_batch_size_and_threads_do_not_matter(
    tiny: Clip,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [(str(i), picture(i)) for i in range(11)]
    texts = [f"picture {i}" for i in range(11)]
    one, many = Encoder(tiny, batch_size=64), Encoder(tiny, batch_size=2)
    expected = one.images(files), one.texts(texts)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    torch.testing.assert_close(many.images(iter(files)), expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(many.texts(texts), expected[1], atol=1e-6, rtol=0)


def test_texts_of_about_one_length_share_a_batch(tiny: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"a {'very ' * (7 * i % 11)}small cat {i}" for i in range(11)]
    whole = [Encoder(tiny, batch_size=1).texts([text]) for text in texts]
    ids = tiny.tokenize(texts)
    lengths = sorted((ids.argmax(dim=1) + 1).tolist())
    seen: list[int] = []
    hook = tiny.model.transformer.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    try:
        found = Encoder(tiny, batch_size=4).texts(texts)
        monkeypatch.setattr("pgsbench.evaluation.embed.TEXTS_AT_ONCE", 3)
        in_small_blocks = Encoder(tiny, batch_size=4).texts(texts)
    finally:
        hook.remove()

    torch.testing.assert_close(found, torch.cat(whole), atol=1e-6, rtol=0)
    torch.testing.assert_close(in_small_blocks, torch.cat(whole), atol=1e-6, rtol=0)
    assert seen[:3] == [lengths[3], lengths[7], lengths[10]]


def test_nothing_is_masked_and_the_mode_is_restored(tiny: Clip) -> None:
    model = tiny.model.eval()
    files = [(str(i), picture(i)) for i in range(4)]
    expected = Encoder(tiny).images(files)
    model.train()
    asleep = model.visual.ln_post.eval()
    model.visual.patch_dropout = nn.Dropout(0.9)
    try:
        found = Encoder(tiny).images(files)
        assert model.training
        assert model.visual.patch_dropout.training
        assert not asleep.training
    finally:
        model.visual.patch_dropout = nn.Identity()
        model.eval()
    assert torch.equal(found, expected)


def test_a_damaged_picture_is_named(encode: Encoder) -> None:
    cut = EncodedImage(picture(0).data[:60], "png")
    with pytest.raises(DataError, match="test: sample 0007: the picture cannot be decoded"):
        encode.images([("test: sample 0007", cut)])
