"""A user's mistake: a message that helps, exit status 2, no traceback; help with an example everywhere."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commands import pgsbench
from tinyworld import TinyWorld, png
from typer.main import get_command

from pgsbench.cli.app import DAY, app


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", "no-such.yaml"), "there is no such study file"),
        (("sweep", "rato"), "\n  -> pgsbench sweep ratio\n"),
        (("compare", "--study", "baselines"), "-> --baselines none,flip,"),
        (("train", "{study}", "--on", "slrm"), "--on slurm\n"),
        (("sweep", "baselines"), "the study has nothing to search"),
        (("compare", "--study", "{study}", "--baselines", ""), "a comparison needs a baseline"),
        (("train", "{study}", "--device", "gpu"), "there is no such device (got 'gpu')"),
        (("train", "{study}", "--set", "model=tiny-vitt", "--dry-run"), "did you mean 'tiny-vit'?"),
        (("train", "{study}", "--set", "evaluation.suite=retrieval-3"), "wds_flickr8k: no such folder"),
        (("sweep", "{study}", "--set", "search.space={strategy.mask_ratio: [0.5, 1.5]}"), "got 1.5"),
        (("evaluate", "no/such/run"), "there is no such checkpoint"),
        (("evaluate", "x", "x"), "a checkpoint is named twice"),
        (("evaluate", "x", "--precision", "half"), "--precision: unknown precision"),
        (("evaluate", "{shards}/00000.tar", "--model", "tiny-vit"), "not a file of weights"),
        (("evaluate", "runs:/abc/model"), "there is no MLflow store here"),
        (("report", "--output", "{folder}/empty"), "no study has run here"),
        (("masks", "preview", "{study}", "--strategies", "attentive"), "it needs the attention of a teacher"),
        (("masks", "preview", "--data", "scenes", "--to", "masks.txt"), "written as .png, .pdf, .svg"),
        (("masks", "preview", "{shards}/00000.tar", "--model", "tiny-vit"), "00000.tar: not a picture"),
        (
            ("masks", "preview", "paper", "--mask-ratio", "0.6"),
            "arms.pgs-0.3.strategy.max_ratio: max_ratio must be at least mask_ratio",
        ),
        (("masks", "diagnose", "baselins"), "did you mean 'baselines'?"),
        (("data", "status", "papre"), "did you mean 'paper'?"),
        (("evaluate", "ViT-B-32:openai", "--suite", "retrieval-3"), "the suite lacks data"),
        (("data", "fetch", "paper", "--root", "{folder}", "--offline"), "not tried without a network: "),
        (("evaluate", "{folder}", "--to", "{study}"), "is no folder"),
        (("train", "{picture}"), "text must be UTF-8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_explained_and_exits_with_2(
    tiny: TinyWorld, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    places = {"{study}": tiny.study, "{shards}": tiny.shards, "{folder}": tmp_path, "{picture}": picture}
    filled = list(words)
    for name, path in places.items():
        filled = [word.replace(name, str(path)) for word in filled]
    done = pgsbench(tmp_path, *filled)
    assert said in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert " object at 0x" not in done.stderr
    progress = r"(loading libraries and data \.\.\.\n)?(counting pairs: \d+/\d+\n)*"  # on a slow machine
    assert re.match(progress + "error: ", done.stderr)


def test_a_dry_run_says_what_would_happen_and_trains_nothing(tiny: TinyWorld, tmp_path: Path) -> None:
    out = pgsbench(tmp_path, "sweep", str(tiny.study), "--dry-run").stdout
    assert "6 runs, 6 to train" in out  # 2 arms x 2 ratios, and the references none and oracle
    assert "576 samples" in out
    assert "Less than a minute of training" in out
    assert not list(tmp_path.iterdir())


def test_a_dry_run_tells_the_share_that_is_dropped_not_the_share_that_is_hidden(
    tiny: TinyWorld, tmp_path: Path
) -> None:
    hiding = "arms.hiding.strategy={name: pgs, mask_ratio: 0.25, max_ratio: 0.75, threshold: -1}"
    asked = ("train", str(tiny.study), "--arm", "hiding", "--set", hiding, "--seeds", "1", "--dry-run")
    lines = [line.split() for line in pgsbench(tmp_path, *asked).stdout.splitlines()]
    header, row = (next(line for line in lines if line[:1] == [first]) for first in ("run", "hiding"))
    assert (header[:2], row[:3]) == (["run", "dropped"], ["hiding", "s0", "0.25"])


def commands() -> list[tuple[str, ...]]:
    """Return the words of every command."""
    found: list[tuple[str, ...]] = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(name, sub) for sub in inner] if inner else [(name,)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = pgsbench(tmp_path, *words, "--help")
    assert done.returncode == 0
    assert f"pgsbench {' '.join(words)}" in done.stdout.partition("Example: ")[2]


def test_help_names_every_command_once_and_a_bare_call_four_that_there_are(tmp_path: Path) -> None:
    assert sorted(sum(DAY.values(), ())) == sorted(get_command(app).commands)  # type: ignore[attr-defined]
    begin = re.findall("  pgsbench (.*?)   ", pgsbench(tmp_path).stdout)
    assert len(begin) == 4
    for words in begin:
        first, second = words.split()[:1], words.split()[:2]
        assert {tuple(first), tuple(second)} & set(commands())


HUGE = str(10**20)


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("train", "{study}", "--seeds", HUGE, "--dry-run"), "--seeds"),
        (("train", "{study}", "--threads", HUGE, "--dry-run"), "--threads"),
        (("train", "{study}", "--jobs", "0", "--dry-run"), "--jobs"),
        (("sweep", "{study}", "--trials", HUGE, "--dry-run"), "--trials"),
        (("sweep", "{study}", "--confirm", HUGE, "--dry-run"), "--confirm"),
        (("scale", "{study}", "--budgets", "1e-300,1e-299,1e-298", "--dry-run"), "budgets"),
        (("scale", "{study}", "--budgets", "1,2,1e308"), "budgets"),
        (("scale", "{study}", "--budgets", "1,2,4", "--hold-out", "nan"), "hold-out"),
        *(
            (
                ("compare", "--study", "{study}", "--baselines", "flip", "--until", "decided", *asked),
                where,
            )
            for asked, where in (
                (("--margin", "nan"), "margin"),
                (("--margin", "-1"), "margin"),
                (("--margin", "120%"), "margin"),
                (("--max-seeds", HUGE), "max-seeds"),
                (("--hours", "nan"), "--hours"),
            )
        ),
        (("plan", "{study}", "--device", "H100x99999999999"), "--device"),
        (("plan", "{study}", "--seeds", HUGE), "--seeds"),
        (("evaluate", "{study}", "--limit", HUGE), "--limit"),
        (("evaluate", "{study}", "--batch-size", HUGE), "--batch-size"),
        (("masks", "diagnose", "{study}", "--batches", HUGE), "--batches"),
        (("masks", "diagnose", "{study}", "--seeds", HUGE), "--seeds"),
    ],
    ids=lambda value: " ".join(value)[:80] if isinstance(value, tuple) else None,
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_runs(
    tiny: TinyWorld, tmp_path: Path, words: tuple[str, ...], where: str
) -> None:
    done = pgsbench(tmp_path, *(word.replace("{study}", str(tiny.study)) for word in words))
    assert done.returncode == 2, done.stderr
    assert re.search(rf"error: {where}|Invalid value for '{where}'", done.stderr)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/*-s*")), "a run was begun"
