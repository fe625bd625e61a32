"""Words of training captions are counted once, alike for all ways of reading, and remembered by content."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tinyworld import TinyWorld

from pgsbench.data import shards, store
from pgsbench.data.tar import read_tar
from pgsbench.errors import DataError
from pgsbench.masking.text.base import TextView
from pgsbench.masking.text.words import WordCounts, number_words, word_keys
from pgsbench.models.clip import Clip, build
from pgsbench.models.text_masking import word_counts, word_ends


@pytest.fixture(scope="module")
def clip() -> Clip:
    return build("tiny-vit", seed=0)


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path / "data"))


def of(counts: WordCounts, clip: Clip, word: str) -> int:
    ids = clip.tokenize([word]).long()
    words = number_words(TextView(ids, ids.argmax(dim=1) + 1), word_ends(clip.tokenize))
    return int(counts.of(word_keys(ids, words))[0, 1])


def test_each_word_is_counted_as_often_as_it_is_written(tiny: TinyWorld, clip: Clip) -> None:
    counts = word_counts(shards.open_pairs(str(tiny.shards)), clip.tokenize)
    by_hand = Counter[str]()
    for shard in sorted(tiny.shards.glob("*.tar")):
        for _, parts in read_tar(shard):
            text = parts["txt"].decode().replace(",", " ,")
            by_hand.update(word for part in text.split() for word in (part if part.isdigit() else [part]))
    assert by_hand["square"] == 96
    assert {word: of(counts, clip, word) for word in by_hand} == by_hand
    assert counts.num_words == by_hand.total()
    assert of(counts, clip, "dog") == 0


def test_they_are_counted_once_for_the_same_files(
    tiny: TinyWorld, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def count(folder: Path) -> WordCounts:
        return word_counts(
            shards.open_pairs(str(folder)), clip.tokenize, progress=lambda *now: told.append(now)
        )

    first = count(tiny.shards)
    assert [now[1:] for now in told if now[0] == "counting words"] == [(96, 96)]
    told.clear()
    count(tiny.shards)
    assert not [now for now in told if now[0] == "counting words"]
    shutil.copytree(tiny.shards, tmp_path / "moved")
    again = count(tmp_path / "moved")
    assert torch.equal(first.keys, again.keys)
    assert torch.equal(first.counts, again.counts)
    (tmp_path / "moved" / "00002.tar").unlink()
    assert count(tmp_path / "moved").num_words < first.num_words
    for file in (store.root() / "words").iterdir():
        file.write_bytes(b"damaged")
    assert count(tiny.shards).num_words == first.num_words


def test_a_shard_that_was_changed_meanwhile_is_not_counted_as_empty(
    tiny: TinyWorld, clip: Clip, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    shutil.copytree(tiny.shards, folder)
    found = shards.open_pairs(str(folder))
    (folder / "00001.tar").write_bytes((folder / "00000.tar").read_bytes())
    with pytest.raises(DataError, match=r"00001\.tar: this shard is no longer what it was"):
        word_counts(found, clip.tokenize)
    shutil.copy(tiny.shards / "00001.tar", folder)
    again = shards.open_pairs(str(folder))
    assert of(word_counts(again, clip.tokenize), clip, "square") == 96
