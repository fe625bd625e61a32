"""Names of training data: what they stand for, and what is refused."""

from __future__ import annotations

import pytest
from tinyworld import TinyWorld

from pgsbench.data import source_names
from pgsbench.errors import DataError


def test_patterns_name_shards(tiny: TinyWorld) -> None:
    by_pattern = source_names.resolve(f"{tiny.shards}/{{00000..00002}}.tar")
    assert (
        by_pattern == source_names.resolve(str(tiny.shards)) == source_names.resolve(f"{tiny.shards}/*.tar")
    )
    assert source_names.resolve(f"{tiny.shards}/00000.tar::{tiny.shards}/00001.tar") == by_pattern[:2]


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("{folder}/{00000..00004}.tar", "2 of 5 shards are missing"),
        ("{folder}/nothing/*.tar", "no shards here"),
        ("scene", "did you mean 'scenes'"),
    ],
)
def test_missing_shards_are_named(tiny: TinyWorld, train: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        source_names.resolve(train.replace("{folder}", str(tiny.shards)))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("x/{08..11}.tar", ["x/08.tar", "x/09.tar", "x/10.tar", "x/11.tar"]),
        ("{a,b/{0..1}}.tar", ["a.tar", "b/0.tar", "b/1.tar"]),
        ("x/{0}.tar", ["x/{0}.tar"]),
    ],
)
def test_braces_stand_for_names(pattern: str, found: list[str]) -> None:
    assert source_names.expand(pattern) == found


@pytest.mark.parametrize("train", ["x/{00000..00010.tar", f"{'x' * 300}.tar"])
def test_a_name_that_no_shard_can_have_is_refused(train: str) -> None:
    with pytest.raises(DataError, match="this names no shards"):
        source_names.resolve(train)


@pytest.mark.parametrize(
    "train",
    ["pipe:cat x.tar", "x.tar::pipe:touch made", "ssh://host/x.tar", "exec:rm", " pipe:ls"],
)
def test_what_would_run_a_command_is_refused(tiny: TinyWorld, train: str) -> None:
    with pytest.raises(DataError, match="no commands"):
        source_names.resolve(train.replace("x.tar", f"{tiny.shards}/00000.tar"))
