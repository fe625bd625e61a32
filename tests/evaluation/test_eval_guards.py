"""What must be an error or a marked score, and never a plausible number."""

from __future__ import annotations

import copy
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgsbench.data import evalset
from pgsbench.data.evalset import Pair, count_split
from pgsbench.data.tar import EncodedImage, count_tar, read_tar, write_tar
from pgsbench.errors import DataError, EvaluationError
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.base import Measurement
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.winoground import Winoground
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.models.clip import Clip

MakePicture = Callable[..., EncodedImage]
ALL = [("classes", ZeroShot()), ("retrieval", Retrieval()), ("pairs", Compositional("swap_att"))]


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy of the data to damage."""
    return shutil.copytree(data, tmp_path / "data")


@pytest.mark.parametrize(("folder", "protocol"), ALL)
def test_a_diverged_model_gets_no_score(
    folder: str, protocol, diverged: Clip, data: Path, make_encoder: Callable[..., Encoder]
) -> None:
    with pytest.raises(EvaluationError, match="image embeddings of a batch are not finite"):
        list(protocol.measure(data / folder, make_encoder(diverged)))


@pytest.mark.parametrize(("folder", "protocol"), ALL)
def test_a_constant_model_gets_nothing_right_and_is_marked(
    folder: str, protocol, constant: Clip, data: Path, make_encoder: Callable[..., Encoder]
) -> None:
    found = list(protocol.measure(data / folder, make_encoder(constant)))
    assert found
    for measurement in found:
        assert measurement.value == 0
        assert "collapsed image embeddings" in measurement.notes
    if folder == "pairs":
        assert "50 of 50 pairs tie and count as wrong" in found[0].notes


def test_captions_that_differ_beyond_the_context_tie(
    encode: Encoder, make_picture: MakePicture, tmp_path: Path
) -> None:
    long = "word " * 40
    pairs = [Pair("a", "a cat", "a dog"), Pair("a", f"{long} cat", f"{long} dog")]
    evalset.write_pairs(tmp_path, {"a": make_picture(0)}, {"x": pairs})
    (found,) = Compositional("x").measure(tmp_path, encode)
    assert found.correct[1] == 0
    assert found.notes == ("1 of 2 pairs tie and count as wrong",)


def test_k_beyond_the_set_is_left_out(encode: Encoder, make_picture: MakePicture, tmp_path: Path) -> None:
    evalset.write_retrieval(tmp_path, [(f"{i}", make_picture(i), [f"a {i}", f"b {i}"]) for i in range(4)])
    found = {m.metric for m in Retrieval().measure(tmp_path, encode)}
    assert found == {"image_recall_at_1", "text_recall_at_1", "text_recall_at_5"}


def test_a_caption_of_two_pictures_ties_and_is_reported(
    encode: Encoder, make_picture: MakePicture, tmp_path: Path
) -> None:
    evalset.write_retrieval(tmp_path, [("a", make_picture(0), ["same"]), ("b", make_picture(1), ["same"])])
    found = {m.metric: m for m in Retrieval(recall_at=(1, 2)).measure(tmp_path, encode)}
    assert found["text_recall_at_1"].value == 0
    assert found["text_recall_at_2"].value == 1
    assert "1 captions stand under more than one picture and tie" in found["text_recall_at_1"].notes
    assert [found[f"text_recall_at_{k}"].num_ties for k in (1, 2)] == [2, 0]
    # Asked with a caption, pictures do not tie.
    assert found["image_recall_at_1"].notes == ("collapsed text embeddings",)


@pytest.mark.parametrize("other", ["SAME thing ", f"same thing {'on and ' * 40} off"])
def test_captions_that_the_model_cannot_tell_apart_tie(
    other: str, encode: Encoder, make_picture: MakePicture, tmp_path: Path
) -> None:
    first = other.replace("off", "sea") if "on" in other else "same thing"
    evalset.write_retrieval(tmp_path, [("a", make_picture(0), [first]), ("b", make_picture(1), [other])])
    found = {m.metric: m for m in Retrieval(recall_at=(1,)).measure(tmp_path, encode)}["text_recall_at_1"]
    assert (found.value, found.num_ties) == (0, 2)
    assert found.notes[-1] == "1 captions stand under more than one picture and tie"


def test_a_picture_under_two_keys_ties(encode: Encoder, make_picture: MakePicture, tmp_path: Path) -> None:
    same = make_picture(0)
    samples = [("a", same, ["one"]), ("b", same, ["two"]), ("c", make_picture(1), ["three"])]
    evalset.write_retrieval(tmp_path, samples)
    found = {m.metric: m for m in Retrieval(recall_at=(1, 3)).measure(tmp_path, encode)}
    assert found["image_recall_at_1"].correct[:2].tolist() == [0, 0]
    assert found["image_recall_at_1"].num_ties >= 1
    assert found["image_recall_at_3"].num_ties == 0
    assert found["image_recall_at_1"].notes == ("1 pictures repeat an earlier one and tie with it",)
    assert found["text_recall_at_1"].notes == ()


def test_classes_without_pictures_are_reported(encode: Encoder, data: Path) -> None:
    found = {m.metric: m for m in ZeroShot().measure(data / "classes", encode)}
    assert found["acc1"].notes == ("2 of 6 classes have no picture",)
    # Unequal classes: the mean over classes is another number than the mean over pictures.
    assert found["mean_per_class_recall"].value != pytest.approx(found["acc1"].value)


@pytest.mark.parametrize("names", ["red circle\nred circle\n", "Crane\ncrane\n"])
def test_equal_class_names_tie(names: str, encode: Encoder, own: Path) -> None:
    (own / "two" / "classnames.txt").write_text(names)
    found = next(iter(ZeroShot().measure(own / "two", encode)))
    assert found.value == 0
    assert found.num_ties == 60
    assert "1 classes are to the model the same as an earlier one and tie with it" in found.notes


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ("one\n", "at least two classes"),
        ("a\n\nb\n", r"classnames.txt:2: needs at least two classes"),
        ("a\nb\n", "one of the 2 in classnames.txt, counted from 0"),
    ],
)
def test_class_names_that_do_not_fit(names: str, match: str, encode: Encoder, own: Path) -> None:
    (own / "classes" / "classnames.txt").write_text(names)
    with pytest.raises(DataError, match=match):
        list(ZeroShot().measure(own / "classes", encode))


def test_a_template_without_its_place(encode: Encoder, own: Path) -> None:
    (own / "classes" / "zeroshot_classification_templates.txt").write_text("a photo of a {}.\n")
    with pytest.raises(DataError, match=r"a template holds \{c\}"):
        list(ZeroShot().measure(own / "classes", encode))


@pytest.mark.parametrize("template", ["a {c} in {x}", "a {c} {", "a {c} {0}"])
def test_a_template_with_other_braces(template: str, encode: Encoder, own: Path) -> None:
    (own / "classes" / "zeroshot_classification_templates.txt").write_text(f"{template}\n")
    with pytest.raises(DataError, match="and no other braces"):
        list(ZeroShot().measure(own / "classes", encode))


@pytest.mark.parametrize(
    ("folder", "name", "protocol"),
    [
        ("classes", "classnames.txt", ZeroShot()),
        ("classes", "zeroshot_classification_templates.txt", ZeroShot()),
        ("pairs", "swap_att.json", Compositional("swap_att")),
    ],
)
def test_texts_of_another_encoding(folder: str, name: str, protocol, encode: Encoder, own: Path) -> None:
    path = own / folder / name
    path.write_bytes(path.read_bytes().replace(b"a", "ä".encode("latin-1")))
    with pytest.raises(DataError, match="text must be UTF-8"):
        list(protocol.measure(own / folder, encode))


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def zeroed(content: bytes, at: int) -> bytes:
    return content[:at] + bytes(1536) + content[at + 1536 :]


def other_checksum(content: bytes, at: int) -> bytes:
    return content[: at + 148] + b"0000000\0" + content[at + 156 :]


@pytest.mark.parametrize("damage", [cut, zeroed, other_checksum])
def test_a_damaged_archive_is_not_a_smaller_set(damage, encode: Encoder, own: Path) -> None:
    shard = own / "classes" / "test" / "1.tar"
    content = shard.read_bytes()
    with tarfile.open(shard) as tar:
        header = tar.getmembers()[20].offset
    shard.write_bytes(damage(content, header))
    for reading in (
        lambda: list(ZeroShot().measure(own / "classes", encode)),
        lambda: count_split(own / "classes"),
    ):
        with pytest.raises(DataError, match=r"1\.tar: the archive cannot be read: archive cut off"):
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
def test_two_samples_of_one_key(far: bool, encode: Encoder, own: Path) -> None:
    samples = list(evalset.read_split(own / "classes"))
    repeated = [*samples, samples[0]] if far else [samples[0], *samples]
    write_tar(own / "classes" / "test" / "0.tar", repeated)
    (own / "classes" / "test" / "nshards.txt").write_text("1\n")
    with pytest.raises(DataError, match=r"two samples have the same key \(got '0000"):
        list(ZeroShot().measure(own / "classes", encode))


def rewrite(
    folder: Path, change: Callable[[int, dict[str, bytes]], dict[str, bytes]], split: str = "test"
) -> None:
    """Change the members of every sample of a split."""
    samples = [(key, change(i, parts)) for i, (key, parts) in enumerate(evalset.read_split(folder, split))]
    write_tar(folder / split / "0.tar", samples)
    (folder / split / "nshards.txt").write_text("1\n")


def without(ending: str) -> Callable[[int, dict[str, bytes]], dict[str, bytes]]:
    return lambda i, parts: {key: part for key, part in parts.items() if i != 3 or key != ending}


def replaced(ending: str, content: bytes) -> Callable[[int, dict[str, bytes]], dict[str, bytes]]:
    return lambda i, parts: {**parts, ending: content} if i == 3 else parts


@pytest.mark.parametrize(
    ("folder", "protocol", "change", "match"),
    [
        ("classes", ZeroShot(), without("cls"), r"sample 0003: a sample needs its class"),
        ("classes", ZeroShot(), replaced("cls", b"6"), r"sample 0003: the class must be one of the 6"),
        ("classes", ZeroShot(), replaced("cls", b"-1"), r"sample 0003: the class must be one of the 6"),
        ("classes", ZeroShot(), replaced("cls", b"cat"), r"sample 0003: a class is a number"),
        ("retrieval", Retrieval(), without("txt"), r"sample 0003: each picture needs captions"),
        (
            "retrieval",
            Retrieval(),
            replaced("txt", b"one\n\ntwo"),
            r"sample 0003: each picture needs captions",
        ),
        ("retrieval", Retrieval(), lambda i, parts: {"txt": parts["txt"]}, "sample 0000: .* needs an image"),
    ],
)
def test_samples_that_contradict_the_set(folder, protocol, change, match, encode: Encoder, own: Path) -> None:
    rewrite(own / folder, change)
    with pytest.raises(DataError, match=match):
        list(protocol.measure(own / folder, encode))


@pytest.mark.parametrize(("folder", "protocol"), ALL[:2])
def test_an_empty_split(folder: str, protocol, encode: Encoder, own: Path) -> None:
    (own / folder / "test" / "nshards.txt").write_text("0\n")
    with pytest.raises(DataError, match="holds no pictures"):
        list(protocol.measure(own / folder, encode))


def test_a_classification_set_is_no_retrieval_set(encode: Encoder, own: Path) -> None:
    (own / "retrieval" / "dataset_type.txt").write_text("classification\n")
    with pytest.raises(DataError, match='must say "retrieval"'):
        list(Retrieval().measure(own / "retrieval", encode))


def test_pairs_without_their_pictures(encode: Encoder, own: Path) -> None:
    lost: Iterator[Path] = iter(sorted((own / "pairs" / "val2017").iterdir())[:2])
    for path in lost:
        path.unlink()
    with pytest.raises(DataError, match="2 pictures are missing in val2017"):
        list(Compositional("swap_att").measure(own / "pairs", encode))


def test_a_subset_without_pairs(encode: Encoder, own: Path) -> None:
    (own / "pairs" / "swap_att.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="holds no pairs"):
        list(Compositional("swap_att").measure(own / "pairs", encode))


@pytest.mark.parametrize(
    "entry", ["a string", {"filename": "x.png", "caption": None, "negative_caption": "b"}]
)
def test_pairs_that_are_none(entry: object, encode: Encoder, own: Path) -> None:
    (own / "pairs" / "swap_att.json").write_text(json.dumps({"0": entry}))
    with pytest.raises(DataError, match="not a SugarCrepe file"):
        list(Compositional("swap_att").measure(own / "pairs", encode))


def test_what_only_rounding_tells_apart_ties(data: Path, tiny: Clip) -> None:
    model = copy.deepcopy(tiny.model)
    one, other = torch.zeros(2, 32)
    one[0], other[0], other[1] = 1.0, 1.0, 1e-8
    model.encode_image = lambda batch: (one + other).expand(len(batch), -1)
    model.encode_text = lambda batch: torch.stack([one, other] * len(batch))[: len(batch)]
    encode = Encoder(replace(tiny, model=model))
    (found,) = Compositional("swap_att").measure(data / "pairs", encode)
    assert found.value == 0.0
    assert found.num_ties == len(found.correct)
    assert any("tie and count as wrong" in note for note in found.notes)


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


@pytest.fixture
def winoground(make_picture: MakePicture, tmp_path: Path) -> Path:
    """Two examples; the second has the same picture twice."""
    (tmp_path / "images").mkdir()
    lines = []
    for i in range(2):
        for side in (0, 1):
            content = make_picture(0 if i else side).data
            (tmp_path / "images" / f"ex_{i}_img_{side}.png").write_bytes(content)
        images = {f"image_{side}": f"ex_{i}_img_{side}" for side in (0, 1)}
        lines.append(json.dumps({"id": i, **images, "caption_0": "a on b", "caption_1": "b on a"}))
    (tmp_path / "examples.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_winoground_counts_a_tie_as_wrong(encode: Encoder, winoground: Path) -> None:
    found = {m.metric: m for m in Winoground().measure(winoground, encode)}
    assert found["image_acc"].correct[1] == 0
    assert found["acc"].correct[1] == 0
    assert "1 of 2 examples have ties, which count as wrong" in found["acc"].notes
    assert Winoground().count_items(winoground) == 2


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "there are no examples"),
        ("{}", "KeyError: 'image_0'"),
        ("[1]", "each line needs id, image_0"),
        ("no json", "each line needs id, image_0"),
        ('{"id": 1, "image_0": "a", "image_1": "b", "caption_0": null, "caption_1": "b"}', "is no text"),
    ],
)
def test_winoground_examples_that_cannot_be_read(
    content: str, match: str, encode: Encoder, winoground: Path
) -> None:
    (winoground / "examples.jsonl").write_text(content)
    with pytest.raises(DataError, match=match):
        list(Winoground().measure(winoground, encode))


def test_winoground_without_its_pictures(encode: Encoder, winoground: Path) -> None:
    (winoground / "images" / "ex_1_img_0.png").unlink()
    with pytest.raises(DataError, match="1 pictures are missing in images"):
        list(Winoground().measure(winoground, encode))
