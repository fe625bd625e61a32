"""Every mistake in a study is named at once, before anything is made or trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsbench.errors import PluginError, UserError
from pgsbench.study.open import open_study_file

# A text that grows while it is read would be read for minutes or for ever.
pytestmark = pytest.mark.timeout(120)


def complaint(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        open_study_file(path, overrides=overrides)
    return str(caught.value).replace(f"{path}:", "")


def test_mistakes_of_all_kinds_are_named_in_one_pass(tmp_path: Path) -> None:
    text = complaint(
        tmp_path,
        "model: ViT-B-166\n"
        "training: {learning_rat: 1}\n"
        "strategy:\n  name: pgs\n  taw: 1\n"
        "evaluation: {suite: scense}\n"
        "arms:\n  a: {strategy: {name: flip, mask_ratio: 2}, training: {eps: -1}}\n"
        "search:\n  arms: [pgs, pgs, b]\n  space:\n    strategy.rounds: [1, 1]\n"
        "    strategy.mask_ratio: [0.5, 1.5]\n    strategy.tau: {low: 0.1, high: 1}\n",
    )
    for said in (
        "1: model.name: unknown model (got 'ViT-B-166')",
        "2: training.learning_rat: unknown key",
        "5: strategy.taw: unknown field of strategy 'pgs'",
        "6: evaluation.suite: no suite of this name ships",
        "8: arms.a.strategy.mask_ratio: mask_ratio must be in",
        "8: arms.a.training.eps: input should be greater than 0",
        "10: search.arms.1: the arm is searched already",
        "10: search.arms.2: search.arms names no arm (got 'b')",
        "12: search.space.strategy.rounds: a choice is listed twice (got 1)",
        "13: search.space.strategy.mask_ratio (arm pgs): mask_ratio must be in",
    ):
        assert said in text, said


def test_mistakes_of_a_search_about_the_suite_are_named_in_one_pass(tmp_path: Path) -> None:
    search = "metric: nonsense, probe: {tasks: [nope, retrieval, never], at: [0.5]}"
    text = complaint(tmp_path, f"search: {{{search}, space: {{strategy.tau: [1]}}}}")
    for said in ("metric: the suite has no such score (got 'nonsense')", "(got 'nope')", "(got 'never')"):
        assert said in text, said


def test_all_overrides_without_a_value_are_named(tmp_path: Path) -> None:
    text = complaint(tmp_path, "{}", "model", "training.samples")
    assert "(got 'model')" in text
    assert "(got 'training.samples')" in text


def test_a_rule_is_not_told_where_what_it_compares_is_wrong(tmp_path: Path) -> None:
    text = complaint(tmp_path, "training: {samples: 32, batch_size: many}\nseeds: [0, 0]\n")
    assert "1: training.batch_size: input should be a valid integer" in text
    assert "seeds must differ" in text
    assert "samples (32)" not in text  # 64 is the default, not what the user wants


def test_a_warm_up_has_steps_or_a_share_and_ends_within_the_training(tmp_path: Path) -> None:
    base = "training: {samples: 640, warmup_share: 0.1}\n"
    text = complaint(tmp_path, f"{base}arms: {{a: {{training: {{warmup_steps: 11}}}}}}")
    assert "2: arms.a.training.warmup_steps: the warm-up has a number of steps" in text
    assert "so no share of them (0.1) (got 11)\n  -> leave one out" in text
    assert "the warm-up is longer than the training, which has 10 steps (got 11)" in text
    text = complaint(tmp_path, base, "training.warmup_steps=3")
    assert "--set training.warmup_steps=3: training.warmup_steps: the warm-up has a number" in text
    assert "longer" not in text
    search = "search: {space: {training.samples: [64, 640]}}\ntraining: {warmup_steps: 5}"
    assert "the warm-up is longer than the training" in complaint(tmp_path, search)
    path = tmp_path / "study.yaml"
    path.write_text("training: {samples: 640, warmup_steps: 10}\narms: {a: {training: {warmup_steps: null}}}")
    config = open_study_file(path).run_config("a", {}, 0).training
    assert (config.warmup_steps, config.num_warmup_steps) == (None, 0)


def test_a_mistake_beside_one_around_it_hides_no_others(tmp_path: Path) -> None:
    text = complaint(
        tmp_path, "search: {space: {strategy.tau: {low: 2, high: 1, stap: 1}, a: []}, trials: x}\nb: 1"
    )
    for said in ("strategy.tau.stap: unknown key", "search.space.a", "search.trials", "b: unknown key"):
        assert said in text


def test_a_strategys_mistake_in_the_base_is_not_told_of_an_arm_that_only_changes_it(tmp_path: Path) -> None:
    text = complaint(tmp_path, "strategy: {bad: 1}\narms: {soft: {strategy: {tau: 0.5}}}\n")
    assert text.count("unknown field") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {learning_rate: .inf}", "training.learning_rate: input should be a finite number"),
        ("training: {learning_rate: 1e9}", "training.learning_rate: input should be less than or equal to"),
        ("training: {samples: 1e300}", "training.samples"),
        ("training: {batch_size: 1_000_000_000}", "training.batch_size"),
        ("data: {workers: 100_000}", "data.workers: input should be less than or equal to 256"),
        ("data: {memory_limit_gib: .nan}", "data.memory_limit_gib: input should be a finite number"),
        (
            "data: {memory_limit_gib: 1e-300}",
            "data.memory_limit_gib: input should be greater than or equal to",
        ),
        (
            "data: {train: a::b, weights: [1e-300, 1]}",
            "data.weights.0: input should be greater than or equal",
        ),
        (
            "data: {weights: [1, 2, 3]}",
            "data.weights: each part of data.train between `::` has a weight: 1, not",
        ),
        ("data: {train: 5, weights: [1, 2]}", "1: data.train: input should be a valid string (got 5)"),
        ("arms: {a: {data: {train: a::b, weights: [1]}}}", "arms.a.data.weights: each part of data.train"),
        ("model: {token_std: 1e-300}", "model.token_std: input should be greater than or equal to"),
        (
            "training: {grad_clip_norm: 1e300}",
            "training.grad_clip_norm: input should be less than or equal to",
        ),
        (
            f"training: {{log_every_steps: {10**24}}}",
            "training.log_every_steps: input should be less than or equal to",
        ),
        (
            f"training: {{checkpoint_every_steps: {10**29}}}",
            "training.checkpoint_every_steps: input should be less",
        ),
        ("strategy: {name: pgs, rounds: 1_000_000_000_000}", "rounds must be between 0 and 1000, not"),
        (
            "strategy: {name: pgs-mixed, edge_spread: 1_000_000_000}",
            "edge_spread must be between 0 and 1000, not",
        ),
        ("strategy: {name: pgs, tau: 1e300}", "tau must be between 0.01 and 1000, not 1e+300"),
        ("strategy: {name: pgs, edge_weight: 1e300}", "edge_weight must be between 0 and 1e+06, not 1e+300"),
        ("strategy: {name: pgs, edge_penalty: 1e300}", "edge_penalty must be between 0 and 1e+06, not"),
        ("strategy: {name: pgs, threshold: 1e308}", "threshold must be between -1000 and 1000, not"),
        (
            "strategy: {name: pgs-mixed, pattern_side: 1_000_000}",
            "pattern_side must be between 1 and 4096, not",
        ),
        ("strategy: {name: block, blocks: 1_000_000_000}", "blocks must be between 1 and 1000, not"),
        ("strategy: {name: block, max_aspect: 1e300}", "max_aspect must be between 1 and 1000, not 1e+300"),
        ("strategy: {name: attentive, block_side: 1_000_000}", "block_side must be between 1 and 256, not"),
        (
            "text: {strategy: block, keep: 100_000}",
            "text.keep: keep must be at least 3, the marks included, at most 10,000, not 100000",
        ),
        ("text: {strategy: frequency, min_count: 1e300}", "text.min_count"),
        (f"seeds: [{2**70}]", "seeds.0: input should be less than or equal to"),
        (f"seeds: [{'9' * 5000}]", "not readable as YAML"),
        ("a: 2001-99-99", "not readable as YAML"),
        (f"name: {'n' * 250}", "name: string should have at most 100 characters"),
        (f"arms: {{{'n' * 250}: {{}}}}", "string should have at most 100 characters"),
        (f"model: {'n' * 300}.json", "no such model configuration"),
        (f"evaluation: {{suite: {'n' * 300}}}", "no suite of this name"),
        (f"strategy: {'n' * 300}.py:Mine", "the file of this strategy does not exist"),
        ("model: ViT-B/16", "unknown model"),
        ("arms: {a: {model: {name: RN500}}}", "arms.a.model.name: unknown model (got 'RN500')"),
        ("search: {space: {model.name: [tiny-vit, tiny-vat]}}", "unknown model (got 'tiny-vat')"),
    ],
)
def test_absurd_values(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{strategy.tau: [0.5, 0.50]}", "a choice is listed twice (got 0.5)"),
        ("{strategy.mask_ratio: [0, 0.0]}", "a choice is listed twice (got 0.0)"),
        ("{strategy.tau: {low: 0.1, high: 1, step: 1e-12}}", "and this one has 900,000,000,001"),
        (
            "{strategy.tau: {low: 0.1, high: 1, step: 0.01}, strategy.rounds: {low: 1, high: 200}}",
            "a grid has at most 10,000 points, and this one has 18,200",
        ),
        (f"{{training.samples: {list(range(1001))}}}", "at most 1,000 choices can be listed (got 1001)"),
        ("{strategy: [pgs, flip], strategy.mask_ratio: [0.5]}", "must not lie inside of another"),
    ],
)
def test_a_space_with_doubled_or_endless_points(tmp_path: Path, space: str, said: str) -> None:
    assert said in complaint(tmp_path, f"search: {{space: {space}}}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{low: 0.1, high: .inf, step: 1}", ".high: input should be a finite number (got inf)"),
        ("{low: 2, high: 1}", ": low must be below high"),
        (
            "{low: 1, high: 2, step: 1, stap: 1}",
            ".stap: unknown key (got 'stap')\n  -> did you mean 'step'? valid: high,",
        ),
        ("{choices: []}", ".choices: list should have at least 1 item after validation, not 0"),
        ("{choices: [1], low: 2}", ".low: unknown key (got 'low')\n  -> valid: choices, when"),
        ("[]", ": list should have at least 1 item after validation, not 0"),
        ("0.5", ": input should be a valid list (got 0.5)"),
    ],
)
def test_what_is_wrong_with_a_searched_path_is_told_once(tmp_path: Path, given: str, said: str) -> None:
    text = complaint(tmp_path, f"search: {{space: {{strategy.tau: {given}}}}}")
    assert text.startswith(f"1: search.space.strategy.tau{said}")
    assert "problems" not in text


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("'x/{00000..99999999999}.tar'", "the braces stand for more than 1,000,000 shards"),
        (f"'{'{0..9}' * 12}'", "the braces stand for more than 1,000,000 shards"),
        (f"'{'{' * 3000}'", "every `{` needs its `}`"),
        ("'x/{0..3}.tar::x/{0..3.tar'", "every `{` needs its `}` (got 'x/{0..3.tar')"),
    ],
)
def test_braces_of_training_data_are_counted_before_it_is_looked_for(
    tmp_path: Path, train: str, said: str
) -> None:
    assert complaint(tmp_path, f"data: {{train: {train}}}").startswith(f"1: data.train: {said}")
    text = complaint(tmp_path, f"arms: {{a: {{data: {{train: {train}}}}}}}")
    assert text.startswith(f"1: arms.a.data.train: {said}")


def test_true_and_one_are_two_choices(tmp_path: Path) -> None:
    assert "listed twice" not in complaint(tmp_path, "search: {space: {strategy.otn: [true, 1]}}")


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "stands for more than 100,000 values"),
        (BOMB.replace("[x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"), "more than 100,000"),
        ("a: " + "[" * 10_000, "levels deep"),
        ("a: " + "[" * 100 + "]" * 100, "levels deep"),
        ("a: &a {b: *a}", "an alias lies inside of itself"),
        ("a: &a [*a]", "an alias lies inside of itself"),
        ("? [a, b]\n: 1", "a key must be plain text"),
        ("a: " + "x" * 2**20, "larger than"),
    ],
)
def test_a_text_that_explodes_or_never_ends(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_an_override_that_explodes(tmp_path: Path) -> None:
    assert "an alias lies inside of itself" in complaint(tmp_path, "{}", "arms=&a {a: *a}")


STRATEGY = """
from dataclasses import dataclass
from typing import ClassVar
from pgsbench.masking.base import keep_all

@dataclass(frozen=True)
class Mine:
    mask_ratio: float = 0.5
    needs: ClassVar[frozenset] = frozenset()

    def select(self, view, *, draws):
        return keep_all(view)
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    def __post_init__(self):\n        len(3)\n", "raises when it is made: TypeError: object of"),
        (
            "    def __post_init__(self):\n        raise SystemExit(3)\n",
            "raises when it is made: SystemExit: 3",
        ),
        ("    size: 'Unknown' = 1\n", "type hints of this strategy cannot be read: NameError"),
        ("raise SystemExit\n", "cannot be imported: SystemExit"),
        ("import sys\nsys.exit(0)\n", "cannot be imported: SystemExit: 0"),
    ],
)
def test_a_strategy_that_raises_is_named_with_the_cause(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(STRATEGY + more)
    text = complaint(tmp_path, "arms: {mine: {strategy: mine.py:Mine}}")
    assert said in text
    assert "arms.mine.strategy" in text
    assert "mine.py" in text


def test_a_property_that_raises(tmp_path: Path) -> None:
    broken = "    @property\n    def mask_ratio(self):\n        raise KeyError('x')\n"
    (tmp_path / "mine.py").write_text(STRATEGY.replace("    mask_ratio: float = 0.5\n", broken))
    text = complaint(tmp_path, "strategy: mine.py:Mine")
    assert "strategy: `mask_ratio` of this strategy raises: KeyError: 'x' (got 'mine.py:Mine')" in text


def test_a_protocol_that_raises_is_named_with_its_task(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    primary = 'acc'\n"
        "    measure = None\n    @property\n    def requires(self):\n        raise KeyError('x')\n"
    )
    task = "{name: a, data: d, protocol: 'mine.py:Mine', group: g}"
    (tmp_path / "suite.yaml").write_text(f"name: x\ntasks:\n  - {task}\n")
    text = complaint(tmp_path, f"evaluation: {{suite: {tmp_path}/suite.yaml}}")
    assert "suite.yaml:3: tasks.0: `requires` of this protocol raises: KeyError: 'x'" in text


def test_a_class_that_cannot_be_loaded_is_a_plugin_error(tmp_path: Path) -> None:
    from pgsbench.masking.configure import configure

    (tmp_path / "mine.py").write_text("raise SystemExit")
    with pytest.raises(PluginError, match=r"mine\.py: .*SystemExit"):
        configure("mine.py:Mine", {}, relative_to=tmp_path)
