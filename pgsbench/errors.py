"""One tree of user errors: each says where, which rule, what value, and the way out.

::

    UserError                 a mistake the user can mend; the CLI prints it and exits with status 2
    ├── ConfigError           a study file, an override, a setting (carries every mistake found at once)
    ├── PluginError           a strategy or protocol that cannot be found, imported or built
    ├── DataError             a data set, shard or file that is missing, unreadable or inconsistent
    ├── ModelError            a model or checkpoint that cannot be built, loaded or masked
    ├── EvaluationError       embeddings or scores that must not be reported
    ├── RunError              a run directory that is missing, foreign or incomplete
    │   ├── RunHeldError      a run that another process works on
    │   └── RankLostError     another of the processes that train a run has failed, or does not answer
    └── StudyError            a sweep or comparison that cannot be planned or continued

`Interrupted` is no mistake: someone asked the work to stop. Messages show no passwords (`without_password`).
Anything else that is raised is a bug in pgsbench and keeps its traceback.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence


class UserError(Exception):
    """A mistake that the user can mend.

    Args:
        rule: What is required, or what went wrong, as one sentence without a full stop.
        where: The place: a file, a dotted path in it, a command-line option.
        value: The offending value as it was given.
        way_out: What to do about it.
    """

    def __init__(self, rule: str, *, where: str = "", value: object = None, way_out: str = "") -> None:
        self.rule, self.where, self.value, self.way_out = rule, where, value, way_out
        super().__init__(self._text())

    @property
    def problems(self) -> tuple[UserError, ...]:
        """The mistakes it joins; of a single mistake, itself."""
        return (self,)

    def moved(self, place: Callable[[str], str]) -> UserError:
        """Return the same mistake at another place, a function of where it is."""
        return type(self)(self.rule, where=place(self.where), value=self.value, way_out=self.way_out)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only constructors do not survive pickling by default, and workers send errors home.
        return (_rebuild, (type(self), self.rule, self.where, self.value, self.way_out))

    def _text(self) -> str:
        place = f"{self.where}: " if self.where else ""
        value = f" (got {self.value!r})" if self.value is not None else ""
        way_out = f"\n  -> {self.way_out}" if self.way_out else ""
        return without_password(f"{place}{self.rule}{value}{way_out}")


def _rebuild(kind: type[UserError], rule: str, where: str, value: object, way_out: str) -> UserError:
    return kind(rule, where=where, value=value, way_out=way_out)


class ConfigError(UserError):
    """Mistakes in a study file, an override or a setting."""

    _joined: tuple[UserError, ...] = ()

    @property
    def problems(self) -> tuple[UserError, ...]:
        """The mistakes it joins; of a single mistake, itself."""
        return self._joined or (self,)

    @classmethod
    def collect(cls, problems: Iterable[UserError], *, where: str = "") -> ConfigError:
        """Join several problems into one error, so that all are seen at once.

        Args:
            problems: Each with its own place.
            where: The file or the setting that they share, which heads the list.
        """
        found = [problem for error in problems for problem in error.problems]
        if len(found) == 1:
            only = found[0]
            return cls(only.rule, where=only.where, value=only.value, way_out=only.way_out)
        error = cls(f"{len(found)} problems\n" + "\n".join(f"- {problem}" for problem in found), where=where)
        error._joined = tuple(found)
        return error


class PluginError(UserError):
    """A strategy or protocol that cannot be found, imported or built."""


class DataError(UserError):
    """A data set, shard or file that is missing, unreadable or inconsistent."""


class ModelError(UserError):
    """A model or checkpoint that cannot be built, loaded or masked."""


class EvaluationError(UserError):
    """Embeddings or scores that must not be reported."""


class RunError(UserError):
    """A run directory that is missing, foreign or incomplete."""


class RunHeldError(RunError):
    """A run that another process works on."""


class RankLostError(RunError):
    """Another of the processes that train a run together has failed, or does not answer."""


class StudyError(UserError):
    """A sweep or comparison that cannot be planned or continued."""


class Interrupted(Exception):  # noqa: N818 - it is no error
    """Training or evaluation was asked to stop; what was finished is saved."""


class Pruned(Interrupted):
    """A training was ended because its point looked bad; its state is saved."""


#: Commands that keep what is finished, so that the same one goes on; all others begin anew.
GO_ON = frozenset(("train", "compare", "sweep", "scale", "run", "evaluate", "data fetch"))


def stopped(words: Sequence[str]) -> str:
    """Return what is said where a command of these words was stopped."""
    goes_on = any(" ".join(words[:count]) in GO_ON for count in (1, 2))
    return f"stopped; the same command {'goes on where it was' if goes_on else 'begins anew'}"


def mended(words: Sequence[str], error: UserError) -> str:
    """Return the command of these words with each name that its error proposes, to be pasted; or nothing."""
    found = list(words)
    for problem in error.problems:
        proposed = re.match("did you mean '(.+?)'", problem.way_out)
        wrong = re.compile(rf"(?<![\w.-]){re.escape(str(problem.value))}(?![\w-])")
        at = next((number for number, word in enumerate(found) if wrong.search(word)), None)
        if proposed and at is not None:
            found[at] = wrong.sub(proposed[1].replace("\\", r"\\"), found[at], count=1)
    return "" if found == list(words) else shlex.join(["pgsbench", *found])


#: Of more valid names only the nearest are listed.
MAX_LISTED = 40


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the way out for a misspelt name: the nearest valid one, and the others, unless they are many."""
    import difflib  # every command imports this module, few have a misspelt name

    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    known = "valid: " + ", ".join(names) if names else "nothing is valid here"
    if len(names) > MAX_LISTED:
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.3) or names[:5]
        known = f"valid are {len(names)} names, such as {', '.join(sorted(near))}"
    return f"did you mean {close[0]!r}? {known}" if close else known


def without_password(text: str) -> str:
    """Return a text with stars in place of the passwords of URLs."""
    text = re.sub(r"(://[^:/@\s]*):[^/\s]+@", r"\1:***@", text)
    return re.sub(r"([?&]password=)[^&\s'\"]+", r"\1***", text)
