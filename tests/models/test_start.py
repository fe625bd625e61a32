"""A training begins with weights: of a file or a run, at another image size, with a tower locked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pgsbench.config.schema import RunConfig
from pgsbench.config.training import TrainingConfig
from pgsbench.errors import ModelError
from pgsbench.models import checkpoint
from pgsbench.models.checkpoint import load
from pgsbench.models.clip import build
from pgsbench.models.start import build_for, pretrained_id, weights_file
from pgsbench.training.optim import adamw


def config(**model: object) -> RunConfig:
    return RunConfig.model_validate({"model": {"name": "tiny-vit", **model}})


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    checkpoint.save(build("tiny-vit", seed=5), folder / "checkpoints" / "model")
    return folder


def test_a_training_begins_with_the_weights_of_a_run(run_directory: Path) -> None:
    file = run_directory / "checkpoints" / "model" / "open_clip_model.safetensors"
    expected = build("tiny-vit", seed=5).model.state_dict()
    for source in (run_directory, file.parent, file):
        found = build_for(config(pretrained=str(source)), seed=0).model.state_dict()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
        assert pretrained_id("tiny-vit", str(source)) == checkpoint.weights_hash(file.parent)
    assert pretrained_id("tiny-vit", None) == ""
    assert pretrained_id("ViT-B-32", "openai") == "openai", "a tag is known by itself"


@pytest.mark.parametrize("source", ["nowhere", "nowhere.pt"])
def test_weights_that_are_not_there_are_named(source: str) -> None:
    with pytest.raises(ModelError, match=r"model\.pretrained.*nowhere"):
        weights_file("tiny-vit", source)


def test_positions_are_interpolated_to_another_image_size(run_directory: Path, tmp_path: Path) -> None:
    clip = build_for(config(pretrained=str(run_directory), image_size=48), seed=0)
    old = build("tiny-vit", seed=5)
    visual: Any = clip.model.visual
    assert clip.image_size == (48, 48)
    before: Any = old.model.visual
    ratio = (48 / old.image_size[0]) ** 2
    assert len(visual.positional_embedding) - 1 == ratio * (len(before.positional_embedding) - 1)
    assert torch.equal(visual.positional_embedding[0], before.positional_embedding[0])
    checkpoint.save(clip, tmp_path)
    again = load(tmp_path)
    assert again.image_size == (48, 48)
    images = torch.randn(2, 3, 48, 48)
    assert torch.equal(again.model.encode_image(images), clip.model.eval().encode_image(images))  # type: ignore[operator]


@pytest.mark.parametrize(("tower", "frozen"), [("image", "visual.conv1.weight"), ("text", "text_projection")])
def test_a_locked_tower_is_not_trained(tower: str, frozen: str) -> None:
    clip = build_for(config(locked=tower), seed=0)
    parameters = dict(clip.model.named_parameters())
    assert not parameters[frozen].requires_grad
    assert parameters["logit_scale"].requires_grad
    locked = {name for name, value in parameters.items() if not value.requires_grad}
    assert all(name.startswith("visual.") == (tower == "image") for name in locked)
    trained = {id(p) for group in adamw(clip.model, TrainingConfig()).param_groups for p in group["params"]}
    assert trained == {id(value) for name, value in parameters.items() if name not in locked}


def test_a_model_for_the_sigmoid_loss_is_saved_and_loaded(tmp_path: Path) -> None:
    clip = build("tiny-vit", seed=0, siglip=True)
    model: Any = clip.model
    assert model.logit_bias.item() == -10
    assert model.logit_scale.exp().item() == pytest.approx(10)
    checkpoint.save(clip, tmp_path)
    again: Any = load(tmp_path).model
    assert again.logit_bias.item() == -10
