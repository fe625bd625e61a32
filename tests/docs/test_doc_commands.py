"""Every command on the pages parses, and runs unless it is marked `<!-- not run: ... -->`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from documented import PAGES, ROOT, Command, commands
from no_figures import no_figures
from tinyworld import TinyWorld, picture, png

from pgsbench.cli.app import app
from pgsbench.execution.estimate import Estimator
from pgsbench.experiment import run_once
from pgsbench.session.opening import open_study
from pgsbench.study.budget import PairSeconds
from pgsbench.worlds import scenes
from pgsbench.worlds.scenes import recipe_with

ALL = [command for page in PAGES for command in commands(page)]
OURS = [command for command in ALL if command.words[:1] == ["pgsbench"]]

#: The extras that can be installed.
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
#: What the pages call a run of the reader's.
RUN = ("RUN", "CHECKPOINT", "RUN_OR_CHECKPOINT")
#: The scenes of these tests.
SMALL = scenes.Recipe(
    num_train=512, train_shard=128, num_single=36, num_shifted=18, num_retrieval=40, num_pairs=10
)


def few_with(knobs: Mapping[str, float]) -> scenes.Recipe:
    return replace(SMALL, knobs=recipe_with(knobs).knobs)


def invoke(words: list[str], *, parse_only: bool = False) -> int:
    """Run `pgsbench` in this process, or only parse its words; return the exit status."""
    tree: Any = typer.main.get_command(app)
    if parse_only:
        _blunt(tree)
    try:
        return tree.main(words, prog_name="pgsbench", standalone_mode=False) or 0
    except SystemExit as end:
        return int(end.code or 0)


def _blunt(command: Any) -> None:
    for child in getattr(command, "commands", {}).values():
        _blunt(child)
    for option in command.params:
        if option.name in ("install_completion", "show_completion"):  # they act while they are parsed
            option.callback = None
    if not getattr(command, "commands", {}):
        command.callback = lambda **_: None


@pytest.fixture(scope="module")
def folder(tiny: TinyWorld, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages assume it: studies, pictures, shards, sets, the pages' own files, and a run."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "studies").symlink_to(ROOT / "studies")
    for name in ("photos", "shards", "sets"):
        (folder / name).mkdir()
    for number, name in enumerate(("cat.jpg", "dog.jpg", "photos/a.jpg")):
        (folder / name).write_bytes(png(picture(number, size=256)[0]))
    for number in range(11):
        (folder / f"shards/{number:05}.tar").symlink_to(tiny.shards / f"{number % 3:05}.tar")
    for name, data in (("kind", "colour"), ("find", "retrieval")):
        (folder / "sets" / name).symlink_to(tiny.folder / data)
    for page in PAGES:
        for name, text in re.findall(r"```\w+ title=(\S+)\n(.*?)```", page.read_text(), flags=re.DOTALL):
            (folder / name).write_text(text)
    (spec,) = open_study(tiny.study, output=folder).plan(["pgs"])
    run_once(spec, runs_root=folder / "runs", device=torch.device("cpu"))
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder as working folder, where `scenes` are few."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))  # some commands write there
    monkeypatch.setattr(scenes, "recipe_with", few_with)
    monkeypatch.setattr(scenes.Recipe, "num_train", SMALL.num_train)  # the default, which names leave out
    with no_figures():
        yield folder


def test_there_are_commands_of_every_kind() -> None:
    assert len(OURS) > 50
    assert any(not command.is_run for command in OURS if command.is_whole)
    assert any(command.is_run for command in OURS)


@pytest.mark.parametrize("command", OURS, ids=lambda command: command.place)
def test_a_command_parses(command: Command, here: Path) -> None:
    words = [word.split("|")[0] for word in command.words[1:]] if not command.is_whole else command.words[1:]
    try:
        assert invoke(words, parse_only=True) == 0
    except Exception as error:
        if command.is_whole or type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


@pytest.mark.timeout(240, func_only=True)  # what takes longer is to be marked
@pytest.mark.parametrize("command", [one for one in OURS if one.is_run], ids=lambda command: command.place)
def test_a_command_runs(command: Command, here: Path) -> None:
    (run,) = here.glob("runs/tiny/pgs-s0-*")
    words = [str(run) if word in RUN else word for word in command.words[1:]]
    expanded = [path for word in words for path in (_matching(here, word) or [word])]
    assert invoke(expanded) == 0


def _matching(folder: Path, word: str) -> list[str]:
    """Return the files that a shell would put in place of the word."""
    return sorted(map(str, folder.glob(word))) if "*" in word else []


#: Commands that train for long; photos, data of one's own and GPUs are not here.
LONG = [
    one
    for one in OURS
    if one.is_whole and not one.is_run and one.words[1] in ("train", "compare", "sweep")
    if not re.search(r"photos|tokens\.yaml|cc\d+m|cuda", one.text)
]


@pytest.mark.parametrize("command", LONG, ids=lambda one: one.place)
def test_a_long_command_can_be_planned(
    command: Command, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimator, "seconds", lambda *_: PairSeconds(1e-3, 2e-3))
    assert invoke([*command.words[1:], "--dry-run", "--output", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    "command", [one for one in ALL if one.words[:1] == ["make"]], ids=lambda command: command.place
)
def test_a_target_of_make_is_there(command: Command) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {word for word in command.words[1:] if "=" not in word} <= set(targets)


@pytest.mark.parametrize(
    "command", [one for one in ALL if one.words[:2] == ["pip", "install"]], ids=lambda command: command.place
)
def test_an_extra_that_is_installed_exists(command: Command) -> None:
    assert not any(word.startswith("pgsbench") for word in command.words), "pgsbench is on no index yet"
    assert extras_named("\n".join(command.words)) <= EXTRAS


def extras_named(text: str) -> set[str]:
    return {extra for named in re.findall(r"\.\[([\w,-]+)\]", text) for extra in named.split(",")}


@pytest.mark.parametrize(
    "source",
    [path for path in sorted((ROOT / "pgsbench").rglob("*.py")) if "pip install" in path.read_text()],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_an_extra_that_the_package_names_exists(source: Path) -> None:
    installed = "\n".join(re.findall(r"pip\s+install\s[^`\n#]*", source.read_text()))
    assert "pgsbench" not in installed, "pgsbench is on no index yet"
    assert extras_named(installed) <= EXTRAS


def test_extras_are_named_by_the_command_that_installs_them() -> None:
    named = [
        path for path in (ROOT / "pgsbench").rglob("*.py") if re.search(r"pgsbench\[\w", path.read_text())
    ]
    assert not named
