from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest

from pgsbench.errors import ModelError
from pgsbench.models import architectures
from pgsbench.models.clip import build
from pgsbench.models.pair_cost import sizes_of


def test_names_are_those_of_open_clip_and_ours() -> None:
    shipped = Path(open_clip.__file__).parent / "model_configs"  # other tests register models of their own
    known = [name for name in open_clip.list_models() if (shipped / f"{name}.json").is_file()]
    assert len(known) > 100
    for name in [*known, *architectures.builtin_names()]:
        architectures.check_name(name)


def test_a_size_may_be_a_pair(tmp_path: Path) -> None:
    file = tmp_path / "wide.json"
    config = {"embed_dim": 8, "vision_cfg": {"image_size": [32, 64], "patch_size": 8}, "text_cfg": {}}
    file.write_text(json.dumps(config))
    assert architectures.image_size_of(str(file)) == (32, 64)
    file.write_text(json.dumps(config | {"vision_cfg": {"image_size": "big"}}))
    with pytest.raises(ModelError, match=r"vision_cfg\.image_size.*'big'"):
        architectures.image_size_of(str(file))


def test_a_wrong_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ModelError, match="ViT-B-16"):
        architectures.check_name("ViT-B-166")
    architectures.check_name("hf-hub:owner/name")  # nobody is asked


def test_a_file_is_not_taken_for_the_model_of_its_name(tmp_path: Path) -> None:
    config = architectures.config_of("ViT-B-32")
    file = tmp_path / "ViT-B-32.json"
    file.write_text(json.dumps(config))
    architectures.check_name(str(file))  # a copy is what its name says
    file.write_text(json.dumps(config | {"vision_cfg": {**config["vision_cfg"], "layers": 2}}))
    with pytest.raises(ModelError, match="another model has this name") as caught:
        build(str(file), seed=0, device="meta")
    assert "rename the file" in caught.value.way_out
    assert len(build("ViT-B-32", seed=0, device="meta").model.visual.transformer.resblocks) == 12  # type: ignore[union-attr, arg-type]


def test_an_edited_file_has_other_sizes(tmp_path: Path) -> None:
    config = architectures.config_of("tiny-vit")
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(config))
    before = sizes_of(str(file))
    file.write_text(json.dumps(config | {"vision_cfg": {**config["vision_cfg"], "layers": 1}}))
    assert sizes_of(str(file)).num_blocks == 1 < before.num_blocks


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"embed_dim": 8}', "[" * 100_000])
def test_a_file_that_is_no_architecture(text: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    file.write_text(text)
    with pytest.raises(ModelError, match=r"odd\.json"):
        architectures.check_name(str(file))
