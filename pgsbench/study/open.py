"""From a study file and overrides to a study, or to all of its mistakes at once; needs no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pgsbench.config.read import check, parse_override, parse_yaml, read_text, set_path
from pgsbench.config.schema import StudyConfig
from pgsbench.errors import ConfigError, UserError
from pgsbench.study.space import grid_problems, over_whole_numbers
from pgsbench.study.study import Study


def open_study(path: Path, *, overrides: Sequence[str] = ()) -> Study:
    """Read and check a study file, the fields of its strategies included.

    Args:
        path: The YAML file.
        overrides: ``a.b=value`` texts; values have YAML's meaning.

    Raises:
        ConfigError: Every mistake in the file and the overrides, each with place, rule and way out.
        PluginError: A strategy cannot be found, imported or built.
    """
    if not path.is_file():
        raise ConfigError(
            "there is no such study file",
            where=str(path),
            way_out="`pgsbench study ls` lists the ones that ship",
        )
    source = read_text(path)
    data, lines = parse_yaml(source, str(path))
    if not isinstance(data, dict):
        raise ConfigError("a study file is a mapping of keys to values", where=str(path), value=data)
    given: dict[str, str] = {}
    for override in overrides:
        dotted, value = parse_override(override)
        set_path(data, dotted, value)
        given[dotted] = override

    def place(dotted: str) -> str:
        if not dotted:
            return str(path)
        parents = [".".join(dotted.split(".")[:i]) for i in range(dotted.count(".") + 1, 0, -1)]
        override = next((given[parent] for parent in parents if parent in given), None)
        if override:  # it has taken the place of everything below it in the file
            return f"--set {override}: {dotted}"
        line = next((f":{lines[parent]}" for parent in parents if parent in lines), "")
        return f"{path}{line}: {dotted}"

    data["name"] = data.get("name") or path.stem
    config = check(StudyConfig, data, place)
    study = Study(config, source, path.parent, place)
    problems = list(_arm_problems(study))
    if not problems:
        study = over_whole_numbers(study)
        problems = list(grid_problems(study))
    if problems:
        raise ConfigError.collect(problems, where=str(path))
    return study


def _arm_problems(study: Study) -> Iterator[UserError]:
    seen = set()
    for arm in study.config.arm_names:
        try:
            study.run_config(arm, {}, study.config.seeds[0])
        except UserError as error:
            for problem in error.problems:
                located = problem.moved(study.place)
                if str(located) not in seen:  # a mistake in the base shows in every arm
                    seen.add(str(located))
                    yield located
