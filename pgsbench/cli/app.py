"""The tree of commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from pgsbench.cli import data, evaluate, machine, masks, runs, studies, study, verdicts, workers

#: Commands that load PyTorch or SciPy first, which takes seconds.
_SLOW = {
    "worker",
    "bundle",
    "verify",
    "study collect",
    "train",
    "compare",
    "sweep",
    "scale",
    "plan",
    "report",
    "publish",
    "validity",
    "sync",
    "evaluate",
    "calibrate",
}
_SLOW |= {"masks preview", "masks diagnose", "masks findings", "bench masks", "bench eval"}


class _Unconverted:
    """Leaves words as they are while a shell completes them: to convert them, typer imports pydantic."""

    def get_params(self, ctx: Any) -> list[Any]:
        parent: Any = super()
        params: list[Any] = parent.get_params(ctx)
        for param in params if ctx.resilient_parsing else ():
            param.process_value = lambda _, value: value
        return params


class _Command(_Unconverted, TyperCommand):
    """A command of pgsbench; a slow one says at once that it has begun."""

    def invoke(self, ctx: Any) -> Any:
        if ctx.command_path.removeprefix(f"{ctx.find_root().command_path} ") in _SLOW:
            typer.echo("loading libraries and data ...", err=True)
        return super().invoke(ctx)


class _Group(_Unconverted, TyperGroup): ...


app = typer.Typer(
    name="pgsbench",
    cls=_Group,
    help="Which patches may CLIP not see? Train, sweep, evaluate and compare patch-masking strategies.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    epilog="First steps: pgsbench compare --study quick --baselines flip",
)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from pgsbench import __version__

        typer.echo(f"pgsbench {__version__}")
        raise typer.Exit


def _complete_quickly(tree: typer.Typer) -> None:
    for command in tree.registered_commands:
        command.cls = _Command
    for group in tree.registered_groups:
        group.cls = _Group
        if group.typer_instance:
            _complete_quickly(group.typer_instance)


for _command in (
    *(studies.sweep, studies.compare, studies.train, evaluate.evaluate, evaluate.calibrate),
    *(verdicts.scale, verdicts.plan, studies.report, verdicts.publish, studies.validity, studies.sync),
    *(machine.doctor, machine.ui),
    *(workers.worker, workers.merge, workers.bundle, workers.verify),
):
    app.command()(_command)
for _command in (workers.status, workers.cancel, workers.retry, workers.collect):
    study.app.command()(_command)
for _name, _group in (
    *(("masks", masks.app), ("bench", machine.bench), ("data", data.app), ("study", study.app)),
    ("runs", runs.app),
):
    app.add_typer(_group, name=_name)
_complete_quickly(app)
