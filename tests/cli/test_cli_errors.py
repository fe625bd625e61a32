"""A user's mistake: a message that helps, exit status 2, no traceback; help with an example everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tinyworld import TinyWorld, png
from typer.main import get_command

from pgsbench.cli import data, main, masks, past, study_group
from pgsbench.cli.app import app
from pgsbench.errors import GO_ON
from pgsbench.study.open import open_study_file
from pgsbench.study.plan import Planner
from pgsbench.tracking.rundir import RunDir


def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Run a command line in this process; return (status, stdout, stderr)."""
    monkeypatch.setattr("sys.argv", ["pgsbench", *words])
    status = 0
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep", "no-such.yaml"), "there is no such study file"),
        (("sweep", "rato"), "did you mean 'ratio'?"),
        (("sweep", "studies/rato.yaml"), "did you mean 'ratio'?"),
        (("train", "."), "there is no such study file (got '.')"),
        (("train", ""), "there is no such study file (got '')"),
        (("masks", "diagnose", "."), "there are no shards here (got '.')"),
        (("masks", "diagnose", "/"), "there are no shards here (got '/')"),
        (("masks", "preview", ""), "there is no such picture"),
        (("sweep", "baselines"), "the study has nothing to search"),
        (("train", "{study}", "--output", "{study}"), "is no folder"),
        (("compare", "--study", "{study}", "--baselines", ""), "a comparison needs a baseline"),
        (("compare", "--study", "{study}", "--baselines", "pgs"), "cannot be compared with itself"),
        (("train", "{study}", "--set", "trainin.samples=9"), "did you mean 'training'?"),
        (("train", "{study}", "--set", "arms.flip.strategy=pgz"), "did you mean 'pgs'?"),
        (("train", "{study}", "--set", "strategy.mask_ratio=1.5"), "mask_ratio must be in [0, 1)"),
        (("train", "{study}", "--set", "strategy.taw=1"), "did you mean 'tau'?"),
        (("train", "{study}", "--device", "gpu"), "there is no such device (got 'gpu')"),
        (("train", "{study}", "--set", "data.train=/no/such/{0..1}.tar"), "2 of 2 shards are missing"),
        (("train", "{study}", "--set", "model=tiny-vitt", "--dry-run"), "did you mean 'tiny-vit'?"),
        (("train", "{study}", "--set", "evaluation.suite=senes"), "did you mean 'scenes'?"),
        (("train", "{study}", "--set", "evaluation.suite=winoground"), "winoground: no such folder"),
        (("sweep", "{study}", "--set", "search.space={strategy.mask_ratio: [0.5, 1.5]}"), "got 1.5"),
        (("compare", "--study", "{study}", "--baselines", "flop"), "did you mean 'flip'?"),
        (("evaluate", "{folder}"), "open_clip_config.json is missing"),
        (("evaluate", "no/such/run"), "there is no such checkpoint"),
        (("evaluate", "{shards}/00000.tar", "--model", "tiny-vit"), "not a file of weights"),
        (("evaluate", "runs:/abc/model"), "there is no MLflow store here"),
        (("evaluate", "runs:/abc/model", "--offline"), "there is no MLflow store here"),
        (("evaluate", "{folder}", "--suite", "clip_benchmark:./foo"), "clip_benchmark:./foo: name: "),
        (("data", "status", "clip_benchmark:-x"), "clip_benchmark:-x: name: "),
        (("report", "--output", "{folder}/empty"), "no study has run here"),
        (("masks", "show", "pgz"), "did you mean 'pgs'?"),
        (("masks", "preview"), "name either image files, a study or --data"),
        (("masks", "preview", "{folder}/no.jpg", "--model", "tiny-vit"), "there is no such picture"),
        (("masks", "preview", "{study}", "--strategies", "attentive"), "it needs the attention of a teacher"),
        (("masks", "preview", "--data", "scenes", "--to", "masks.txt"), "written as .png, .pdf, .svg"),
        (("masks", "preview", "{shards}/00000.tar", "--model", "tiny-vit"), "00000.tar: an image cannot be"),
        (("masks", "preview", "{study}", "--strategies", "pgz"), "did you mean 'pgs'?"),
        (("masks", "preview", "cat.jpg", "--mask-ratio", "1.5"), "--mask-ratio: must be in [0, 1)"),
        (("masks", "preview", "paper", "--mask-ratio", "0.6"), "0.6, arms.pgs-0.3.strategy.max_ratio: "),
        (("masks", "diagnose", "baselins"), "did you mean 'baselines'?"),
        (("masks", "diagnose", "scenes", "--strategies", "pgz"), "did you mean 'pgs'?"),
        (("masks", "diagnose", "/no/such/{0..1}.tar"), "2 of 2 shards are missing"),
        (("data", "make", "scene"), "did you mean 'scenes'?"),
        (("data", "status", "papre"), "did you mean 'paper'?"),
        (("evaluate", "ViT-B-32:openai", "--suite", "winoground"), "the suite lacks data"),
        (("data", "fetch", "paper", "--root", "{folder}", "--offline"), "not tried without a network: "),
        (("evaluate", "{folder}", "--to", "{study}"), "is no folder"),
        (("evaluate", "{folder}", "--to", "{study}/a/b"), "is no folder"),
        (("evaluate", "{folder}", "--suite", "{picture}"), "text must be UTF-8"),
        (("train", "{picture}"), "text must be UTF-8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_explained_and_exits_with_2(
    tiny: TinyWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(np.zeros((4, 4, 3), np.uint8)))
    places = {"{study}": tiny.study, "{shards}": tiny.shards, "{folder}": tmp_path, "{picture}": picture}
    filled = list(words)
    for name, path in places.items():
        filled = [word.replace(name, str(path)) for word in filled]
    status, _, err = call(capsys, monkeypatch, *filled)
    assert said in err
    assert status == 2
    assert "Traceback" not in err
    assert " object at 0x" not in err
    progress = r"(loading libraries and data \.\.\.\n)?(looking at the data: \d+/\d+\n)*"  # on a slow machine
    assert re.match(progress + "error: ", err)


def test_where_scores_cannot_be_written_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.F_OK and path.exists())
    status, _, err = call(capsys, monkeypatch, "evaluate", "no:such", "--to", str(tmp_path / "a/b"))
    assert status == 2
    assert (
        f"--to: scores cannot be written here: {tmp_path} may not be written to (got '{tmp_path}/a/b')" in err
    )


def test_a_mask_that_was_edited_after_the_training_is_refused(
    tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from dataclasses import dataclass\n"
        "from pgsbench.masking.random import Random\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Random):\n"
        "    pass\n"
    )
    study = open_study_file(tiny.study, overrides=[f"arms.mine.strategy={code}:Mine"])
    (spec,) = Planner(study).specs(["mine"])
    run = RunDir.create(tmp_path, spec)
    words = ["evaluate", str(run.path), "--suite", str(tiny.suite), "--with-mask"]
    assert "open_clip_config.json is missing" in call(capsys, monkeypatch, *words)[2]  # the mask will do
    code.write_text(f"{code.read_text()}# edited\n")
    status, _, err = call(capsys, monkeypatch, *words)
    assert status == 2
    assert "--with-mask: the code of this mask is not what the run" in err


def test_an_unreadable_shard_is_named_before_anything_is_trained(
    tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.tar").write_bytes(b"no archive")
    words = ["train", str(tiny.study), "--set", f"data.train={tmp_path}/0.tar", "--output", str(tmp_path)]
    status, _, err = call(capsys, monkeypatch, *words)
    assert (status, "0.tar: no sample can be used (got {'not an archive': 1})" in err) == (2, True)


def test_a_dry_run_says_what_would_happen_and_trains_nothing(
    tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = call(
        capsys, monkeypatch, "sweep", str(tiny.study), "--dry-run", "--output", str(tmp_path)
    )
    assert status == 0
    assert "6 runs, 6 to train" in out  # 2 arms x 2 ratios, and the references none and oracle
    assert "576 samples" in out
    assert "Less than a minute of training" in out
    assert not list(tmp_path.iterdir())


def test_offline_is_the_hubs_own_switch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    status, _, err = call(capsys, monkeypatch, "evaluate", str(tmp_path), "--offline")
    assert (status, os.environ["HF_HUB_OFFLINE"]) == (2, "1"), err


def test_fetching_makes_what_is_built_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr("pgsbench.data.store.ensure", lambda name, **_: made.append(name))
    status, out, _ = call(capsys, monkeypatch, "data", "fetch", "scenes")
    assert (status, made) == (0, ["scenes"])
    assert "fetched 0 data sets" in out


def test_a_dry_run_tells_the_share_that_is_dropped_not_the_share_that_is_hidden(
    tiny: TinyWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hiding = "arms.hiding.strategy={name: pgs, mask_ratio: 0.25, max_ratio: 0.75, threshold: -1}"
    asked = ("train", str(tiny.study), "--arm", "hiding", "--set", hiding, "--seeds", "1", "--dry-run")
    status, out, err = call(capsys, monkeypatch, *asked, "--output", str(tmp_path))
    assert status == 0, err
    lines = [line.split() for line in out.splitlines()]
    header, row = (next(line for line in lines if line[:1] == [first]) for first in ("run", "hiding"))
    assert (header[:2], row[:3]) == (["run", "dropped"], ["hiding", "s0", "0.25"])


def test_status_is_no_mistake_where_everything_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = call(capsys, monkeypatch, "data", "status", "paper", "--root", str(tmp_path))
    assert status == 0
    assert f"0of36datasetsarepresentunder{tmp_path}" in "".join(out.split())  # a terminal breaks long lines
    _, out, _ = call(capsys, monkeypatch, "data", "status", "paper", "--root", str(tmp_path), "--json")
    (rows,) = json.loads(out).values()
    assert [row["state"] for row in rows] == ["missing"] * 36
    row = next(row for row in rows if row["data set"] == "clip_benchmark:vtab/cifar10")
    assert (row["split"], row["known size"]) == ("test", 10_000)
    assert row["source"] == "hf.co/datasets/clip-benchmark/wds_vtab-cifar10"


def commands() -> list[tuple[str, ...]]:
    """Return the words of every command."""
    found: list[tuple[str, ...]] = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found += [(name, sub) for sub in inner] if inner else [(name,)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    status, out, _ = call(capsys, monkeypatch, *words, "--help")
    assert status == 0
    assert "Example: " in out
    assert f"pgsbench {' '.join(words)}" in out.partition("Example: ")[2]


def test_the_list_of_commands_has_whole_sentences() -> None:
    for tree in (app, past.runs, study_group.app, masks.app, data.app):
        for command in tree.registered_commands:
            assert command.short_help
            assert command.short_help.endswith(".")
            assert "(" not in command.short_help


@pytest.mark.parametrize(
    "words",
    ["evaluate x", "masks preview x", "masks diagnose x", "report x", "train x"],
)
def test_a_slow_command_says_at_once_that_it_has_begun(words: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pgsbench", *words.split()]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stderr.splitlines()
    before = lines[: lines.index("loading libraries and data ...")]
    imported = {line.rpartition("|")[2].strip() for line in before}
    assert "typer" in imported
    assert not imported & {"torch", "scipy", "pandas", "numpy"}


def test_the_names_of_the_commands_are_fixed() -> None:
    fixed = ["sweep", "compare", "train", "evaluate", "report", "sync", "ui"]
    fixed += [f"masks {name}" for name in ("ls", "show", "preview", "diagnose")]
    fixed += [f"data {name}" for name in ("make", "ls", "verify", "status", "fetch")]
    fixed += [f"study {name}" for name in ("ls", "show", "validate", "schema")]
    assert {" ".join(words) for words in commands()} >= set(fixed)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("masks", "ls"), "begins anew"),
        (("data", "make", "scenes"), "begins anew"),
        (("data", "fetch", "paper"), "goes on where it was"),
        (("train", "quick"), "goes on where it was"),
        (("evaluate", "model"), "goes on where it was"),
    ],
)
def test_an_interrupted_command_says_what_the_next_one_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperCommand.invoke", interrupted)
    status, _, err = call(capsys, monkeypatch, *words)
    assert status == 130
    assert err.endswith(f"\nstopped; the same command {said}\n")


def test_commands_that_go_on_are_commands() -> None:
    group = get_command(app)
    for name in GO_ON:
        first, *rest = name.split()
        assert first in group.commands  # type: ignore[attr-defined]
        assert all(word in group.commands[first].commands for word in rest)  # type: ignore[attr-defined]


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
                ("compare", "--study", "{study}", "--baselines", "flip", "--until", "decided", *asked, *dry),
                where,
            )
            for dry in ((), ("--dry-run",))
            for asked, where in (
                (("--margin", "nan"), "margin"),
                (("--margin", "inf"), "margin"),
                (("--margin", "-1"), "margin"),
                (("--margin", "120%"), "margin"),
                (("--max-seeds", "3"), "max-seeds"),
                (("--max-seeds", HUGE), "max-seeds"),
                (("--hours", "nan"), "--hours"),
            )
        ),
        (("plan", "{study}", "--device", "H100x99999999999"), "--device"),
        (("plan", "{study}", "--device", f"H100x{'9' * 5000}"), "--device"),
        (("plan", "{study}", "--seeds", HUGE), "--seeds"),
        (("evaluate", "{study}", "--limit", HUGE), "--limit"),
        (("evaluate", "{study}", "--batch-size", HUGE), "--batch-size"),
        (("masks", "diagnose", "{study}", "--batches", HUGE), "--batches"),
        (("masks", "diagnose", "{study}", "--seeds", HUGE), "--seeds"),
    ],
    ids=lambda value: " ".join(value)[:80] if isinstance(value, tuple) else None,
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_runs(
    tiny: TinyWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    where: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    filled = [word.replace("{study}", str(tiny.study)) for word in words]
    status, _, err = call(capsys, monkeypatch, *filled)
    assert status == 2, err
    assert re.search(rf"error: {where}|Invalid value for '{where}'", err)
    assert "Traceback" not in err
    assert not list(tmp_path.glob("runs/*/*-s*")), "a run was begun"
