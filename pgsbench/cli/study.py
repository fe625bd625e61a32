"""``pgsbench study``: study files."""

from __future__ import annotations

import json

import typer

from pgsbench.cli.options import SetOption, StudyArgument
from pgsbench.study.shipped import find_study, shipped_studies

app = typer.Typer(no_args_is_help=True, help="Study files: list, show, validate.", rich_markup_mode=None)


@app.command(name="ls")
def list_() -> None:
    """List the studies that ship, each with its question.

    Example: pgsbench study ls
    """
    from pgsbench.config.read import parse_yaml

    folder = shipped_studies()
    for path in sorted(folder.rglob("*.yaml")):
        data, _ = parse_yaml(path.read_text(), str(path))
        name = path.relative_to(folder).with_suffix("").as_posix()
        typer.echo(f"{name:<14} {(data or {}).get('question', '')}")


@app.command()
def show(study: StudyArgument, set_: SetOption = None) -> None:
    """Print a study with every value resolved, defaults included.

    Example: pgsbench study show ratio --set training.samples=8192
    """
    from pgsbench.study.open import open_study

    opened = open_study(find_study(study), overrides=set_ or [])
    arms = {
        arm: opened.run_config(arm, {}, opened.config.seeds[0]).model_dump(mode="json", exclude={"seed"})
        for arm in opened.config.arm_names
    }
    shown = opened.config.model_dump(mode="json", exclude={"arms", "data", "model", "strategy", "training"})
    typer.echo(json.dumps({**shown, "arms": arms}, indent=2))


@app.command()
def validate(study: StudyArgument, set_: SetOption = None) -> None:
    """Check a study file; every mistake is named at once.

    Example: pgsbench study validate my/study.yaml
    """
    from pgsbench.evaluation.suite import load_suite
    from pgsbench.study.open import open_study
    from pgsbench.study.plan import check_space

    path = find_study(study)
    opened = open_study(path, overrides=set_ or [])
    load_suite(opened.config.evaluation.suite)
    if opened.config.search is not None:
        check_space(opened)
    typer.echo(f"{path}: valid; arms: {', '.join(opened.config.arm_names)}; seeds: {opened.config.seeds}")


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, for editors that complete and check as you type.

    Example: pgsbench study schema > study.schema.json
    """
    from pgsbench.config.schema import StudyConfig

    typer.echo(json.dumps(StudyConfig.model_json_schema(), indent=2))
