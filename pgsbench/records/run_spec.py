"""What a run is: everything that decides its weights, and the id that follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgsbench.config.schema import EvaluationConfig, RunConfig
from pgsbench.hashing import digest

#: Raised when a change of code changes what the same configuration gives; old runs are then not reused.
RESULTS_VERSION = 4

#: Settings of a training that change none of its numbers.
_COSMETIC = {
    "log_every_steps",
    "checkpoint_every_steps",
    "checkpoint_every_minutes",
    "keep",
    "keep_states",
    "branch_steps",
    "micro_batch_size",  # but for rounding
    "shard_optimizer",
}
#: Keeps as many patches as the pictures ask for that it chooses from together, those of a micro-batch.
_DEPENDS_ON_BATCH = "pgs-released"


@dataclass(frozen=True)
class Numerics:
    """The class of arithmetic: on a CPU, runs of one class repeat each other to the bit; others only nearly.

    Attributes:
        device: Type of the device, ``cpu`` or ``cuda``.
        precision: As resolved, ``fp32``, ``bf16`` or ``fp16``.
        torch: Version of PyTorch.
        threads: Threads of the CPU, which decide the order of its sums; 0 on a GPU.
    """

    device: str
    precision: str
    torch: str
    threads: int

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{self.device}, {self.precision}, torch {self.torch}{threads}"


@dataclass(frozen=True)
class RunSpec:
    """One training with one seed and its evaluation: complete, so that any process can do it.

    Made by `RunSpec.of` alone, which gives it its id; written to and read from ``spec.json``.

    Attributes:
        id: Hash of what decides the weights; equal ids are the same training.
        study: The study that planned it.
        arm: Its arm there.
        params: What the search space chose, by dotted path; empty for a plain arm.
        config: The resolved configuration, seed included.
        data: Identity of the training data, by content.
        strategy_code: Identity of the strategy's code (`pgsbench.plugins.registry.Registry.content_id`).
        model_file: Hash of the model's own JSON file; empty for a model that is known by name.
        text_code: Identity of the text strategy's code.
        reading: What decides the pixels of a picture beside the data (`pgsbench.data.shards.reading`).
        numerics: On what arithmetic it is trained.
        evaluation: What the model is tested on; no part of the id.
        pretrained: What the weights that it begins with are known by; empty: none.
        results_version: `RESULTS_VERSION` of the code that planned it.
        foreign: SHA-256 of the weights of a training that another program did, of which no more is known than
            its parameters say; empty: it is trained here.
    """

    id: str
    study: str
    arm: str
    config: RunConfig
    data: str
    strategy_code: str
    model_file: str
    numerics: Numerics
    text_code: str = "none"
    reading: dict[str, Any] = field(default_factory=dict)
    pretrained: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    results_version: int = RESULTS_VERSION
    foreign: str = ""

    @classmethod
    def of(cls, **fields: Any) -> RunSpec:
        """Return the spec with these fields and the id that follows from them."""
        spec = cls(id="", **fields)
        decides = [spec.training, spec.numerics, *([spec.foreign] if spec.foreign else [])]
        return cls(id=digest(decides)[:10], **fields)

    @property
    def training(self) -> dict[str, Any]:
        """What decides the weights up to rounding: all of the identity but the numerics."""
        config = self.config.model_dump(mode="json")
        settings = {key: value for key, value in config["training"].items() if key not in _COSMETIC}
        del settings["precision"]  # as resolved it is one of the numerics
        _leave_out(settings, {"loss": "softmax", "compile": False, "warmup_steps": None, "ramp_steps": None})
        if settings["schedule"] == "cosine":
            del settings["schedule"], settings["decay_share"]
        at_a_time = config["training"]["micro_batch_size"]
        if config["strategy"]["name"] == _DEPENDS_ON_BATCH and at_a_time is not None:
            settings["micro_batch_size"] = at_a_time
        strategy = {**config["strategy"], "name": self.strategy_code}
        model = {
            **config["model"],
            "name": self.model_file or config["model"]["name"],
            "pretrained": self.pretrained or None,
        }
        _leave_out(model, {"pretrained": None, "locked": None, "image_size": None})
        text = {"text": {**config["text"], "strategy": self.text_code}} if self.text_code != "none" else {}
        return {
            "data": self.data,
            **({"reading": self.reading} if self.reading else {}),
            "model": model,
            "strategy": strategy,
            **text,  # whole captions are what there was before there was a choice
            "training": settings,
            "seed": self.seed,
            "results_version": self.results_version,
        }

    def trunk(self, world_size: int) -> str:
        """Return the identity that trainings share which differ only in length; empty: none does.

        Args:
            world_size: Processes that train the run. They and micro-batches change results by rounding, and
                what begins on a trunk shall have the bits of what is trained from its beginning.
        """
        training = self.config.training
        if training.schedule != "wsd":
            return ""
        shared = self.training
        of_length = ("samples", "decay_share", "unmasked_tuning")
        shared["training"] = {k: v for k, v in shared["training"].items() if k not in of_length}
        return digest([shared, self.numerics, world_size, training.micro_batch_size])[:10]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.seed

    @property
    def is_oracle(self) -> bool:
        """Whether its masks know where the objects are: a ceiling and no method, whatever its arm's name."""
        return self.config.strategy.name == "oracle"

    @property
    def has_whole_pictures(self) -> bool:
        """Whether nothing of its pictures is masked."""
        return self.config.strategy.name == "none"

    @property
    def label(self) -> str:
        """Arm and searched values, ``"pgs mask_ratio=0.5"``: equal for all seeds, others for other values."""
        return label_of(self.arm, self.params)

    @property
    def name(self) -> str:
        """The label with the seed, ``"pgs mask_ratio=0.5 s0"``: unique in its study."""
        return f"{self.label} s{self.seed}"

    @property
    def folder(self) -> str:
        """Where the run lies when it is new, relative to the runs folder."""
        return f"{self.study}/{self.arm}-s{self.seed}-{self.id}"


def label_of(arm: str, params: Mapping[str, Any]) -> str:
    """Return the label of an arm at a point; see `RunSpec.label`."""
    return " ".join([arm, *(f"{short_path(path)}={short(value)}" for path, value in params.items())])


def _leave_out(settings: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    # What there was before there was a choice keeps its identity.
    for key, default in defaults.items():
        if settings[key] == default:
            del settings[key]


def short_path(path: str) -> str:
    """Return the last part of a path; of one that names a strategy or a model the section: ``text``."""
    section, _, key = path.rpartition(".")
    return section.rpartition(".")[2] if key in ("name", "strategy") and section else key


def short_paths(paths: Iterable[str], *, taken: Collection[str] = ()) -> dict[str, str]:
    """Return path -> its name in a table: short, or in full where another path or `taken` has that one."""
    found = {path: short_path(path) for path in paths}
    names = [*found.values(), *taken]
    return {path: path if names.count(name) > 1 else name for path, name in found.items()}


def short(value: object) -> str:
    """Return a value of a configuration in as few characters as tell it from all others."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if not isinstance(value, float) or float(text) == value else repr(value)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration as ``{"strategy.mask_ratio": 0.5, ...}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat
