"""A study that has been read and checked, and the resolved configuration of each of its runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pgsbench.config.data import DataConfig
from pgsbench.config.read import check_all
from pgsbench.config.schema import (
    MAX_NAME,
    MAX_SEEDS,
    RunConfig,
    StrategyConfig,
    StudyConfig,
    TextConfig,
    TrainedConfig,
)
from pgsbench.config.search import MAX_SEED, SearchConfig, SpaceConfig
from pgsbench.data import store
from pgsbench.errors import ConfigError, DataError, ModelError, UserError
from pgsbench.masking.configure import (
    configure,
    configure_text,
    fields_of,
    strategy_class,
    text_strategy_class,
)
from pgsbench.models.architectures import check_name
from pgsbench.study.budget import spend
from pgsbench.study.draft import Draft


@dataclass(frozen=True)
class Design:
    """A study file that has been read and checked.

    Attributes:
        config: What it says.
        source: Its text, comments included.
        folder: Where it lies; its relative paths start here.
        place: Where a dotted path stands, for messages: file and line, or the override that set it.
        of_commands: Arms that the file does not have: a command has named their strategies.
    """

    config: StudyConfig
    source: str
    folder: Path
    place: Callable[[str], str] = field(repr=False, compare=False)
    of_commands: frozenset[str] = frozenset()

    def variant(self, suffix: str) -> Design:
        """Return the same study under its name, cut where it is long, with a suffix."""
        name = f"{self.config.name[: MAX_NAME - len(suffix) - 1]}-{suffix}"
        return replace(self, config=self.config.model_copy(update={"name": name}))

    def with_seeds(self, seeds: Sequence[int]) -> Design:
        """Return the same study with other seeds.

        Raises:
            ConfigError: There are none or too many, or they are no seeds.
        """
        listed = list(seeds) if len(seeds) <= MAX_SEEDS else []
        are_seeds = all(isinstance(seed, int) and 0 <= seed <= MAX_SEED for seed in listed)
        if not listed or not are_seeds or len(set(listed)) < len(listed):
            rule = f"seeds are different whole numbers from 0, at least one and at most {MAX_SEEDS:,}"
            raise ConfigError(rule, where="seeds", value=listed or len(seeds), way_out="0, 1, 2, for example")
        return replace(self, config=self.config.model_copy(update={"seeds": listed}))

    def with_trials(self, trials: int | None) -> Design:
        """Return the same study, whose search has another number of points; None: its own."""
        if trials is None or self.config.search is None:
            return self
        search = self.config.search.model_copy(update={"trials": trials})
        return replace(self, config=self.config.model_copy(update={"search": search}))

    def tuning(self, arms: Sequence[str]) -> Design:
        """Return the study ``NAME-tune`` that searches each of the arms by itself, all with the same means.

        Args:
            arms: The arms that are tuned, of a study with `tune`.
        """
        study, tune = self.config, self.config.tune
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
        named = self.variant("tune")

        def place(dotted: str) -> str:
            return self.place(dotted.replace("search", "tune", 1))

        return replace(named, config=StudyConfig(**{**dict(named.config), **changed}), source="", place=place)

    def run_config(self, arm: str, params: Mapping[str, Any], seed: int) -> RunConfig:
        """Return the resolved configuration of one run.

        Args:
            arm: One of the study's arms.
            params: A point of the search space, dotted path -> value.
            seed: The run's seed.

        Raises:
            ConfigError: The combination is not valid; the message names the arm or the search path.
        """
        config, problems = self.try_run(arm, params, seed)
        if problems or config is None:
            raise ConfigError.collect(problems)
        return config

    def try_run(
        self, arm: str, params: Mapping[str, Any], seed: int
    ) -> tuple[RunConfig | None, list[UserError]]:
        """Return what `run_config` returns, and every mistake; None where there is any."""
        draft = Draft(self.config, arm, params, seed)
        checked = check_all(RunConfig, draft.settings(), draft.where)
        problems = [*draft.seed_problems(), *checked.problems]
        run = checked.model
        if run is None:
            return None, problems
        problems += _data_problems(run.data, partial(draft.where_in, "data"))
        problems += [*draft.length_problems(run), *draft.keep_problems(run)]
        if not checked.is_left_out("model"):
            try:
                check_name(run.model.name)
            except ModelError as error:
                problems.append(error.moved(lambda _: draft.where("model.name")))
        completed: dict[str, Any] = {}
        wants_ramp = run.training.schedule == "wsd" and run.training.ramp_steps is None
        complete_strategy = partial(self._complete_strategy, wants_ramp=wants_ramp)
        for section, complete in (("strategy", complete_strategy), ("text", self._complete_text)):
            try:
                if not checked.is_left_out(section):
                    completed[section] = complete(getattr(run, section), draft.inherited(section))
            except UserError as error:
                problems += [problem.moved(partial(draft.where_in, section)) for problem in error.problems]
        if problems:
            return None, problems
        return RunConfig(**{**run.model_dump(), **completed}), []

    def resolved(self) -> dict[str, Any]:
        """Return what the study says with every value resolved, defaults included, ready for JSON.

        The samples that seconds pay for depend on the machine, so they are not in it.
        """
        arms = {}
        for arm in self.config.arm_names:
            run = self.run_config(arm, {}, self.config.seeds[0])
            if run.budget is None or run.budget.equal != "seconds":
                run = spend(run)
            arms[arm] = run.model_dump(mode="json", exclude={"seed"})
        rest = self.config.model_dump(mode="json", exclude={"arms", *TrainedConfig.model_fields})
        return {**rest, "arms": arms}

    def _complete_strategy(
        self, given: StrategyConfig, base: Mapping[str, Any], wants_ramp: bool
    ) -> dict[str, Any]:
        """Return a strategy with every field of its own; the base's ratio is taken over if it means the same.

        To some strategies `mask_ratio` is the least share, as pictures decide how much is hidden; to others
        it is the share. Between these nothing is taken over: each has its own default.
        """
        kind = strategy_class(given.name, relative_to=self.folder)
        other = strategy_class(self.config.strategy.name, relative_to=self.folder)
        means_the_same = kind is other or not (
            base.get("max_ratio") is not None
            or getattr(kind, "ratio_is_least", False)
            or getattr(other, "ratio_is_least", False)
        )
        fields = _with_inherited("mask_ratio", kind, given.fields, base) if means_the_same else given.fields
        strategy = configure(given.name, fields, relative_to=self.folder)
        if wants_ramp and strategy.needs & {"tokens", "attention"}:
            raise ConfigError(
                "its mask changes with what the model learns, and with `schedule: wsd` no step may know how "
                "long the training is",
                where="strategy.name",
                value=given.name,
                way_out="say in training.ramp_steps in how many steps it changes",
            )
        return {"name": self._absolute(given.name), **fields_of(strategy)}

    def _complete_text(self, given: TextConfig, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return a text strategy with every field of its own; the base's budget is taken over likewise."""
        kind = text_strategy_class(given.strategy, relative_to=self.folder)
        fields = _with_inherited("keep", kind, given.fields, base)
        strategy = configure_text(given.strategy, fields, relative_to=self.folder)
        return {"strategy": self._absolute(given.strategy), **fields_of(strategy)}

    def _absolute(self, name: str) -> str:
        # A worker process does not know the study's folder.
        return str((self.folder / name).resolve()) if ".py:" in name else name


def _with_inherited(
    field: str, kind: type[Any], given: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the given fields, with one taken over from the base where the class has it."""
    known = {one.name for one in dataclasses.fields(kind) if one.init}
    is_inherited = field in known and base.get(field) is not None
    return {field: base[field], **given} if is_inherited else dict(given)


def _data_problems(data: DataConfig, where: Callable[[str], str]) -> list[UserError]:
    """Return what is wrong with the knobs of the training data's recipe."""
    try:
        if data.recipe and not store.is_builtin(data.source):
            raise DataError(
                "only a built-in data set is made by a recipe",
                where=next(iter(data.recipe)),
                value=data.train,
                way_out=f"leave `recipe` out, or train on {' or '.join(store.BUILTIN)}",
            )
        store.canonical(data.source)
    except DataError as error:
        return [error.moved(lambda knob: where(f"data.recipe.{knob}"))]
    return []
