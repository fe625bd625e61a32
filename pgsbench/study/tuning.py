"""The tuning of a study: each arm searched by itself, on seeds and test items that no comparison uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pgsbench.config.schema import StudyConfig
from pgsbench.config.search import SearchConfig, SpaceConfig
from pgsbench.errors import UserError
from pgsbench.study.space import space_problems
from pgsbench.study.study_file import StudyFile


def tuning_of(file: StudyFile, arms: Sequence[str]) -> StudyFile:
    """Return the study ``NAME-tune`` that searches each of the arms by itself, all with the same means.

    Args:
        file: A study with `tune`.
        arms: The arms that are tuned.
    """
    study, tune = file.config, file.config.tune
    assert tune is not None
    tested = {"half": "dev"} if tune.on == "dev" else {"suite": tune.on, "half": None}
    budget, training = study.budget, study.training
    if budget is not None:
        budget = budget.model_copy(update={"amount": budget.amount * tune.share})
    else:
        samples = max(training.batch_size, round(training.samples * tune.share))
        training = training.model_copy(update={"samples": samples})
    space = {name: getattr(tune, name) for name in SpaceConfig.model_fields}
    changed = {
        "question": f"Which values suit each arm of {study.name}?",
        "seeds": tune.seeds,
        "search": SearchConfig(**space, arms=list(arms), per_arm=True, metric=tune.metric),
        "tune": None,
        "tuned": {},
        "budget": budget,
        "training": training,
        "evaluation": study.evaluation.model_copy(update={**tested, "during": None}),
    }
    named = file.variant("tune")

    def place(dotted: str) -> str:
        return file.place(dotted.replace("search", "tune", 1))

    return replace(named, config=StudyConfig(**{**dict(named.config), **changed}), source="", place=place)


def tuning_problems(file: StudyFile) -> Iterator[UserError]:
    """Yield every mistake in a study's `tune`: each path is tried at its ends for every arm."""
    if file.config.tune is not None:
        yield from space_problems(tuning_of(file, file.config.arm_names))
