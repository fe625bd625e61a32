"""What must be an error or a marked score, and never a plausible number."""

from __future__ import annotations

import copy
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_benchmark.datasets.builder import build_wds_dataset
from evalsets import picture

from pgsbench.data import evalset
from pgsbench.data.evalset import count_split
from pgsbench.data.tar import count_tar, read_tar, write_tar
from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.embed import Encoder, decode
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.linear_probe import LinearProbe
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.suite import builtin_dataset
from pgsbench.models.clip import Clip

Change = Callable[[Path], object]
SWAP = Compositional("swap_att")
ALL = [("classes", ZeroShot()), ("retrieval", Retrieval()), ("pairs", SWAP)]


def by_metric(protocol: Any, folder: Path, encode: Encoder) -> dict[str, Measurement]:
    return {m.metric: m for m in protocol.measure(folder, encode)}


@pytest.mark.parametrize(("folder", "protocol"), ALL)
def test_a_model_that_is_none_gets_nothing_right(
    folder: str, protocol: Any, diverged: Clip, constant: Clip, data: Path
) -> None:
    with pytest.raises(EvaluationError, match="image embeddings of a batch are not finite"):
        list(protocol.measure(data / folder, Encoder(diverged)))
    found = list(protocol.measure(data / folder, Encoder(constant)))
    assert found
    for measurement in found:
        assert measurement.value == 0
        assert "collapsed image embeddings" in measurement.notes
    if folder == "pairs":
        assert "50 of 50 pairs tie and count as wrong" in found[0].notes


# ------------------------------------------------------------------------------------------------- ties


@pytest.mark.parametrize(
    "captions",
    [("same", "same"), ("same thing", "SAME thing "), (f"a {'on ' * 40} sea", f"a {'on ' * 40} off")],
)
def test_a_caption_of_two_pictures_ties_and_is_reported(
    captions: tuple[str, str], encode: Encoder, tmp_path: Path
) -> None:
    samples = [(key, picture(i), [captions[i]]) for i, key in enumerate("ab")]
    evalset.write_retrieval(tmp_path, samples)
    found = by_metric(Retrieval(recall_at=(1, 2, 3)), tmp_path, encode)
    assert found.keys() == {f"{way}_recall_at_{k}" for way in ("image", "text") for k in (1, 2)}
    assert [found[f"text_recall_at_{k}"].value for k in (1, 2)] == [0, 1]
    assert [found[f"text_recall_at_{k}"].num_ties for k in (1, 2)] == [2, 0]
    assert "1 captions stand under more than one picture and tie" in found["text_recall_at_1"].notes
    # Asked with a caption, pictures do not tie.
    assert found["image_recall_at_1"].notes == ("collapsed text embeddings",)


@pytest.mark.parametrize("names", ["red circle\nred circle\n", "Crane\ncrane\n"])
def test_equal_class_names_tie(names: str, encode: Encoder, data: Path, tmp_path: Path) -> None:
    own = shutil.copytree(data / "two", tmp_path / "two")
    (own / "classnames.txt").write_text(names)
    found = by_metric(ZeroShot(), own, encode)["acc1"]
    assert (found.value, found.num_ties) == (0, 60)
    assert "1 classes are to the model the same as an earlier one and tie with it" in found.notes


def test_what_only_rounding_tells_apart_ties(data: Path, tiny: Clip) -> None:
    model = copy.deepcopy(tiny.model)
    one, other = torch.zeros(2, 32)
    one[0], other[0], other[1] = 1.0, 1.0, 1e-8
    model.encode_image = lambda batch: (one + other).expand(len(batch), -1)
    model.encode_text = lambda batch: torch.stack([one, other] * len(batch))[: len(batch)]
    (found,) = SWAP.measure(data / "pairs", Encoder(replace(tiny, model=model)))
    assert (found.value, found.num_ties) == (0, len(found.correct))


# ------------------------------------------------------------------------------- data that are damaged


def says(name: str, content: str) -> Change:
    return lambda folder: (folder / name).write_text(content)


def rewrite(
    folder: Path, change: Callable[[int, dict[str, bytes]], dict[str, bytes]], split: str = "test"
) -> None:
    """Change the members of every sample of a split."""
    samples = [(key, change(i, parts)) for i, (key, parts) in enumerate(evalset.read_split(folder, split))]
    write_tar(folder / split / "0.tar", samples)
    (folder / split / "nshards.txt").write_text("1\n")


def without(ending: str) -> Change:
    """Leave a member out of one sample."""
    return lambda folder: rewrite(
        folder, lambda i, parts: {key: part for key, part in parts.items() if i != 3 or key != ending}
    )


def replaced(ending: str, content: bytes) -> Change:
    return lambda folder: rewrite(folder, lambda i, parts: {**parts, ending: content} if i == 3 else parts)


def latin(name: str) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"a", "ä".encode("latin-1")))

    return change


def lose_pictures(folder: Path) -> None:
    for path in sorted((folder / "val2017").iterdir())[:2]:
        path.unlink()


TEMPLATES = "zeroshot_classification_templates.txt"
CAPTIONS = "each picture needs captions"
ENDLESS = "[" * 100_000


#: The set that a protocol is tried on.
FOLDER = {ZeroShot: "classes", Retrieval: "retrieval", Compositional: "pairs"}


@pytest.mark.parametrize(
    ("protocol", "change", "said"),
    [
        (ZeroShot(), says("classnames.txt", "one\n"), "at least two classes"),
        (ZeroShot(), says("classnames.txt", "a\n\nb\n"), "classnames.txt:2: needs at least two"),
        (ZeroShot(), says("classnames.txt", "a\nb\n"), "one of the 2 in classnames.txt, counted from 0"),
        *(
            (ZeroShot(), says(TEMPLATES, template), r"a template holds \{c\} and no other braces")
            for template in ("a photo of a {}.", "a {c} in {x}", "a {c} {")
        ),
        (ZeroShot(), latin("classnames.txt"), "text must be UTF-8"),
        (ZeroShot(), without("cls"), r"sample 0003: a sample needs its class"),
        (ZeroShot(), replaced("cls", b"6"), "sample 0003: the class must be one of the 6"),
        (ZeroShot(), replaced("cls", b"3.0"), "sample 0003: a class is a number"),
        (ZeroShot(), says("test/nshards.txt", "0\n"), "holds no pictures"),
        (ZeroShot(), says("test/nshards.txt", "-1"), "the number of shards"),
        (Retrieval(), says("test/nshards.txt", "0\n"), "holds no pictures"),
        (Retrieval(), says("dataset_type.txt", "classification\n"), 'must say "retrieval"'),
        (Retrieval(), without("txt"), f"sample 0003: {CAPTIONS}"),
        (Retrieval(), replaced("txt", b"one\n\ntwo"), f"sample 0003: {CAPTIONS}"),
        (Retrieval(), without("png"), "sample 0003: .* needs an image"),
        (SWAP, latin("swap_att.json"), "text must be UTF-8"),
        (SWAP, lose_pictures, "2 pictures are missing in val2017"),
        (SWAP, says("swap_att.json", "{}"), "holds no pairs"),
        (SWAP, says("swap_att.json", '{"0": "a string"}'), "not a SugarCrepe file"),
        (SWAP, says("swap_att.json", ENDLESS), "not a SugarCrepe file"),
        (Compositional("swap_at"), str, r"did you mean 'swap_att'\? valid: add_obj, swap_att"),
    ],
)
def test_data_that_are_damaged_give_no_score(
    protocol: Any, change: Change, said: str, encode: Encoder, data: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(data / FOLDER[type(protocol)], tmp_path / "set")
    change(own)
    with pytest.raises(DataError, match=said):
        list(protocol.measure(own, encode))


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def zeroed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes(1536) + content[at + 1536 :]


def other_checksum(content: bytes, at: int) -> bytes:
    return content[: at + 148] + b"0000000\0" + content[at + 156 :]


@pytest.mark.parametrize("damage", [cut, zeroed, other_checksum])
def test_a_damaged_archive_is_not_a_smaller_set(
    damage: Callable[[bytes, int], bytes], encode: Encoder, data: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(data / "classes", tmp_path / "classes")
    shard = own / "test" / "1.tar"
    with tarfile.open(shard) as tar:
        header = tar.getmembers()[20].offset
    shard.write_bytes(damage(shard.read_bytes(), header))
    said = r"1\.tar: the archive cannot be read: archive cut off"
    for reading in (lambda: list(ZeroShot().measure(own, encode)), lambda: count_split(own)):
        with pytest.raises(DataError, match=said):
            reading()


def test_members_of_an_archive_that_are_no_samples_are_passed_over(data: Path, tmp_path: Path) -> None:
    shard = tmp_path / "0.tar"
    with tarfile.open(data / "classes" / "test" / "0.tar") as whole, tarfile.open(shard, "w") as padded:
        for number, member in enumerate(whole):
            for name in ("README", "__meta__", "__notes__/0.txt", f"._{member.name}", f"{number}."):
                padded.addfile(tarfile.TarInfo(name))
            padded.addfile(member, whole.extractfile(member))
    assert list(read_tar(shard)) == list(read_tar(data / "classes" / "test" / "0.tar"))
    assert count_tar(shard) == 25


@pytest.mark.parametrize("far", [False, True])
def test_two_samples_of_one_key(far: bool, encode: Encoder, data: Path, tmp_path: Path) -> None:
    own = shutil.copytree(data / "classes", tmp_path / "classes")
    samples = list(evalset.read_split(own))
    write_tar(own / "test" / "0.tar", [*samples, samples[0]] if far else [samples[0], *samples])
    (own / "test" / "nshards.txt").write_text("1\n")
    with pytest.raises(DataError, match=r"two samples have the same key \(got '0000"):
        list(ZeroShot().measure(own, encode))


@pytest.mark.filterwarnings("ignore:WebDataset")
@pytest.mark.parametrize("kinds", [("jpg", "png"), ("png", "webp"), ("jpg", "webp"), ("jpeg", "jpg")])
def test_of_two_pictures_in_a_sample_clip_benchmarks_is_taken(
    kinds: tuple[str, str], data: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(data / "classes", tmp_path / "classes")
    pictures = {kind: picture(i, kind=kind.replace("jpeg", "jpg")).data for i, kind in enumerate(kinds)}
    rewrite(own, lambda i, parts: {**pictures, "cls": b"1"})
    (_, where, image, _) = next(iter(evalset.read_images(own)))
    theirs = next(iter(build_wds_dataset("x", lambda image: image, "test", str(own))))[0]
    np.testing.assert_array_equal(np.asarray(decode(where, image)), np.asarray(theirs))


@pytest.mark.parametrize(
    ("protocol", "field", "value"),
    [
        (Compositional, "subset", "../pairs/swap_att"),
        (ZeroShot, "split", "../two/test"),
        (Retrieval, "split", "a/b"),
        (LinearProbe, "train", "../test"),
        (LinearProbe, "split", 3),
    ],
)
def test_a_field_never_leads_out_of_its_set(protocol: Any, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a plain name without slashes"):
        protocol(**{field: value})
    assert builtin_dataset("scenes:..") is None


# ------------------------------------------------------------------------------------------ odd scores


def test_classes_without_pictures_are_reported(encode: Encoder, data: Path) -> None:
    found = by_metric(ZeroShot(), data / "classes", encode)
    assert found["acc1"].notes == ("2 of 6 classes have no picture",)
    # Unequal classes: the mean over classes is another number than the mean over pictures.
    assert found["mean_per_class_recall"].value != pytest.approx(found["acc1"].value)


def test_pictures_that_are_there_twice_or_under_two_labels_are_noted(
    encode: Encoder, data: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(data / "classes", tmp_path / "classes")
    drawn = list(zip((0, 0, 1, 1, 1, 2), (0, 0, 1, 2, 1, 3), strict=True))
    samples = [{"png": picture(i).data, "cls": str(label).encode()} for i, label in drawn]
    write_tar(own / "test" / "0.tar", [(str(i), parts) for i, parts in enumerate(samples)])
    (own / "test" / "nshards.txt").write_text("1\n")
    found = by_metric(ZeroShot(), own, encode)["acc1"]
    assert "3 of 6 pictures repeat an earlier one" in found.notes
    assert "3 of 6 pictures stand under more than one class" in found.notes


@pytest.mark.parametrize("protocol", [ZeroShot(), LinearProbe(train="more", l2=1e6)])
def test_one_class_for_every_picture_is_noted(protocol: Any, tiny: Clip, data: Path, tmp_path: Path) -> None:
    own = shutil.copytree(data / "classes", tmp_path / "classes")
    shutil.copytree(own / "test", own / "more")
    model = copy.deepcopy(tiny.model)
    tower, far = model.encode_image, torch.zeros(32).index_fill_(0, torch.tensor([0]), 300.0)
    model.encode_image = lambda batch: tower(batch) + far
    found = next(iter(protocol.measure(own, Encoder(replace(tiny, model=model)))))
    assert any(re.match("every picture gets the same class, '", note) for note in found.notes)
    assert not any("collapsed" in note for note in found.notes)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"correct": np.array([1.0, np.nan])}, "outcomes are not finite"),
        ({"correct": np.array([37.0, 1.0])}, "a score must be a share"),
        ({"correct": np.array([1.0])}, "outcomes, items, units, strata and answers differ in length"),
        ({"units": ["a"]}, "outcomes, items, units, strata and answers differ in length"),
        ({"items": ["a", "a"]}, "two test items have the same name"),
        ({"correct": np.array([]), "items": []}, "there are no test items"),
    ],
)
def test_a_measurement_that_is_none(fields: dict[str, Any], said: str) -> None:
    right = {"metric": "acc", "correct": np.array([1.0, 0.0]), "items": ["a", "b"], "chance": 0.5}
    assert Measurement(**right).value == 0.5
    with pytest.raises(EvaluationError, match=f"^acc: {said}"):
        Measurement(**right | fields)
