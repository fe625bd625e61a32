"""``pgsbench doctor``."""

from __future__ import annotations

from pathlib import Path

import typer

from pgsbench.cli.options import JsonOption, OutputOption, print_tables


def doctor(output: OutputOption = Path(), json: JsonOption = False) -> None:
    """Look for what will go wrong on this machine, and say what to do; exits with 1 where something will.

    Example: pgsbench doctor
    """
    from pgsbench.doctor import checks, checks_table
    from pgsbench.doctor.check import PROBLEM

    found = list(checks(output))
    print_tables(checks_table(found), json=json)
    raise typer.Exit(any(one.state == PROBLEM for one in found))
