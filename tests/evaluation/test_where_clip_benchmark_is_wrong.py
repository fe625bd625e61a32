"""clip_benchmark's own functions where what they say is wrong, beside what ours say of the same."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval
from open_clip.transformer import PatchDropout
from test_vs_clip_benchmark import wds_loader

from pgsbench.data import evalset
from pgsbench.data.evalset import Pair
from pgsbench.data.tar import EncodedImage
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.base import EvaluationProtocol
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot
from pgsbench.models.clip import Clip
from pgsbench.models.transform import eval_transform

# webdataset wants clip_benchmark to say what it does about shuffling.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset:UserWarning")

SWAP = Compositional("swap_att")


@pytest.fixture
def sets(data: Path, tmp_path: Path, make_picture: Callable[..., EncodedImage]) -> Callable[[str], Path]:
    """From a name to its folder: the data sets of all tests, and three more."""

    def folder(name: str) -> Path:
        if name == "cut":  # SugarCrepe, the captions alike up to the context length
            long = "word " * 40
            pairs = [Pair("0", f"{long} cat", f"{long} dog"), Pair("0", f"{long} sea", f"{long} sky")]
            evalset.write_pairs(tmp_path, {"0": make_picture(0)}, {"swap_att": pairs})
        elif name == "shared":  # one caption of two pictures
            samples = [(key, make_picture(number), ["same"]) for number, key in enumerate("ab")]
            evalset.write_retrieval(tmp_path, samples)
        else:
            return data / name
        return tmp_path

    return folder


def theirs(protocol: EvaluationProtocol, clip: Clip, folder: Path) -> dict[str, float]:
    """Return what clip_benchmark's functions say, under our names."""
    clip.model.eval()  # as its command line does
    match protocol:
        case ZeroShot():
            loader = wds_loader(clip, folder, "zeroshot_classification")
            found = zeroshot_classification.evaluate(
                clip.model,
                loader,
                clip.tokenize,
                loader.dataset.classes,
                loader.dataset.templates,
                "cpu",
                amp=False,
            )
        case Retrieval(recall_at):
            found = zeroshot_retrieval.evaluate(
                clip.model,
                wds_loader(clip, folder, "zeroshot_retrieval"),
                clip.tokenize,
                "cpu",
                amp=False,
                recall_k_list=list(recall_at),
            )
        case Compositional(subset):
            name, transform = f"sugar_crepe/{subset}", eval_transform(clip.preprocess_cfg)
            dataset = build_dataset(
                name, root=str(folder), transform=transform, task="image_caption_selection"
            )
            collate = get_dataset_collate_fn(name)
            loader = torch.utils.data.DataLoader(dataset, batch_size=32, collate_fn=collate)
            found = image_caption_selection.evaluate(clip.model, loader, clip.tokenize, "cpu", amp=False)
    return {name.replace("_retrieval_recall@", "_recall_at_"): value for name, value in found.items()}


def ours(protocol: EvaluationProtocol, clip: Clip, folder: Path) -> dict[str, float]:
    return {found.metric: found.value for found in protocol.measure(folder, Encoder(clip))}


def said(side: Callable[..., dict[str, float]], metric: str, *what: object) -> float | str:
    """Return a side's value of a metric, ``"none"`` where it has none, or the name of what it raises."""
    try:
        return side(*what).get(metric, "none")
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("model", "name", "protocol", "metric", "expected", "instead"),
    [
        ("constant", "pairs", SWAP, "acc", 1.0, 0.0),  # the right caption comes first, and wins a tie
        ("constant", "two", ZeroShot(), "mean_per_class_recall", 0.5, 0.0),
        ("diverged", "pairs", SWAP, "acc", 1.0, "EvaluationError"),  # of NaN, too, the first is the largest
        ("diverged", "two", ZeroShot(), "mean_per_class_recall", 0.5, "EvaluationError"),
        ("tiny", "cut", SWAP, "acc", 1.0, 0.0),
        ("tiny", "pairs", SWAP, "image_acc", 1.0, "none"),  # of one picture, the nearest
        ("tiny", "two", ZeroShot(), "acc5", math.nan, "none"),
        ("tiny", "shared", Retrieval((1,)), "text_recall_at_1", 0.5, 0.0),  # one of the two, by accident
        ("tiny", "shared", Retrieval((3,)), "image_recall_at_3", "RuntimeError", "none"),
    ],
)
def test_where_clip_benchmark_is_wrong(
    model: str,
    name: str,
    protocol: EvaluationProtocol,
    metric: str,
    expected: float | str,
    instead: float | str,
    sets: Callable[[str], Path],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Its accuracy() raises on numpy >= 2.4, and only its other metrics are asked for here.
    monkeypatch.setattr(zeroshot_classification, "accuracy", lambda *_, topk: [0.0 for _ in topk])
    what = (protocol, request.getfixturevalue(model), sets(name))
    assert said(theirs, metric, *what) == pytest.approx(expected, nan_ok=True)
    assert said(ours, metric, *what) == instead


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="earlier numpy allows it")
def test_its_accuracy_raises_on_a_new_numpy() -> None:
    with pytest.raises(TypeError):
        zeroshot_classification.accuracy(torch.eye(2), torch.arange(2))


def test_a_model_in_training_mode_drops_patches_there_and_not_here(tiny: Clip, data: Path) -> None:
    model = copy.deepcopy(tiny.model).train()
    model.visual.patch_dropout = PatchDropout(0.5)
    training = Clip(model, tiny.tokenize, tiny.model_cfg, tiny.preprocess_cfg)
    classifier = torch.eye(32)
    first, second = (
        zeroshot_classification.run_classification(
            model, classifier, wds_loader(training, data / "two", "zeroshot_classification"), "cpu", amp=False
        )[0]
        for _ in range(2)
    )
    assert not torch.allclose(first, second)
    assert ours(ZeroShot(), training, data / "two") == ours(ZeroShot(), tiny, data / "two")
