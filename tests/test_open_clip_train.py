"""open_clip_train trains with our masks, and its trainings are evaluated and compared as arms."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import open_clip
import pytest
import torch
import torch.multiprocessing
from no_figures import no_figures
from open_clip.transformer import PatchDropout
from PIL import Image
from tinyworld import TinyWorld, picture

from pgsbench import open_clip_train
from pgsbench.cli import main as cli
from pgsbench.errors import ConfigError, ModelError
from pgsbench.masking.base import num_kept
from pgsbench.models.foreign import Foreign
from pgsbench.models.source import open_model

pytestmark = pytest.mark.filterwarnings("ignore")  # open_clip_train's own

NUM_PAIRS, BATCH = 48, 12
COMMON = (
    "--model tiny-vit --device cpu --precision fp32 --workers 0 --warmup 2 --lr 1e-3 "
    f"--batch-size {BATCH} --train-num-samples {NUM_PAIRS} --csv-separator ,"
).split()


@contextmanager
def quiet() -> Iterator[None]:
    """Take back what open_clip_train does to the loggers of its process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        for handler in set(logging.root.handlers) - set(handlers):
            logging.root.removeHandler(handler)
            handler.close()
        logging.root.setLevel(level)


def train(folder: Path, name: str, *more: str) -> Path:
    with quiet():
        words = [*COMMON, "--train-data", f"{folder}/pairs.csv", "--logs", f"{folder}/logs", "--name", name]
        assert open_clip_train.main([*words, *more]) == 0
    return folder / "logs" / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, and trainings with each mask and two seeds."""
    folder = tmp_path_factory.mktemp("open_clip_train")
    lines = ["filepath,title"]
    for number in range(NUM_PAIRS):
        pixels, _, colour = picture(number)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{folder}/{number}.png,a {colour} square on a grey ground")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    for seed in "01":
        for mask in ("none", "random", "pgs"):
            ratio = [] if mask == "none" else ["--mask-ratio", "0.5"]
            train(folder, f"{mask}-s{seed}", "--mask", mask, *ratio, "--seed", seed, "--epochs", "1")
    return folder


def logged(run: Path) -> dict[str, float]:
    """What the mask has told at the end."""
    lines = [line.rpartition("| mask: ")[2] for line in (run / "out.log").read_text().splitlines()]
    found: dict[str, float] = json.loads(next(line for line in lines if line.startswith('{"mask_ratio_eff')))
    return found


def test_its_main_trains_with_our_masks(folder: Path) -> None:
    weights = {}
    for mask, kept in (("none", 16), ("random", 8), ("pgs", 8)):
        run = folder / "logs" / f"{mask}-s0"
        assert logged(run)["tokens_kept"] == kept
        weights[mask] = torch.load(run / "checkpoints" / "epoch_1.pt")["state_dict"]
        plain = open_clip.create_model("tiny-vit")
        plain.load_state_dict(weights[mask])  # strictly: the state dict is open_clip's own
    projections = [one["visual.proj"] for one in weights.values()]
    assert not torch.equal(projections[0], projections[1])
    assert not torch.equal(projections[1], projections[2])


@pytest.mark.parametrize("side", [7, 14, 16, 24])
@pytest.mark.parametrize("ratio", [0.25, 0.3, 0.5, 0.6, 0.75, 0.9])
def test_random_keeps_as_many_patches_as_its_own_patch_dropout(side: int, ratio: float) -> None:
    theirs = PatchDropout(ratio)(torch.zeros(1, 1 + side**2, 2))
    assert theirs.shape[1] - 1 == num_kept(side**2, ratio)


def test_captions_are_masked_and_progress_follows_from_the_steps(folder: Path) -> None:
    more = ("--mask", "none", "--mask-set", "text.strategy=truncate", "--mask-set", "text.keep=5")
    run = train(folder, "texts", *more, "--epochs", "1")
    assert logged(run)["text_tokens"] == 5
    assert Foreign.read(run).mask == {"name": "none", "text": {"strategy": "truncate", "keep": 5}}


def test_a_resumed_training_goes_on_with_its_masks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    attach = open_clip_train.attach
    monkeypatch.setattr(
        open_clip_train,
        "attach",
        lambda *args, **more: seen.append((more["steps"], more["steps_done"])) or attach(*args, **more),
    )
    train(folder, "cut", "--mask", "pgs", "--epochs", "1")
    train(folder, "cut", "--mask", "pgs", "--epochs", "3", "--resume", "latest")
    train(folder, "csv", "--mask", "pgs", "--epochs", "1", "--train-num-samples", "0")
    assert seen == [(4, 0), (12, 4), (None, 0)]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--force-patch-dropout", "0.5"], "--force-patch-dropout: the mask takes the place"),
        (["--torchscript"], "--torchscript: a scripted model"),
        (["--mask-set", "views=2"], "one view of a picture"),
        (["--mask-set", "nonsense"], "path=value"),
        (["--mask-set", "colour=2"], "unknown field"),
    ],
)
def test_what_does_not_go_together_is_said(folder: Path, words: list[str], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        train(folder, "refused", "--mask", "random", "--epochs", "1", *words)


def test_the_other_main_is_whole_again(folder: Path) -> None:
    from open_clip_train import main as trainer

    assert trainer.create_model_and_transforms is open_clip.create_model_and_transforms


def test_its_trainings_become_the_arms_of_a_study(
    folder: Path, tiny: TinyWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [str(folder / "logs" / f"{mask}-s{seed}") for mask in ("pgs", "random", "none") for seed in "01"]
    words = ["runs", "import", *runs, "--study", "theirs", "--suite", str(tiny.suite), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["pgsbench", *words])
    with pytest.raises(SystemExit) as end, no_figures():
        cli()
    assert not end.value.code
    report = "".join(Path("reports/theirs", name).read_text() for name in ("report.md", "details.md"))
    assert all(f"| {arm} |" in report for arm in ("pgs", "random", "none"))
    assert "6 runs" in report or "seeds 2" in report
    assert "pgs − random" in report
    assert "tiny-vit, trained on 48 pairs of" in report
    assert "Not known are the pairs that were seen and their order" in report
    for done in Path("runs/theirs").glob("*/DONE"):
        assert not (done.parent / "summary.json").exists()
        source = folder / "logs" / done.parent.name.rpartition("-")[0] / "checkpoints" / "epoch_1.pt"
        ours = open_model(str(done.parent)).clip.model.state_dict()
        assert all(torch.equal(ours[key], value) for key, value in torch.load(source)["state_dict"].items())


def test_its_own_patch_dropout_is_read_from_its_parameters(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("epoch_1.pt", "epoch_10.pt", "epoch_2.pt"):
        (run / "checkpoints" / name).touch()
    params = (folder / "logs" / "none-s0" / "params.txt").read_text()
    (run / "params.txt").write_text(params.replace("force_patch_dropout: None", "force_patch_dropout: 0.75"))
    found = Foreign.read(run)
    assert found.mask == {"name": "random", "mask_ratio": 0.75}
    assert found.weights.name == "epoch_10.pt"
    assert found.steps is None


def test_a_model_that_was_changed_beyond_what_is_known_is_refused(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "epoch_1.pt").touch()
    params = (folder / "logs" / "none-s0" / "params.txt").read_text()
    (run / "params.txt").write_text(params.replace("image_mean: None", "image_mean: [0.5, 0.5, 0.5]"))
    with pytest.raises(ModelError, match="changed by image_mean"):
        open_model(str(run))
    with pytest.raises(ModelError, match="no training of open_clip_train"):
        Foreign.read(tmp_path)


def one_of(rank: int, port: int, words: list[str]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    # Its main names the device, which torch refuses for a CPU.
    parallel = torch.nn.parallel.DistributedDataParallel
    torch.nn.parallel.DistributedDataParallel = lambda model, device_ids: parallel(model)  # type: ignore[misc,assignment]
    open_clip_train.main(words)


@pytest.mark.slow
def test_two_processes_train_one_model(folder: Path) -> None:
    words = [*COMMON, "--train-data", f"{folder}/pairs.csv", "--logs", f"{folder}/logs", "--name", "two"]
    words += [
        "--mask",
        "pgs",
        "--epochs",
        "2",
        "--dist-backend",
        "gloo",
        "--local-loss",
        "--gather-with-grad",
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of, (port, words), nprocs=2)
    run = Foreign.read(folder / "logs" / "two")
    assert (run.params["world_size"], run.steps) == (2, 2 * NUM_PAIRS // (2 * BATCH))
    assert logged(run.folder)["tokens_kept"] == 8
