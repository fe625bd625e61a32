"""How commands are written: groups, commands with an example, options with one sentence, lists of names."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import typer

from pgsbench.errors import ConfigError

P = ParamSpec("P")
#: What a shell offers on the tab key.
Offers = Callable[..., list[Any]]


def group(help: str = "", **more: Any) -> typer.Typer:
    """Return a group of commands with its help text; more: as typer calls it."""
    # Plain help starts in half the time.
    return typer.Typer(help=help, rich_markup_mode=None, **({"no_args_is_help": True} | more))


def command(
    app: typer.Typer, *examples: str, name: str | None = None, slow: bool = False
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make a function a command of a group; its docstring is the help page.

    Args:
        app: The group.
        examples: Command lines that stand below the help page.
        name: What it is called; default: as the function.
        slow: It loads PyTorch or SciPy first, which takes seconds, so it says at once that it has begun.
    """

    def add(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> None:
            if slow:
                typer.echo("loading libraries and data ...", err=True)
            function(*args, **given)

        epilog = "\b\n" + "\n".join(f"Example: {one}" for one in examples)
        summary = re.split("[:;]", (function.__doc__ or "").partition("\n")[0])[0].rstrip(".")
        app.command(name, epilog=epilog, short_help=f"{summary}.")(call)
        return function

    return add


def option(help: str, *names: str, tab: Offers | None = None, **more: Any) -> Any:
    """Describe an option.

    Args:
        help: What its help page says of it.
        names: How it is spelt, for example ``"--set"``; a flag needs this. Default: as its parameter.
        tab: What a shell offers.
        more: As typer calls it: ``min``, ``max``, ``metavar``, ``callback``.
    """
    return typer.Option(*names, help=help, autocompletion=tab, **more)


def argument(help: str, metavar: str | None = None, *, tab: Offers | None = None) -> Any:
    """Describe an argument; see `option`."""
    return typer.Argument(help=help, metavar=metavar, autocompletion=tab)


def only_with(name: str, is_given: object, **others: object) -> None:
    """Refuse options that have a meaning beside another one alone; else they would be passed over.

    Raises:
        ConfigError: That one is not given, and one of these is.
    """
    told = next((other for other, value in others.items() if value is not None), None)
    if told and not is_given:
        option = f"--{told.replace('_', '-')}"
        raise ConfigError(f"it goes with {name} alone", where=option, way_out=f"add {name}, or leave it out")


def names_in(text: str | None) -> list[str] | None:
    """Return the names in a list joined by commas, each once; None: there is no list."""
    names = dict.fromkeys(part.strip() for part in (text or "").split(","))
    return None if text is None else [name for name in names if name]
