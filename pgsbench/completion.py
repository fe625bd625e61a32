"""What a shell offers on the tab key: names of studies, data, arms, strategies, suites, runs.

A shell asks on each tab, so nothing heavy is imported here: YAML files are read by their first columns, and
what cannot be read is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pgsbench.records import files
from pgsbench.records.run_ids import runs_on_disk
from pgsbench.study.shipped import find_study, shipped_studies

#: A name that a shell may put in place of the word, and what it says beside it.
Offer = tuple[str, str]

_PACKAGE = Path(__file__).parent
_TOP_KEY = re.compile(r"^(\w+):\s*(.*)$")
_ARM = re.compile(r"^ {1,4}([A-Za-z0-9][\w.-]*):")
_STRATEGY = re.compile(r"^(?:\{.*?name:\s*)?([\w./:-]+)")


class Unconverted:
    """A command that converts no words while a shell completes them: typer would import pydantic for that."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options and arguments."""
        parent: Any = super()
        params: list[Any] = parent.get_params(ctx)
        for param in params if ctx.resilient_parsing else ():
            param.process_value = lambda _, value: value
        return params


def studies(incomplete: str) -> list[Offer]:
    """Offer the studies that ship, and YAML files."""
    folder = shipped_studies()
    shipped = [
        (path.relative_to(folder).with_suffix("").as_posix(), _top(path).get("question", ""))
        for path in sorted(folder.rglob("*.yaml"))
    ]
    return _fitting([*shipped, *_yaml_files(incomplete)], incomplete)


def studies_or_data(incomplete: str) -> list[Offer]:
    """Offer what `studies` does, the built-in data sets and those that were made here."""
    from pgsbench.data import store

    data = [
        *((name, "data set") for name in store.BUILTIN),
        *((name, "own data") for name in store.own_names()),
    ]
    return [*studies(incomplete), *_fitting(data, incomplete)]


def studies_run(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer the studies that have run under ``--output``."""
    folders = sorted(_runs_root(ctx).glob(f"*/{files.STUDY}"))
    return _fitting([(path.parent.name, "") for path in folders], incomplete)


def arms(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer the arms of the study that the command line names, or the default study's, and all strategies.

    In a list that is joined by commas the last name is completed.
    """
    # An option that still lacks its value keeps typer from giving arguments their names.
    study = ctx.params.get("study") or next(iter(ctx.args), "baselines")
    return _in_list([*_arms_of(study), *strategies("")], incomplete)


def strategy_list(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer all strategies, and the arms of a study that the command line names, in a list as `arms` does."""
    of_study = [offer for word in ctx.args[:1] for offer in _arms_of(word)]
    return _in_list([*of_study, *strategies("")], incomplete)


def text_strategies(incomplete: str) -> list[Offer]:
    """Offer the built-in text strategies and the installed ones, in a list as `arms` does."""
    from pgsbench.masking.text import TEXT_CARDS, TEXT_STRATEGIES

    return _in_list(_described(TEXT_STRATEGIES.names(), TEXT_CARDS), incomplete)


def strategies(incomplete: str) -> list[Offer]:
    """Offer the built-in strategies and the installed ones."""
    from pgsbench.masking import CARDS, STRATEGIES

    return _fitting(_described(STRATEGIES.names(), CARDS), incomplete)


def suites(incomplete: str) -> list[Offer]:
    """Offer the suites that ship, and YAML files."""
    shipped = [
        (path.stem, _top(path).get("question", ""))
        for path in sorted((_PACKAGE / "evaluation" / "suites").glob("*.yaml"))
    ]
    return _fitting([*shipped, *_yaml_files(incomplete)], incomplete)


def runs(ctx: Any, incomplete: str) -> list[Offer]:
    """Offer the ids of the runs under ``--output``."""
    return _fitting([(run.id, run.title) for run in runs_on_disk(_runs_root(ctx)).values()], incomplete)


def checkpoints(incomplete: str) -> list[Offer]:
    """Offer the directories of the complete runs here; where none fits, shells offer files themselves."""
    found = runs_on_disk(Path("runs")).values()
    complete = [run for run in found if (run.path / files.DONE).is_file()]
    return _fitting([(run.path.as_posix(), run.title) for run in complete], incomplete)


def _described(names: Iterable[str], cards: Mapping[str, Any]) -> list[Offer]:
    return [(name, cards[name].summary if name in cards else "installed") for name in names]


def _in_list(offers: Iterable[Offer], incomplete: str) -> list[Offer]:
    """Complete the last name of a list that is joined by commas."""
    before, comma, last = incomplete.rpartition(",")
    fitting = _fitting(dict(offers).items(), last, before.split(","))
    return [(f"{before}{comma}{name}", text) for name, text in fitting]


def _runs_root(ctx: Any) -> Path:
    return Path(ctx.params.get("output") or ".") / "runs"


def _fitting(offers: Iterable[Offer], incomplete: str, taken: Iterable[str] = ()) -> list[Offer]:
    return [(name, text) for name, text in offers if name.startswith(incomplete) and name not in taken]


def _yaml_files(incomplete: str) -> Iterator[Offer]:
    folder = Path(incomplete).parent if not incomplete.endswith("/") else Path(incomplete)
    start = incomplete[: incomplete.rfind("/") + 1]
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.suffix == ".yaml":
            yield f"{start}{path.name}", "file"
        elif path.is_dir() and start and not path.name.startswith("."):
            yield f"{start}{path.name}/", "folder"


def _top(path: Path) -> dict[str, str]:
    """Return the values that stand on the line of their key, at the top of a YAML file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    return {found[1]: found[2] for line in lines if (found := _TOP_KEY.match(line))}


def _arms_of(study: str) -> Iterator[Offer]:
    from pgsbench.errors import UserError

    try:
        path = find_study(study)
    except UserError:
        return
    if found := _STRATEGY.match(_top(path).get("strategy", "")):
        yield found[1].rpartition(":")[2], "the base"
    inside = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if _TOP_KEY.match(line):
            inside = line.startswith("arms:")
        elif inside and (arm := _ARM.match(line)):
            yield arm[1], "arm"
