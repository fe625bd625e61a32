"""The tab key: what a shell is offered, and that asking imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from written import write_study

HEAVY = {"torch", "pydantic", "pandas", "numpy", "open_clip", "ruamel", "mlflow", "optuna", "rich"}

PROGRAM = """
import sys
from pgsbench.cli import main
sys.argv = ["pgsbench"]
try: main()
except SystemExit: pass
print("MODULES", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def complete(folder: Path, words: str) -> tuple[list[str], set[str]]:
    """Return what bash is offered for the last word, and the modules that were imported."""
    given = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_PGSBENCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=True,
    )
    offered, _, modules = done.stdout.partition("MODULES ")
    return offered.split(), set(modules.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("completion")
    write_study(made)
    (made / "mine.yaml").write_text("strategy: pgs\narms:\n  spiral: {strategy: grid}\nseeds: [0]\n")
    return made


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pgsbench sweep ra", ["ratio"]),
        ("pgsbench train m", ["mine.yaml"]),
        ("pgsbench train mine.yaml --arm sp", ["spiral"]),
        ("pgsbench compare --study mine.yaml --baselines flip,sp", ["flip,spiral"]),
        ("pgsbench compare --candidate pgs-r", ["pgs-released"]),
        ("pgsbench masks show orac", ["oracle"]),
        ("pgsbench evaluate x --suite scenes-q", ["scenes-quick"]),
        ("pgsbench report ti", ["tiny"]),
        ("pgsbench runs ls --study ti", ["tiny"]),
        ("pgsbench run", ["runs"]),
        ("pgsbench masks preview --strategies pgs,orac", ["pgs,oracle"]),
        ("pgsbench masks preview mine.yaml --strategies pgs,sp", ["pgs,spiral"]),
        ("pgsbench masks preview --texts block,fr", ["block,frequency"]),
        ("pgsbench masks diagnose scenes --strategies orac", ["oracle"]),
        ("pgsbench masks diagnose mine.yaml --strategies pgs,sp", ["pgs,spiral"]),
        ("pgsbench masks diagnose tiny-i", ["tiny-imagenet"]),
        ("pgsbench masks diagnose min", ["mine.yaml"]),
        ("pgsbench validity tiny ti", ["tiny"]),
        ("pgsbench validity tiny other ti", ["tiny"]),
    ],
)
def test_names_are_completed_without_heavy_imports(folder: Path, words: str, offered: list[str]) -> None:
    found, modules = complete(folder, words)
    assert found == offered
    assert not modules & HEAVY


def test_ids_of_runs_are_completed_below_the_output_folder(folder: Path) -> None:
    ids = sorted(path.name.rpartition("-")[2] for path in (folder / "runs/tiny").glob("*-s?-*"))
    found, modules = complete(folder, "pgsbench runs show ")
    assert sorted(found) == ids
    assert not modules & HEAVY
    found, _ = complete(folder.parent, f"pgsbench runs show --output {folder.name} {ids[0][:8]}")
    assert found == [ids[0]]


@pytest.mark.parametrize("command", ["evaluate", "evaluate some-other-run"])
def test_directories_of_complete_runs_are_completed(folder: Path, command: str) -> None:
    runs = [path.parent for path in folder.glob("runs/tiny/*/DONE")]
    found, modules = complete(folder, f"pgsbench {command} ru")
    assert sorted(found) == sorted(path.relative_to(folder).as_posix() for path in runs) != []
    assert not modules & HEAVY


def test_an_arm_in_a_list_is_not_offered_twice(folder: Path) -> None:
    found, _ = complete(folder, "pgsbench compare --baselines flip,grid,")
    assert "flip,grid,none" in found
    assert "flip,grid,flip" not in found


def test_a_study_that_cannot_be_read_offers_the_strategies(folder: Path) -> None:
    found, _ = complete(folder, "pgsbench train no-such.yaml --arm f")
    assert found == ["flip"]
