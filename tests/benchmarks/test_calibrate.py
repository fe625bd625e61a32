"""Whether a published number is met: at the right one, at a wrong one, and where nothing compares."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tinyworld import TinyWorld

from benchmarks.calibrate import calibrate, published, published_score, suite_of
from pgsbench.errors import ConfigError, ModelError
from pgsbench.models import checkpoint
from pgsbench.models.clip import build
from pgsbench.models.source import open_model


def test_it_passes_at_the_right_number_and_misses_at_another(tiny: TinyWorld, tmp_path: Path) -> None:
    checkpoint.save(build("tiny-vit", seed=3), tmp_path / "model")
    data = tmp_path / "colour"
    shutil.copytree(tiny.folder / "colour", data)

    def found(expected: float):
        weights = tmp_path / "model"
        return calibrate("tiny-vit:mine", str(data), weights=weights, expected=expected, device="cpu")

    first = found(0.0)
    assert first.num_pictures > 0
    assert replace(first, expected=first.found, notes=()).passes
    assert found(first.found).passes == (not first.notes)
    assert str(replace(first, expected=first.found - 0.3, notes=())).startswith("MISS by +30.00 points")
    names = data / "classnames.txt"
    names.write_text(names.read_text() + "mauve\n")  # a class without a picture
    marked = found(first.found)
    assert not marked.passes
    assert "NO VERDICT (" in str(marked)
    assert "1 of 4 classes have no picture" in str(marked)


def test_it_takes_the_public_set_where_a_folder_bears_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stl10").mkdir()
    assert suite_of("stl10").tasks[0].data == "clip_benchmark:stl10"
    assert suite_of("./stl10").tasks[0].data == str(tmp_path / "stl10")


def test_a_row_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ViT-B-32:openai'"):
        published_score("ViT-B-32:opena", "vtab/cifar100")
    with pytest.raises(ConfigError, match="did you mean 'vtab/cifar100'"):
        published_score("ViT-B-32:openai", "cifr100")


def test_every_published_model_is_built_with_the_activation_it_was_trained_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, object] = {}

    def create_model(name: str, **options: object) -> None:
        asked.update(options)
        raise RuntimeError("enough")

    monkeypatch.setattr("open_clip.create_model", create_model)
    for source in published():
        with pytest.raises(ModelError, match="enough"):
            open_model(source)
        assert asked["force_quick_gelu"] is True, source  # all of them are OpenAI's
