"""What the layers promise beyond import-linter: light command line, open_clip in one package, one tracker."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest

import pgsbench

PACKAGE = Path(pgsbench.__file__).parent
#: pydantic is not among them: typer itself imports it.
HEAVY = {"torch", "pandas", "mlflow", "optuna", "matplotlib", "open_clip", "numpy"}


def modules_after(*arguments: str) -> set[str]:
    """Return the top-level modules that a command line has imported when it ends."""
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['pgsbench', *{list(arguments)!r}]\n"
        "try: runpy.run_module('pgsbench', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('\\nMODULES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [("sweep", "--help"), ("masks", "ls")])
def test_the_command_line_starts_without_heavy_imports(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & HEAVY


def test_a_study_is_checked_without_a_model() -> None:
    found = modules_after("study", "show", "ratio")
    assert not found & {"open_clip", "transformers", "mlflow", "matplotlib"}


@pytest.mark.parametrize(
    "steps",
    [
        [  # one after the other, in one process
            (
                "import pgsbench; assert {*pgsbench.__all__} <= {*dir(pgsbench)}",
                HEAVY | {"pydantic", "typer"},
            ),
            ("import pgsbench.masking as m; m.STRATEGIES.names()", {"torch", "pydantic"}),
            ("import pgsbench.tracking.rundir", {"torch", "mlflow", "numpy"}),
            (
                "from pgsbench.models.architectures import image_size_of; image_size_of('ViT-B-16')",
                {"torch", "open_clip", "huggingface_hub"},
            ),
            (
                "import pgsbench.reporting.pages.study_report, pgsbench.reporting.gallery",
                {"torch", "mlflow", "matplotlib.pyplot"},
            ),
        ],
        [
            (
                "import pgsbench.checkpoints, pgsbench.reporting.checkpoints",
                {"pandas", "scipy.stats", "mlflow", "matplotlib", "optuna"},
            )
        ],
    ],
)
def test_a_module_imports_no_more_than_it_needs(steps: list[tuple[str, set[str]]]) -> None:
    lines = [f"{code}\nfound = {heavy} & {{*sys.modules}}; assert not found, found" for code, heavy in steps]
    subprocess.run([sys.executable, "-c", "\n".join(["import sys", *lines])], check=True)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("open_clip", {"models"}),
        ("mlflow", {"tracking"}),
        ("optuna", {"execution"}),
        ("matplotlib", {"reporting", "inspection"}),
        ("pandas", {"reporting", "inspection"}),
        ("typer", {"cli"}),
    ],
)
def test_a_library_is_imported_by_its_own_packages_only(library: str, homes: set[str]) -> None:
    importing = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.rglob("*.py")
        for line in without_typing(path.read_text()).splitlines()
        if line.strip().startswith((f"import {library}", f"from {library} ", f"from {library}."))
    }
    assert importing == homes


def without_typing(source: str) -> str:
    """Return a source without what only type checkers import."""
    return re.sub(r"^if TYPE_CHECKING:\n(?:(?: {4}.*)?\n)+", "", source, flags=re.M)


def test_what_is_imported_is_what_is_declared() -> None:
    text = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.M)) - sys.stdlib_module_names
    packages = packages_distributions()
    owners = {name: {normal(owner) for owner in packages.get(name, ())} for name in imported}
    lines = [
        line
        for line in requires("pgsbench") or ()
        if not re.search("extra == .(test|dev|docs|benchmarks)", line)
    ]
    declared = {normal(re.split(r"[^\w.-]", line)[0]) for line in lines}
    # pytest only by those who test a strategy of theirs; pydantic_core is a part of pydantic.
    assert {name for name in imported if not owners[name] & declared} == {
        "pgsbench",
        "pytest",
        "pydantic_core",
    }
    # Of clip_benchmark, its command is used: it exports sets that the Hub has not.
    assert declared - set().union(*owners.values()) <= {"clip-benchmark"}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_no_import_goes_in_a_circle_not_even_within_functions() -> None:
    found = grimp.build_graph("pgsbench", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: found.find_modules_directly_imported_by(module) for module in found.modules}
    assert imports["pgsbench.cli.studies"] > {"pgsbench.session.costs"}  # which a function imports
    TopologicalSorter(imports).prepare()  # it would raise CycleError


def test_files_stay_readable() -> None:
    too_long = {
        path.relative_to(PACKAGE).as_posix(): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not too_long


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []  # pytest takes them for one module


def test_the_layers_that_contributors_read_are_those_that_are_held() -> None:
    root = Path(__file__).parents[1]
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    text = (root / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"(?:^ {4}\S.*\n)+", text[text.index("**Layers.**") :], re.M)
    said = [[re.split(" {2,}", line.strip())[0] for line in block.splitlines()] for block in blocks]
    assert said[: len(contracts)] == [contract["layers"] for contract in contracts]
