"""The generated reference names every command with its options, every setting of a study and every mask."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import typer

from pgsbench.cli.app import app
from pgsbench.config.schema import StudyConfig

ROOT = Path(__file__).parents[2]

_spec = importlib.util.spec_from_file_location("site_reference", ROOT / ".ci/site_reference.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def leaves(command: Any, name: str) -> dict[str, Any]:
    inner = getattr(command, "commands", None)
    if not inner:
        return {name: command}
    return {key: one for child, of in inner.items() for key, one in leaves(of, f"{name} {child}").items()}


def test_every_command_has_its_options() -> None:
    page = reference.commands()
    parts = {part.partition("\n")[0]: part for part in page.split("## ")[1:]}
    commands = leaves(typer.main.get_command(app), "pgsbench")
    assert set(parts) == set(commands)
    for name, command in commands.items():
        assert f"    {name}" in parts[name]  # its usage and example
        spelt = [option for param in command.params for option in param.opts if option.startswith("--")]
        assert not [option for option in spelt if option not in parts[name]], name


def test_every_setting_of_a_study_stands_in_its_section() -> None:
    page = reference.studies()
    assert "## training.unmasked_tuning\n" in page
    schema = StudyConfig.model_json_schema()
    for name, model in {"": schema, **schema["$defs"]}.items():
        if name not in ("Range", "Listed"):  # values of a search space
            assert not [field for field in model["properties"] if f"\n| `{field}` |" not in page], name
    assert '| `sampler` | `grid`, `random`, `qmc`, `tpe`, `gp` | `"grid"` |' in page


def test_every_mask_is_described() -> None:
    page = reference.masks()
    for name in ("## pgs\n", "## tome\n", "## frequency (captions)\n"):
        assert name in page
    assert "mask_ratio: float = 0.5" in page


@pytest.mark.parametrize("part", ["commands", "studies", "masks"])
def test_one_page_asks_for_each_part(part: str) -> None:
    mark = f"<!-- generated: {part} -->"
    pages = [page for page in ROOT.glob("docs/*.md") if mark in page.read_text()]
    assert len(pages) == 1
    filled = reference.on_page_markdown(pages[0].read_text(), page=None)
    assert mark not in filled
    assert len(filled) > 5000
