"""Models: initial weights from the seed alone, checkpoints that plain open_clip loads."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch

from pgsbench.models import checkpoint
from pgsbench.models.architectures import CONFIG_FOLDER
from pgsbench.models.checkpoint import load
from pgsbench.models.clip import build


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(0)
    first = build("tiny-vit", seed=1).model.state_dict()
    torch.manual_seed(5)
    again, other = build("tiny-vit", seed=1).model.state_dict(), build("tiny-vit", seed=2).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.conv1.weight"], other["visual.conv1.weight"])


def test_the_word_embeddings_can_start_larger_and_nothing_else_changes() -> None:
    plain, larger = build("tiny-vit", seed=1).model, build("tiny-vit", seed=1, token_std=0.5).model
    words = larger.token_embedding.weight
    assert words[:-2].std().item() == pytest.approx(0.5, rel=1e-3)
    assert not words[-2:].any()  # start and end of text
    for name, value in plain.state_dict().items():
        if name != "token_embedding.weight":
            assert torch.equal(value, larger.state_dict()[name])


def test_plain_open_clip_loads_a_checkpoint(tmp_path: Path) -> None:
    clip = build("tiny-vit", seed=1)
    digest = checkpoint.save(clip, tmp_path)
    assert digest == checkpoint.weights_hash(tmp_path)
    theirs, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    ours = load(tmp_path)
    images, texts = torch.rand(2, 3, 32, 32), ours.tokenize(["a red square", "nothing"])
    theirs.eval()
    with torch.no_grad():
        assert torch.equal(theirs.encode_image(images), ours.model.encode_image(images))
        assert torch.equal(theirs.encode_text(texts), ours.model.encode_text(texts))
    assert not ours.model.training
    assert ours.tokenize(["a"]).shape == (1, 24)


def test_a_json_configuration_is_a_model(tmp_path: Path) -> None:
    config = json.loads((CONFIG_FOLDER / "tiny-vit.json").read_text())
    config["vision_cfg"]["image_size"] = 48
    (tmp_path / "wider.json").write_text(json.dumps(config))
    assert build(str(tmp_path / "wider.json"), seed=0).image_size == (48, 48)
