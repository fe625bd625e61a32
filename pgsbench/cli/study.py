"""``pgsbench study``: study files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pgsbench import completion
from pgsbench.cli.options import JsonOption, OutputOption, SetOption, StudyArgument, group
from pgsbench.study.shipped import find_study

app = group("Study files: list, show, validate.")


@app.command(name="ls")
def list_(json_: JsonOption = False) -> None:
    """List the studies that ship, each with its question.

    Example: pgsbench study ls
    """
    from pgsbench.study.shipped import questions

    asked = questions()
    if json_:
        typer.echo(json.dumps(asked, indent=2))
        return
    for name, question in asked.items():
        typer.echo(f"{name:<14} {question}")


@app.command()
def show(study: StudyArgument, set_: SetOption = None) -> None:
    """Print a study with every value resolved, defaults included.

    Example: pgsbench study show ratio --set training.samples=8192
    """
    from pgsbench.study.open import open_study_file

    opened = open_study_file(find_study(study), overrides=set_ or [])
    typer.echo(json.dumps(opened.resolved(), indent=2))


@app.command()
def validate(study: StudyArgument, set_: SetOption = None) -> None:
    """Check a study file; every mistake is named at once.

    Example: pgsbench study validate my/study.yaml
    """
    from pgsbench.study.open import open_study_file

    path = find_study(study)
    config = open_study_file(path, overrides=set_ or []).config
    typer.echo(f"{path}: valid; arms: {', '.join(config.arm_names)}; seeds: {config.seeds}")


@app.command()
def best(
    study: Annotated[
        str,
        typer.Argument(help="Name of a searched study under runs/.", autocompletion=completion.studies_run),
    ],
    as_: Annotated[Path, typer.Option("--as", metavar="FILE.yaml", help="The study file to write.")],
    within: Annotated[
        float, typer.Option(min=0, help="The cheapest point at most so many points behind the best.")
    ] = 0.0,
    output: OutputOption = Path(),
) -> None:
    """Write the best point of a search as a study file, with seeds that did not choose it.

    Example: pgsbench study best ratio --as winner.yaml --within 1
    """
    from pgsbench.reporting.best_point import write_best

    typer.echo(f"{as_}: {write_best(study, as_, within=within, output=output)}")


@app.command()
def schema() -> None:
    """Print the JSON schema of study files, for editors that complete and check as you type.

    Example: pgsbench study schema > study.schema.json
    """
    from pgsbench.config.schema import StudyConfig

    typer.echo(json.dumps(StudyConfig.model_json_schema(), indent=2))
