"""Data sets that are odd in a way that a plain reading would let pass."""

from __future__ import annotations

import copy
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_benchmark.datasets.builder import build_wds_dataset

from pgsbench.data import evalset
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.errors import ConfigError, DataError
from pgsbench.evaluation.embed import Encoder, decode
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.linear_probe import LinearProbe
from pgsbench.evaluation.protocols.multilabel import MultiLabel
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.winoground import Winoground
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.evaluation.suite import builtin_dataset, load_suite
from pgsbench.models.clip import Clip

MakePicture = Callable[..., EncodedImage]


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy of the data to change."""
    return shutil.copytree(data, tmp_path / "data")


def write_split(folder: Path, samples: list[dict[str, bytes]]) -> None:
    write_tar(folder / "test" / "0.tar", [(f"{i:04}", parts) for i, parts in enumerate(samples)])
    (folder / "test" / "nshards.txt").write_text("1\n")


@pytest.mark.parametrize(
    ("protocol", "field", "value"),
    [
        (Compositional, "subset", "../pairs/swap_att"),
        (Compositional, "subset", "/etc/x"),
        (ZeroShot, "split", "../two/test"),
        (MultiLabel, "split", ".."),
        (Retrieval, "split", "a/b"),
        (LinearProbe, "train", "../test"),
        (LinearProbe, "split", 3),
    ],
)
def test_a_field_never_leads_out_of_its_set(protocol, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a plain name without slashes"):
        protocol(**{field: value})


def test_an_evaluation_set_never_leads_out_of_its_data_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntasks:\n"
        "  - {name: a, data: 'scenes:x', protocol: compositional, group: g, subset: ../x}\n"
    )
    with pytest.raises(ConfigError, match=r"mine.yaml:3: tasks.0.subset: subset must be a plain name"):
        load_suite(path)
    assert builtin_dataset("scenes:..") is None


def test_a_subset_that_is_not_there_names_the_nearest(encode: Encoder, own: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean 'swap_att'\? valid: add_obj, swap_att"):
        list(Compositional("swap_at").measure(own / "pairs", encode))


@pytest.mark.parametrize("label", [b"0_3", b"\xd9\xa3", b"3.0", b""])
def test_a_class_is_written_in_plain_digits(label: bytes, encode: Encoder, own: Path) -> None:
    samples = [parts for _, parts in evalset.read_split(own / "classes")]
    write_split(own / "classes", [*samples[:3], samples[3] | {"cls": label}])
    with pytest.raises(DataError, match="sample 0003: a class is a number"):
        list(ZeroShot().measure(own / "classes", encode))


@pytest.mark.parametrize("count", ["1_0", "-1", "99999999999999"])
def test_a_count_of_shards_is_one(count: str, own: Path) -> None:
    (own / "classes" / "test" / "nshards.txt").write_text(count)
    with pytest.raises(DataError, match="the number of shards"):
        evalset.count_split(own / "classes")


@pytest.mark.parametrize(
    "label", [["1", "0", "0", "0", "0", "0"], [1.0, np.nan, 0, 0, 0, 0], [1j, 0, 0, 0, 0, 0]]
)
def test_classes_of_a_picture_are_numbers(label: list[object], encode: Encoder, own: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array(label))
    parts = next(parts for _, parts in evalset.read_split(own / "classes"))
    write_split(own / "classes", [{"png": parts["png"], "npy": file.getvalue()}])
    with pytest.raises(DataError, match="sample 0000: classes must be finite numbers"):
        list(MultiLabel().measure(own / "classes", encode))


@pytest.mark.filterwarnings("ignore:WebDataset")
@pytest.mark.parametrize("kinds", [("jpg", "png"), ("png", "webp"), ("jpg", "webp"), ("jpeg", "jpg")])
def test_of_two_pictures_in_a_sample_clip_benchmarks_is_taken(
    kinds: tuple[str, str], make_picture: MakePicture, own: Path
) -> None:
    one, other = (make_picture(i, kind=kind.replace("jpeg", "jpg")) for i, kind in enumerate(kinds))
    write_split(own / "classes", [{kinds[0]: one.data, kinds[1]: other.data, "cls": b"1"}])
    (_, where, image, _) = next(iter(evalset.read_images(own / "classes")))
    theirs = next(iter(build_wds_dataset("x", lambda image: image, "test", str(own / "classes"))))[0]
    np.testing.assert_array_equal(np.asarray(decode(where, image)), np.asarray(theirs))


def test_pairs_in_json_without_end(encode: Encoder, own: Path) -> None:
    (own / "pairs" / "swap_att.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not a SugarCrepe file"):
        list(Compositional("swap_att").measure(own / "pairs", encode))


def test_examples_in_json_without_end(encode: Encoder, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "examples.jsonl").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not Winoground's examples"):
        list(Winoground().measure(tmp_path, encode))


def test_pictures_that_are_there_twice_or_under_two_labels_are_noted(
    encode: Encoder, make_picture: MakePicture, own: Path
) -> None:
    pictures = [make_picture(i).data for i in (0, 0, 1, 1, 1, 2)]
    labels = (0, 0, 1, 2, 1, 3)
    write_split(
        own / "classes", [{"png": p, "cls": str(c).encode()} for p, c in zip(pictures, labels, strict=True)]
    )
    found = next(iter(ZeroShot().measure(own / "classes", encode)))
    assert "3 of 6 pictures repeat an earlier one" in found.notes
    assert "3 of 6 pictures stand under more than one class" in found.notes


@pytest.mark.parametrize("protocol", [ZeroShot(), LinearProbe(train="more", l2=1e6)])
def test_one_class_for_every_picture_is_noted(protocol, tiny: Clip, encode: Encoder, own: Path) -> None:
    shutil.copytree(own / "classes" / "test", own / "classes" / "more")
    model = copy.deepcopy(tiny.model)
    tower, far = model.encode_image, torch.zeros(32).index_fill_(0, torch.tensor([0]), 300.0)
    model.encode_image = lambda batch: tower(batch) + far
    blind = Encoder(replace(tiny, model=model))
    found = next(iter(protocol.measure(own / "classes", blind)))
    assert any(re.match("every picture gets the same class, '", note) for note in found.notes)
    assert not any("collapsed" in note for note in found.notes)
    seeing = next(iter(ZeroShot().measure(own / "classes", encode)))
    assert not any("same class" in note for note in seeing.notes)
