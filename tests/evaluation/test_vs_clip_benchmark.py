"""Our numbers against clip_benchmark's own functions on the same model and the same files."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from pgsbench.data import evalset
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.evaluation.embed import Encoder
from pgsbench.evaluation.evaluate import checked_size
from pgsbench.evaluation.protocols.compositional import Compositional
from pgsbench.evaluation.protocols.multilabel import MultiLabel, pseudo_values
from pgsbench.evaluation.protocols.retrieval import Retrieval
from pgsbench.evaluation.protocols.winoground import Winoground, read_examples
from pgsbench.evaluation.protocols.zero_shot import ZeroShot, class_embeddings
from pgsbench.evaluation.suite import Task
from pgsbench.models.clip import Clip
from pgsbench.models.transform import eval_transform

# webdataset wants clip_benchmark to say what it does about shuffling.
pytestmark = pytest.mark.filterwarnings("ignore:WebDataset:UserWarning")


@pytest.fixture
def quiet_tiny(tiny: Clip) -> Clip:
    """clip_benchmark's functions leave the mode as it is; its command line calls eval()."""
    tiny.model.eval()
    return tiny


def wds_loader(tiny: Clip, folder: Path, task: str) -> torch.utils.data.DataLoader:
    transform = eval_transform(tiny.preprocess_cfg)
    dataset = build_dataset("wds/x", root=str(folder), transform=transform, split="test", task=task)
    return torch.utils.data.DataLoader(dataset.batched(13), batch_size=None)


def by_metric(measurements) -> dict[str, float]:
    return {m.metric: m.value for m in measurements}


@pytest.mark.parametrize("name", ["classes", "two"])
def test_zero_shot_equals_clip_benchmark(name: str, quiet_tiny: Clip, data: Path, encode: Encoder) -> None:
    loader = wds_loader(quiet_tiny, data / name, "zeroshot_classification")
    dataset = loader.dataset
    weights = zeroshot_classification.zero_shot_classifier(
        quiet_tiny.model, quiet_tiny.tokenize, dataset.classes, dataset.templates, "cpu", amp=False
    )
    logits, target = zeroshot_classification.run_classification(
        quiet_tiny.model, weights, loader, "cpu", amp=False
    )
    # clip_benchmark's own accuracy() raises on numpy >= 2.4; this is its definition.
    hits = logits.topk(min(5, logits.shape[1]), dim=1)[1] == target[:, None]
    expected = {
        "acc1": hits[:, :1].any(1).float().mean().item(),
        "mean_per_class_recall": balanced_accuracy_score(target, logits.argmax(1)),
    }
    if name == "classes":
        expected["acc5"] = hits.any(1).float().mean().item()

    found = by_metric(ZeroShot().measure(data / name, encode))

    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < found["acc1"] < 1
    ours = class_embeddings(encode, dataset.classes, dataset.templates)
    torch.testing.assert_close(ours.T, weights, atol=1e-6, rtol=0)


@pytest.fixture
def labels(data: Path, tmp_path: Path) -> Path:
    """The pictures of `classes`, each with one to three of the six classes but the last, which none shows."""
    folder = shutil.copytree(data / "classes", tmp_path / "labels")
    (folder / "dataset_type.txt").write_text("multilabel\n")
    samples = []
    for i, (key, parts) in enumerate(evalset.read_split(folder)):
        file = io.BytesIO()
        np.save(file, np.isin(np.arange(6), [i % 5, i % 3, i % 4]).astype(np.int64))
        image = {kind: content for kind, content in parts.items() if kind != "cls"}
        samples.append((key, {**image, "npy": file.getvalue()}))
    write_tar(folder / "test" / "0.tar", samples)
    (folder / "test" / "nshards.txt").write_text("1\n")
    return folder


def test_average_precision_equals_clip_benchmark(quiet_tiny: Clip, labels: Path, encode: Encoder) -> None:
    loader = wds_loader(quiet_tiny, labels, "zeroshot_classification")
    dataset = loader.dataset
    theirs = zeroshot_classification.evaluate(
        quiet_tiny.model, loader, quiet_tiny.tokenize, dataset.classes, dataset.templates, "cpu", amp=False
    )
    (found,) = MultiLabel().measure(labels, encode)
    # There a class that no picture shows counts as 0.
    assert found.value * 5 / 6 == pytest.approx(theirs["mean_average_precision"], abs=1e-6)
    assert found.notes == ("1 of 6 classes have no picture",)
    assert len(set(found.items)) == len(found.items) == 60
    task = Task("a", str(labels), MultiLabel(), "multilabel", found.metric, "g", size=60)
    assert checked_size(task, [found])[0].notes == found.notes


def test_a_picture_that_is_there_twice_with_other_classes_is_reported(labels: Path, encode: Encoder) -> None:
    samples = list(evalset.read_split(labels))
    (_, first), (_, second) = samples[:2]
    image = {key: part for key, part in first.items() if key != "npy"}
    more = [("twin", first), ("other", {**image, "npy": second["npy"]})]
    write_tar(labels / "test" / "0.tar", samples + more[:1])
    (found,) = MultiLabel().measure(labels, encode)
    assert (found.num_ties, len(found.notes)) == (0, 1)  # one picture twice, but with the same classes
    write_tar(labels / "test" / "0.tar", samples + more)
    (found,) = MultiLabel().measure(labels, encode)
    assert found.num_ties == 3
    assert found.notes[1:] == ("3 pictures are the same as one with other classes and tie with it",)


def test_of_equal_pictures_those_without_the_class_rank_first() -> None:
    shows = np.array([[True], [False], [True], [False]])
    scores = np.array([[0.5], [0.5], [0.9], [0.1]], np.float32)
    assert pseudo_values(scores, shows).mean() == pytest.approx((1 + 2 / 3) / 2)


def test_retrieval_equals_clip_benchmark(quiet_tiny: Clip, data: Path, encode: Encoder) -> None:
    loader = wds_loader(quiet_tiny, data / "retrieval", "zeroshot_retrieval")
    theirs = zeroshot_retrieval.evaluate(
        quiet_tiny.model, loader, quiet_tiny.tokenize, "cpu", amp=False, recall_k_list=[1, 5, 10, 30]
    )
    expected = {key.replace("_retrieval_recall@", "_recall_at_"): value for key, value in theirs.items()}

    found = by_metric(Retrieval(recall_at=(1, 5, 10, 30)).measure(data / "retrieval", encode))

    assert found == pytest.approx(expected, abs=1e-6)
    assert 0 < found["image_recall_at_10"] < 1


@pytest.mark.parametrize("subset", ["swap_att", "add_obj"])
def test_sugarcrepe_equals_clip_benchmark(
    subset: str, quiet_tiny: Clip, data: Path, encode: Encoder, tmp_path: Path
) -> None:
    transform = eval_transform(quiet_tiny.preprocess_cfg)
    name = f"sugar_crepe/{subset}"
    root = str(data / "pairs")
    dataset = build_dataset(name, root=root, transform=transform, task="image_caption_selection")
    # Its transform resizes before it converts to RGB; all our files are RGB.
    loader = torch.utils.data.DataLoader(dataset, batch_size=7, collate_fn=get_dataset_collate_fn(name))
    theirs = image_caption_selection.evaluate(quiet_tiny.model, loader, quiet_tiny.tokenize, "cpu", amp=False)

    (found,) = Compositional(subset).measure(data / "pairs", encode)

    assert found.value == pytest.approx(theirs["acc"], abs=1e-6)
    assert 0.1 < found.value < 0.9
    assert np.isin(found.correct, (0, 1)).all()


def write_winoground(folder: Path, num_examples: int, make_picture: Callable[..., EncodedImage]) -> None:
    (folder / "images").mkdir(parents=True)
    lines = []
    for i in range(num_examples):
        for side in (0, 1):
            (folder / "images" / f"ex_{i}_img_{side}.png").write_bytes(make_picture(2 * i + side).data)
        entry = {f"image_{side}": f"ex_{i}_img_{side}" for side in (0, 1)}
        captions = {"caption_0": f"tree {i} under dog", "caption_1": f"dog under tree {i}"}
        lines.append(json.dumps({"id": i, **entry, **captions}))
    (folder / "examples.jsonl").write_text("\n".join(lines) + "\n")


def winoground_loader(tiny: Clip, folder: Path) -> list[tuple[torch.Tensor, list[list[str]]]]:
    """Batches as clip_benchmark's collate function makes them; its own reader needs the Hub."""
    transform = eval_transform(tiny.preprocess_cfg)
    pictures = [
        torch.stack([transform(Image.open(folder / "images" / name)) for name in example.images])
        for example in read_examples(folder)
    ]
    captions = [list(example.captions) for example in read_examples(folder)]
    return [(torch.stack(pictures[i : i + 7]), captions[i : i + 7]) for i in range(0, len(pictures), 7)]


def test_winoground_equals_clip_benchmark(
    quiet_tiny: Clip, encode: Encoder, make_picture: Callable[..., EncodedImage], tmp_path: Path
) -> None:
    write_winoground(tmp_path, 80, make_picture)
    theirs = image_caption_selection.evaluate(
        quiet_tiny.model, winoground_loader(quiet_tiny, tmp_path), quiet_tiny.tokenize, "cpu", amp=False
    )
    found = {m.metric: m for m in Winoground().measure(tmp_path, encode)}

    assert {name: m.value for name, m in found.items()} == pytest.approx(theirs, abs=1e-6)
    assert 0 < found["acc"].value <= min(found["text_acc"].value, found["image_acc"].value) < 1
    assert found["text_acc"].value != found["image_acc"].value
    chances = {name: m.chance for name, m in found.items()}
    assert chances == {"text_acc": 0.25, "image_acc": 0.25, "acc": pytest.approx(1 / 6)}
    assert encode.num_images == 160


def test_winoground_on_random_embeddings_is_at_chance_and_equal(
    tiny: Clip, make_picture: Callable[..., EncodedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_winoground(tmp_path, 400, make_picture)

    def random(batch: torch.Tensor) -> torch.Tensor:
        """A vector that depends on nothing but the content."""
        seeds = [int(row.double().abs().sum() * 1e4) % 2**31 for row in batch.flatten(1)]
        return torch.stack([torch.randn(32, generator=torch.Generator().manual_seed(s)) for s in seeds])

    monkeypatch.setattr(tiny.model, "encode_image", random)
    ids = {}

    def random_text(batch: torch.Tensor) -> torch.Tensor:
        texts = [tuple(row[: row.argmax() + 1].tolist()) for row in batch]  # padding is no content
        seeds = [ids.setdefault(text, 10_000 + len(ids)) for text in texts]
        return torch.stack([torch.randn(32, generator=torch.Generator().manual_seed(s)) for s in seeds])

    monkeypatch.setattr(tiny.model, "encode_text", random_text)
    loader = winoground_loader(tiny, tmp_path)
    theirs = image_caption_selection.evaluate(tiny.model, loader, tiny.tokenize, "cpu", amp=False)
    encoder = Encoder(tiny)
    found = {m.metric: m for m in Winoground().measure(tmp_path, encoder)}

    assert {name: m.value for name, m in found.items()} == pytest.approx(theirs, abs=1e-6)
    for measurement in found.values():  # within four standard errors
        error = (measurement.chance * (1 - measurement.chance) / 400) ** 0.5
        assert abs(measurement.value - measurement.chance) < 4 * error
