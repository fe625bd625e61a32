"""Our numbers against clip_benchmark's own functions on the same files: equal, or why they are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval
from evalsets import picture

from pgsbench.data import evalset
from pgsbench.data.evalset import Pair
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.protocols.base import EvaluationProtocol
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.zero_shot import ZeroShot, class_embeddings
from pgsbench.models.clip import Clip
from pgsbench.models.openclip import eval_transform

# webdataset wants clip_benchmark to say what it does about shuffling.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset:UserWarning")

SWAP = Compositional("swap_att")


@pytest.fixture(autouse=True)
def its_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its accuracy() raises on numpy >= 2.4; this is its definition."""

    def accuracy(output: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...]) -> list[float]:
        hits = output.topk(max(topk), dim=1)[1] == target[:, None]
        return [hits[:, :k].any(1).float().mean().item() for k in topk]

    monkeypatch.setattr(zeroshot_classification, "accuracy", accuracy)


def wds_loader(
    tiny: Clip, folder: Path, task: str = "zeroshot_classification"
) -> torch.utils.data.DataLoader:
    transform = eval_transform(tiny.preprocess_cfg)
    dataset = build_dataset("wds/x", root=str(folder), transform=transform, split="test", task=task)
    return torch.utils.data.DataLoader(dataset.batched(13), batch_size=None)


def theirs(protocol: EvaluationProtocol, clip: Clip, folder: Path) -> dict[str, float]:
    """Return what clip_benchmark's functions say, under our names."""
    clip.model.eval()  # as its command line does
    tools = (clip.tokenize, "cpu")
    match protocol:
        case ZeroShot():
            loader = wds_loader(clip, folder)
            known = (loader.dataset.classes, loader.dataset.templates)
            found = zeroshot_classification.evaluate(
                clip.model, loader, clip.tokenize, *known, "cpu", amp=False
            )
        case Retrieval(recall_at):
            loader = wds_loader(clip, folder, "zeroshot_retrieval")
            found = zeroshot_retrieval.evaluate(
                clip.model, loader, *tools, amp=False, recall_k_list=list(recall_at)
            )
        case Compositional(subset):
            name, transform = f"sugar_crepe/{subset}", eval_transform(clip.preprocess_cfg)
            dataset = build_dataset(
                name, root=str(folder), transform=transform, task="image_caption_selection"
            )
            # Its transform resizes before it converts to RGB; all our files are RGB.
            collate = get_dataset_collate_fn(name)
            loader = torch.utils.data.DataLoader(dataset, batch_size=7, collate_fn=collate)
            found = image_caption_selection.evaluate(clip.model, loader, *tools, amp=False)
    return {name.replace("_retrieval_recall@", "_recall_at_"): value for name, value in found.items()}


def ours(protocol: EvaluationProtocol, clip: Clip, folder: Path) -> dict[str, float]:
    return {found.metric: found.value for found in protocol.measure(folder, Encoder(clip))}


# ------------------------------------------------------------------------------------------------ equal


@pytest.mark.parametrize(
    ("name", "protocol", "between"),
    [
        ("classes", ZeroShot(), "acc1"),
        ("two", ZeroShot(), "acc1"),
        ("retrieval", Retrieval((1, 5, 10, 30)), "image_recall_at_10"),
        ("pairs", SWAP, "acc"),
        ("pairs", Compositional("add_obj"), "acc"),
    ],
)
def test_scores_equal_clip_benchmarks(
    name: str, protocol: EvaluationProtocol, between: str, tiny: Clip, data: Path
) -> None:
    found, expected = ours(protocol, tiny, data / name), theirs(protocol, tiny, data / name)
    assert found == pytest.approx({metric: expected[metric] for metric in found}, abs=1e-6)
    assert 0.1 < found[between] < 0.9
    # It has more: NaN for two classes, and of one picture which picture is the nearest.
    assert set(expected) - set(found) <= {"acc5", "image_acc", "text_acc"}


# ---------------------------------------------------------------------------- where what it says is wrong


@pytest.fixture
def sets(data: Path, tmp_path: Path) -> Callable[[str], Path]:
    """From a name to its folder: the data sets of all tests, and two more."""

    def folder(name: str) -> Path:
        if name == "cut":  # SugarCrepe, the captions alike up to the context length
            long = "word " * 40
            pairs = [Pair("0", f"{long} cat", f"{long} dog"), Pair("0", f"{long} sea", f"{long} sky")]
            evalset.write_pairs(tmp_path, {"0": picture(0)}, {"swap_att": pairs})
        elif name == "shared":  # one caption of two pictures
            samples = [(key, picture(number), ["same"]) for number, key in enumerate("ab")]
            evalset.write_retrieval(tmp_path, samples)
        else:
            return data / name
        return tmp_path

    return folder


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
) -> None:
    what = (protocol, request.getfixturevalue(model), sets(name))
    assert said(theirs, metric, *what) == pytest.approx(expected, nan_ok=True)
    assert said(ours, metric, *what) == instead


def test_classifiers_equal_clip_benchmarks(tiny: Clip, data: Path, encode: Encoder) -> None:
    dataset = wds_loader(tiny, data / "classes").dataset
    known = (dataset.classes, dataset.templates)
    weights = zeroshot_classification.zero_shot_classifier(
        tiny.model.eval(), tiny.tokenize, *known, "cpu", amp=False
    )
    torch.testing.assert_close(class_embeddings(encode, *known).T, weights, atol=1e-6, rtol=0)
