"""In what a study deviates from the published setting of CLIP-PGS: ``published.yaml`` beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pgsbench.config.data import AugmentConfig
from pgsbench.config.yaml_text import parse_yaml
from pgsbench.data.shards import augmentation
from pgsbench.records.run_spec import flatten
from pgsbench.study.budget import spend
from pgsbench.study.design import Design

PUBLISHED = Path(__file__).with_name("published.yaml")


class Published(NamedTuple):
    """A published value, and where it was published."""

    value: Any
    source: str


@dataclass(frozen=True)
class Method:
    """A method of the paper, one of its own or one that it compares with.

    Attributes:
        name: Its arm's in ``studies/paper.yaml``.
        settings: What is published of its mask, by dotted path.
        open: Settings of its mask on which nothing is published.
        beyond: In what pgsbench's mask differs by more than settings; empty: in nothing.
    """

    name: str
    settings: Mapping[str, Published]
    open: tuple[str, ...] = ()
    beyond: str = ""


@dataclass(frozen=True)
class Deviation:
    """A setting of some arms that is not the published one.

    Attributes:
        setting: Its dotted path.
        here: The study's value.
        published: The published one.
        source: Where it was published.
        arms: Whose it is.
        why: What the study says of it; None: nothing.
    """

    setting: str
    here: Any
    published: Any
    source: str
    arms: tuple[str, ...]
    why: str | None


@dataclass(frozen=True)
class Compared:
    """A study beside the published setting.

    Attributes:
        deviations: In what it differs.
        methods: Arm -> what it was compared with; None: no published method masks so.
    """

    deviations: tuple[Deviation, ...]
    methods: Mapping[str, Method | None]


@cache
def published() -> tuple[Mapping[str, Published], tuple[Method, ...]]:
    """Return what is published of all arms, and of each method."""
    data: dict[str, Any] = parse_yaml(PUBLISHED.read_text(), str(PUBLISHED))[0]
    methods = [
        Method(name, _values(said["settings"]), tuple(said.get("open", ())), said.get("beyond", ""))
        for name, said in data["methods"].items()
    ]
    return _values(data["settings"]), tuple(methods)


def compare_with_published(design: Design) -> Compared:
    """Return in what the arms of a study deviate from the published setting; no data is needed."""
    common, _ = published()
    arms = {arm: settings_of(design, arm) for arm in design.config.arm_names}
    methods = {arm: _method(arm, settings) for arm, settings in arms.items()}
    found: dict[str, tuple[str, Any, Published, list[str]]] = {}
    for arm, settings in arms.items():
        method = methods[arm]
        for path, said in {**common, **(method.settings if method else {})}.items():
            here = settings.get(path)
            if here != said.value:
                row = found.setdefault(repr((path, here, said)), (path, here, said, []))
                row[3].append(arm)
    deviations = tuple(
        Deviation(path, here, said.value, said.source, tuple(whose), design.config.explained.get(path))
        for path, here, said, whose in found.values()
    )
    return Compared(deviations, methods)


def settings_of(design: Design, arm: str) -> dict[str, Any]:
    """Return what an arm is trained and tested with, by dotted path, as far as it can be resolved here.

    The warm-up is in steps, the precision that of a GPU, and `data.augment` has a name where it has one.
    Samples and warm-up that seconds pay for are None, as they depend on the machine.
    """
    run = design.run_config(arm, {}, design.config.seeds[0])
    is_timed = run.budget is not None and run.budget.equal == "seconds"
    training = (run if is_timed else spend(run)).training
    augment = augmentation(run.data)
    resolved = {
        "data.augment": _named(augment),
        "training.samples": None if is_timed else training.samples,
        "training.warmup_steps": None if is_timed else training.num_warmup_steps,
        "training.precision": training.precision_on("cuda"),
    }
    whole = {
        "devices_per_run": design.config.devices_per_run,
        "seeds": design.config.seeds,
        "evaluation": design.config.evaluation.model_dump(mode="json"),
    }
    left_out: Any = {"seed": True, "data": {"augment"}, "training": {"warmup_share"}}
    return flatten({**run.model_dump(mode="json", exclude=left_out), **whole}) | resolved


def _named(augment: AugmentConfig | None) -> Any:
    if augment is None:
        return "none"
    return "open_clip" if augment == AugmentConfig() else augment.model_dump(mode="json")


def _values(given: Mapping[str, Any]) -> dict[str, Published]:
    return {path: Published(*said) for path, said in given.items()}


def _method(arm: str, settings: Mapping[str, Any]) -> Method | None:
    """Return the method of an arm: the nearest with its strategy, of equally near ones that of its name."""
    name = settings["strategy.name"]
    methods = [one for one in published()[1] if one.settings["strategy.name"].value == name]

    def distance(method: Method) -> tuple[int, bool]:
        differ = [path for path, said in method.settings.items() if settings.get(path) != said.value]
        return len(differ), method.name != arm

    return min(methods, key=distance, default=None)
