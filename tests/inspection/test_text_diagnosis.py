"""What is measured of text strategies on real batches."""

from __future__ import annotations

import torch

from pgsbench.data.memory import InMemory
from pgsbench.inspection.text_diagnosis import text_table
from pgsbench.masking.text.strategies import RandomTokens, Truncate, WholeText
from pgsbench.models.clip import build


def test_captions_over_the_budget_are_counted_and_what_they_lose_is_named() -> None:
    clip = build("tiny-vit", seed=0)
    captions = ["a red dog on green grass"] * 30 + ["a dog"] * 10
    reader = InMemory(torch.zeros(40, 3, 32, 32, dtype=torch.uint8), clip.tokenize(captions).int(), None)
    texts = {
        "first": Truncate(keep=6),
        "some": RandomTokens(keep=5),
        "all": Truncate(keep=9),
        "none": WholeText(),
    }
    table = text_table(clip, reader, texts, name="these", train="", batch_size=20, num_batches=2, seed=0)
    first, some, fits = table.cells()
    assert table.title == "Captions on these"
    # 30 of 40 captions have six tokens between the marks; four, then three of them stay
    assert first == ["first", "75.0", "66.7", "100.0", "green grass"]
    assert some[1:3] == ["75.0", "50.0"]
    # Two sets of three of six share 1.5 on average, so that their union is 4.5: a third
    assert 25 < float(some[3]) < 42
    assert set(some[4].split()) < {"a", "red", "dog", "on", "green", "grass"}
    assert fits[:2] == ["all", "0.0"]
