"""SugarCrepe's official files, all of them, on stand-ins for its pictures.

Run it with PGSBENCH_SUGARCREPE=FOLDER_OF_THE_SEVEN_JSON_FILES and `pytest -m slow -s` on this file.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import image_caption_selection

from pgsbench.data.tar import EncodedImage
from pgsbench.evaluation.availability import PRESENT, survey
from pgsbench.evaluation.evaluate import evaluate
from pgsbench.evaluation.suite import load_suite
from pgsbench.models import clip
from pgsbench.models.transform import eval_transform

OFFICIAL = os.environ.get("PGSBENCH_SUGARCREPE", "")


@pytest.mark.slow
@pytest.mark.skipif(not OFFICIAL, reason="PGSBENCH_SUGARCREPE does not name the folder of the official files")
def test_each_picture_is_encoded_once_and_the_numbers_are_clip_benchmarks(
    make_picture: Callable[..., EncodedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSBENCH_DATA", str(tmp_path))
    tiny = clip.build("tiny-vit", seed=3)  # its weights as they are: no similarities that only rounding parts
    folder = tmp_path / "sugar_crepe"
    (folder / "val2017").mkdir(parents=True)
    names = set()
    for path in Path(OFFICIAL).glob("*.json"):
        shutil.copy(path, folder)
        names |= {entry["filename"] for entry in json.loads(path.read_text()).values()}
    for number, name in enumerate(sorted(names)):
        (folder / "val2017" / name).write_bytes(make_picture(number, kind="jpg").data)
    suite = load_suite("sugarcrepe-7")
    assert {one.state for one in survey(suite)} == {PRESENT}  # of the known sizes, too
    tiny.model.eval()
    encode_image, sizes = tiny.model.encode_image, []

    def counted(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(len(batch))
        return encode_image(batch)

    monkeypatch.setattr(tiny.model, "encode_image", counted)
    report = evaluate(tiny, suite, out=tmp_path / "out")
    monkeypatch.undo()
    assert sum(sizes) == report.num_images == len(names) == 1560
    assert sum(score.n for score in report.scores) == 7511
    print(f"\n{sum(sizes)} pictures encoded, {report.num_texts} texts")
    for score in report.scores:
        dataset = build_dataset(
            score.task,
            root=str(folder),
            transform=eval_transform(tiny.preprocess_cfg),
            task="image_caption_selection",
        )
        collate = get_dataset_collate_fn(score.task)
        loader = torch.utils.data.DataLoader(dataset, batch_size=256, collate_fn=collate)
        theirs = image_caption_selection.evaluate(tiny.model, loader, tiny.tokenize, "cpu", amp=False)["acc"]
        ties = sum(int(note.split()[0]) for note in score.notes if "tie" in note)  # wrong here, right there
        print(f"{score.task}: {score.n} pairs, {score.value:.4f}, clip_benchmark {theirs:.4f}, {ties} ties")
        assert score.value <= theirs + 1e-6
        assert theirs - score.value <= ties / score.n + 1e-6
