"""Models by every name that a user may call them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from pgsbench.errors import ModelError
from pgsbench.evaluation.evaluate import activations
from pgsbench.models import checkpoint
from pgsbench.models.architectures import CONFIG_FOLDER
from pgsbench.models.clip import Clip, build
from pgsbench.models.source import open_model, state_hash


@pytest.fixture(scope="module")
def model() -> Clip:
    return build("tiny-vit", seed=5)


@pytest.fixture
def folder(model: Clip, tmp_path: Path) -> Path:
    checkpoint.save(model, tmp_path / "model")
    return tmp_path / "model"


def same(found: Clip, expected: Clip) -> bool:
    weights = expected.model.state_dict()
    return not found.model.training and all(
        torch.equal(value, weights[name]) for name, value in found.model.state_dict().items()
    )


def test_a_folder(model: Clip, folder: Path) -> None:
    opened = open_model(str(folder))
    assert same(opened.clip, model)
    assert opened.sha256 == checkpoint.weights_hash(folder)


@pytest.mark.parametrize("place", ["run/checkpoints/model", "download/deep/down"])
def test_the_one_model_below_a_folder(place: str, model: Clip, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / place)
    assert same(open_model(str(tmp_path / place.split("/")[0])).clip, model)


def test_a_folder_without_weights_is_no_random_model(folder: Path) -> None:
    (folder / checkpoint.WEIGHTS_FILE).unlink()
    with pytest.raises(ModelError, match=r"cannot be loaded.*\n.*it needs open_clip_model.safetensors"):
        open_model(str(folder))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resize_mode", "largest"),
        ("std", [0.5, 0.0, 0.5]),
        ("mean", [0.5, 0.5]),
    ],
)
def test_preprocessing_that_open_clip_cannot_do(key: str, value: object, folder: Path) -> None:
    path = folder / checkpoint.CONFIG_FILE
    config = json.loads(path.read_text())
    config["preprocess_cfg"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"preprocess_cfg: pictures cannot be prepared"):
        open_model(str(folder))


@pytest.mark.parametrize("wrap", [dict, lambda weights: {"epoch": 3, "name": "x", "state_dict": weights}])
@pytest.mark.parametrize("architecture", ["tiny-vit", str(CONFIG_FOLDER / "tiny-vit.json")])
def test_a_file_of_torch(wrap, architecture: str, model: Clip, tmp_path: Path) -> None:
    path = tmp_path / "epoch_3.pt"
    torch.save(wrap(model.model.state_dict()), path)
    opened = open_model(str(path), model=architecture)
    assert same(opened.clip, model)
    assert opened.clip.model_cfg == model.model_cfg
    assert len(opened.sha256) == 64


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"vision_cfg": {"image_size": 64}}, r"visual\.positional_embedding from \(17, \d+\) to \(65, \d+\)"),
        ({"text_cfg": {"context_length": 8}}, r"positional_embedding from \(\d+, \d+\) to \(8, \d+\)"),
    ],
)
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_of_another_size_are_noted(
    cfg: dict[str, dict[str, int]], said: str, ending: str, model: Clip, folder: Path, tmp_path: Path
) -> None:
    weights = folder / checkpoint.WEIGHTS_FILE
    if ending == "pt":
        weights = tmp_path / "weights.pt"
        torch.save(model.model.state_dict(), weights)
    changed = json.loads((CONFIG_FOLDER / "tiny-vit.json").read_text())
    for part, fields in cfg.items():
        changed[part] |= fields
    (tmp_path / "other.json").write_text(json.dumps(changed))
    found = open_model(str(weights), model=str(tmp_path / "other.json"))
    assert re.search(f"interpolated, {said}: these weights were trained with another", found.note)


class RunsCode:
    """What a pickle does to whoever loads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran-code"),))


def test_a_pickle_that_wants_more_than_weights_is_refused(
    model: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": model.model.state_dict(), "args": RunsCode()}, "evil.pt")
    with pytest.raises(ModelError, match=r"(?s)could run code.*save its state dict alone, once"):
        open_model("evil.pt", model="tiny-vit")
    assert not Path("ran-code").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"model": {"a": torch.ones(2)}, "epoch": 3}, r"(?s)got 'model, epoch'.*torch\.load\(FILE\)\[KEY\]"),
        ({"state_dict": {}}, "no weights by name"),
        ([torch.ones(2)], "no weights by name"),
    ],
)
def test_weights_that_lie_elsewhere_in_the_file(content: object, match: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=match):
        open_model(str(tmp_path / "x.pt"), model="tiny-vit")


def test_published_weights_get_the_activation_and_the_preprocessing_they_were_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for an architecture whose published weights were trained otherwise than its name says.
    plain = build("tiny-vit", seed=5)
    published = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    monkeypatch.setattr("open_clip.list_pretrained_tags_by_model", lambda name: ["theirs"])
    monkeypatch.setattr("open_clip.get_pretrained_cfg", lambda *_: {**published, "quick_gelu": True})
    torch.save(plain.model.state_dict(), tmp_path / "x.pt")
    opened = open_model(str(tmp_path / "x.pt"), model="tiny-vit:theirs")
    assert same(opened.clip, plain)
    assert opened.note == ""
    assert opened.clip.quick_gelu
    assert activations(opened.clip.model) == ("QuickGELU",)
    assert published.items() <= opened.clip.preprocess_cfg.items()
    checkpoint.save(opened.clip, tmp_path / "saved")
    assert activations(open_model(str(tmp_path / "saved")).clip.model) == ("QuickGELU",)

    bare = open_model(str(tmp_path / "x.pt"), model="tiny-vit")
    assert activations(bare.clip.model) == ("GELU",)
    assert "name them: --model tiny-vit:TAG, TAG one of theirs" in bare.note


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02h\x00."])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_that_holds_no_weights(content: bytes, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"x.{ending}").write_bytes(content)
    with pytest.raises(ModelError, match="not readable as plain weights"):
        open_model(str(tmp_path / f"x.{ending}"), model="tiny-vit")


def test_weights_of_another_architecture(folder: Path) -> None:
    with pytest.raises(ModelError, match="these weights do not fit the model ViT-B-32"):
        open_model(str(folder / checkpoint.WEIGHTS_FILE), model="ViT-B-32")


@pytest.mark.parametrize(
    ("source", "architecture", "match"),
    [
        ("{folder}/open_clip_model.safetensors", None, "add --model"),
        ("{folder}/open_clip_config.json", "tiny-vit", "not a file of weights"),
        ("{folder}", "tiny-vit", "leave --model out"),
        ("no/such/folder", None, "there is no such checkpoint"),
        ("ViT-B-32", None, "there is no such checkpoint"),
        ("ViT-B-32:openay", None, "did you mean 'openai'"),
        ("ViT-B-33:openai", None, "did you mean 'ViT-B-32'"),
        ("tiny-vit:openai", None, "no published weights of this architecture"),
    ],
)
def test_a_mistake_says_the_way_out(source: str, architecture: str | None, match: str, folder: Path) -> None:
    with pytest.raises(ModelError, match=match):
        open_model(source.format(folder=folder), model=architecture)


@pytest.mark.parametrize("source", ["ViT-B-32:laion2b_s34b_b79k", "hf-hub:no-one/no-such-model"])
def test_without_a_network_a_published_model_is_a_plain_error(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=r"(?s)neither in the cache nor.*needs a network once"):
        open_model(source)


def test_a_hash_knows_values_names_and_types() -> None:
    model = torch.nn.Linear(3, 3)
    before = state_hash(model)
    assert state_hash(model) == before
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert state_hash(model) != before
    assert state_hash(torch.nn.Sequential(model)) != state_hash(model)
    assert state_hash(model.double()) != state_hash(model.float())
