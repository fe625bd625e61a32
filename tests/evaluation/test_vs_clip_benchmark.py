"""Our numbers against clip_benchmark's own functions on the same files: equal, or why they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval

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


def test_classifiers_equal_clip_benchmarks(tiny: Clip, data: Path, encode: Encoder) -> None:
    dataset = wds_loader(tiny, data / "classes").dataset
    known = (dataset.classes, dataset.templates)
    weights = zeroshot_classification.zero_shot_classifier(
        tiny.model.eval(), tiny.tokenize, *known, "cpu", amp=False
    )
    torch.testing.assert_close(class_embeddings(encode, *known).T, weights, atol=1e-6, rtol=0)
