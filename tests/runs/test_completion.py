"""The tab key: what a shell is offered, and that asking imports nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_study import write_study

HEAVY = {"torch", "pandas", "numpy", "open_clip", "ruamel", "mlflow", "optuna", "rich"}

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
    return made


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pgsbench sweep ra", ["ratio"]),
        ("pgsbench report ti", ["tiny"]),
        ("pgsbench run", ["run", "runs"]),
        ("pgsbench validity tiny other ti", ["tiny"]),
    ],
)
def test_names_are_completed_without_heavy_imports(folder: Path, words: str, offered: list[str]) -> None:
    found, modules = complete(folder, words)
    assert found == offered
    assert not modules & HEAVY


def test_ids_of_runs_are_completed_below_the_output_folder(folder: Path) -> None:
    ids = sorted(path.name.rpartition("-")[2] for path in (folder / "runs/tiny").glob("*-s?-*"))
    assert sorted(complete(folder, "pgsbench runs show ")[0]) == ids
    found, _ = complete(folder.parent, f"pgsbench runs show --output {folder.name} {ids[0][:8]}")
    assert found == [ids[0]]
