"""The winner of a search as a study file of its own, to be confirmed with seeds that did not choose it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from pgsbench.disk.whole_files import atomic
from pgsbench.errors import StudyError
from pgsbench.records.run_spec import RunSpec, short
from pgsbench.reporting.cost.choice import choose
from pgsbench.reporting.render import counted, percent
from pgsbench.reporting.results import Results
from pgsbench.reporting.runs.on_disk import study_folder
from pgsbench.reporting.study_frames import read_frames
from pgsbench.study.open import open_study_file

#: Seeds of the file that is written: enough for an interval over seeds.
FRESH_SEEDS = 3


def write_best(study: str, path: Path, *, within: float = 0.0, output: str | Path = ".") -> str:
    """Write the best searched point of a study, or one that is cheaper, as a study file; return its label.

    Args:
        study: Name of a study that has been searched.
        path: The file to write, ``NAME.yaml``.
        within: The cheapest point at most so many points behind the best (`pgsbench.reporting.cost.choice`).
        output: The folder of ``runs/``.

    Raises:
        StudyError: The study has not been searched, no point has a score, or the file exists.
    """
    if path.suffix != ".yaml" or path.exists():
        rule = "the file exists already" if path.exists() else "a study file ends in .yaml"
        raise StudyError(rule, where=str(path), way_out="name a new file, NAME.yaml")
    results = Results(read_frames(study_folder(output, study)))
    choice = choose(results, within=within)
    if choice is None:
        has_points = any(results.params_of(label) for label in results.study.labels)
        rule = "no point of the search has a score" if has_points else "the study has searched nothing"
        if results.too_costly:
            rule += ", but for such that cost more than search.at_most allows"
        raise StudyError(rule, where=study, way_out=f"`pgsbench sweep {study}` searches it")
    label = choice.label
    spec = results.study.of(label)[0].spec
    used = sorted({run.seed for run in results.study.runs})
    score = f"{percent(results.objective_value(label))} ({results.objective.name}, mean of "
    score += f"{counted(results.seeds(label)[0], 'seed')})"
    text = _text(path.stem, study, spec, [choice.sentence, f"Its score there: {score}."], used)
    with TemporaryDirectory() as folder:  # what cannot be read is not written
        tried = Path(folder, path.name)
        tried.write_text(text, encoding="utf-8")
        open_study_file(tried)
    with atomic(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return label


def _text(name: str, study: str, spec: RunSpec, why: Sequence[str], used: Sequence[int]) -> str:
    chosen = ", ".join(f"{path} = {short(value)}" for path, value in spec.params.items())
    config: dict[str, Any] = spec.config.model_dump(mode="json", exclude={"seed"})
    content = {
        "question": f"Does what was chosen in the study {study} hold with fresh seeds?",
        **config,
        "evaluation": spec.evaluation.model_dump(mode="json"),
        "seeds": list(range(max(used) + 1, max(used) + 1 + FRESH_SEEDS)),
    }
    yaml = YAML()
    yaml.width = 110
    text = io.StringIO()
    yaml.dump(content, text)
    return (
        f"# A point of the study {study}: arm {spec.arm}, {chosen}.\n"
        + "".join(f"# {sentence}\n" for sentence in why)
        + "# The best of many is flattered by chance, so the seeds below are none that chose it.\n"
        f"# Command: pgsbench compare --study {name}.yaml --baselines flip\n"
        f"{text.getvalue()}"
    )
