"""The commands that the pages show, and whether a test can run them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
#: Stands before a block of commands that no test runs, and says why. It is invisible on the page.
NOT_RUN = "<!-- not run:"
COMMAND = re.compile(r"\s*(?:[A-Z_]+=\S+ )*(?:pgsbench|make|pip) ")


@dataclass(frozen=True)
class Command:
    """A command on a page.

    Attributes:
        place: Page and line.
        text: The command with its comment.
        is_run: Whether a test runs it; else it is only parsed.
        is_whole: Whether it stands in a block; amid a sentence arguments may be left out.
    """

    place: str
    text: str
    is_run: bool
    is_whole: bool = True

    @property
    def words(self) -> list[str]:
        """Its words, without comment and without variables that are set before it."""
        words = shlex.split(self.text, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        return words


def commands(page: Path) -> list[Command]:
    """Return all commands of a page: those in blocks, then those amid sentences."""
    name, lines = page.name, page.read_text().splitlines()
    found, prose, before = [], [], ""
    for number, is_code, line in _lines(lines):
        if not is_code:
            prose.append(line)
            before = line if line.strip() else before
        elif COMMAND.match(line):
            found.append(Command(f"{name}:{number}", line.strip(), not before.startswith(NOT_RUN)))
    sentences = "\n".join(prose)
    for code in re.findall(r"`((?:pgsbench|pip) [^`]+)`", sentences):
        text = " ".join(code.replace("\\|", "|").split())
        found.append(Command(f"{name}: {text}", text, is_run=False, is_whole=False))
    return found


def _lines(lines: list[str]) -> Iterator[tuple[int, bool, str]]:
    """Yield (number, whether it is code, line); lines that end in a backslash are joined."""
    fenced, blank, code, joined = False, True, False, ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("```"):
            fenced, code = not fenced, False
            continue
        code = fenced or (line.startswith("    ") and (blank or code))
        blank = not line.strip()
        if code and line.endswith("\\"):
            joined += line[:-1]
            continue
        yield number, code, joined + line
        joined = ""
