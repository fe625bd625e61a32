"""Every mistake in a study is named at once, before anything is made or trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_files import complaint, load
from tinyworld import HALF

# A text that grows while it is read would be read for minutes or for ever.
pytestmark = pytest.mark.timeout(120)


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
        "2: training.learning_rat: unknown key (got 'learning_rat')\n  -> did you mean 'learning_rate'?",
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


def test_a_warm_up_ends_within_the_training(tmp_path: Path) -> None:
    text = complaint(tmp_path, "training: {samples: 640}\narms: {a: {training: {warmup_steps: 11}}}")
    assert "2: arms.a.training.warmup_steps: the warm-up is longer than the training, which has 10" in text
    search = "search: {space: {training.samples: [64, 640]}}\ntraining: {warmup_steps: 5}"
    assert "the warm-up is longer than the training" in complaint(tmp_path, search)
    study = load(
        tmp_path, "training: {samples: 640, warmup_steps: 10}\narms: {a: {training: {warmup_steps: null}}}"
    )
    config = study.run_config("a", {}, 0).training
    assert (config.warmup_steps, config.num_warmup_steps) == (None, 0)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {learning_rate: .inf}", "training.learning_rate: input should be a finite number"),
        ("data: {weights: [1, 2, 3]}", "data.weights: each part of data.train between `::` has a weight: 1"),
        ("arms: {a: {data: {train: a::b, weights: [1]}}}", "arms.a.data.weights: each part of data.train"),
        ("strategy: {name: pgs, rounds: 1_000_000_000_000}", "rounds must be between 0 and 1000, not"),
        (f"seeds: [{'9' * 5000}]", "not readable as YAML"),
        (f"model: {'n' * 300}.json", "no such model configuration"),
        (f"evaluation: {{suite: {'n' * 300}}}", "no suite of this name"),
        (f"strategy: {'n' * 300}.py:Mine", "the file of this strategy does not exist"),
        ("arms: {a: {model: {name: RN500}}}", "arms.a.model.name: unknown model (got 'RN500')"),
        ("search: {space: {model.name: [tiny-vit, tiny-vat]}}", "unknown model (got 'tiny-vat')"),
        ("a: [1", "not readable as YAML"),
        ("a: 1\na: 2", "duplicate key"),
        ("- 1", "a mapping of keys"),
        ("seeds: [1, 1]", "seeds must differ"),
        ("training: {samples: 8, batch_size: 64}", "samples (8) must be at least batch_size (64)"),
        ("arms:\n  a/b: {}", "2: arms.a/b: string should match pattern"),
        ("arms:\n  a: {seed: 7}", "2: arms.a.seed: every arm is trained with the same seeds (got 7)"),
        ("search: {space: {strategy.tau: {low: 1, high: 2}}}", "strategy.tau: a grid needs choices or a"),
        ("search: {space: {strategy.rounds: {low: 1, high: 2, log: true, step: 1}}}", "and no `log`"),
        ("search: {space: {a: {low: 1, high: 2, log: true, step: 2}}}", "no step but 1"),
        ("search: {space: {a: [1]}, sampler: tpe}", "needs `trials`"),
        ("search: {space: {strategy.mask_ratio: [0, 0.0]}}", "a choice is listed twice (got 0.0)"),
        ("search: {space: {strategy.tau: {low: 0.1, high: 1, step: 1e-12}}}", "this one has 900,000,000,001"),
        ("search: {space: {strategy: [pgs], strategy.tau: [1]}}", "must not lie inside of another"),
        ("text: {strategy: frequency, keep: 2}", "1: text.keep: keep must be at least 3"),
        ("search: {space: {strategy.taw: [1.0]}}", "search.space.strategy.taw (arm pgs): unknown field"),
        ("search: {space: {traning.eps: [1]}}", "search.space.traning.eps (arm pgs): unknown key"),
        ("search: {space: {seed: [1]}}", "every arm is trained with the same seeds"),
        ("search: {space: {strategy.tau: {choices: [1], when: {a: [1]}}}}", "`when` names `arm`, or a path"),
        ("search: {space: {strategy.tau: {choices: [1], when: {arm: [a]}}}}", "arm never has this value"),
        ("search: {space: {strategy.tau: [1]}, first: [{strategy.a: 1}]}", "search.first: not searched"),
        ("search: {space: {strategy.tau: [1]}, metric: [-flops, mean]}", "a score comes first"),
        ("search: {space: {strategy.tau: [1]}, metric: [mean, flops]}", "a cost has a minus before it"),
        ("search: {space: {strategy.tau: [1]}, pruner: median}", "a pruner needs scores to look at"),
        ("search: {space: {strategy.tau: [1]}, pruner: median, metric: [mean, -flops]}", "for one metric"),
        ("evaluation: {during: {tasks: [scenes/shap]}}", "did you mean 'scenes/shape'"),
        ("evaluation: {during: {tasks: [scenes/shape], every: 2}}", "a share of the training such as"),
        ("evaluation: {during: {tasks: [scenes/shape], every: 3 weeks}}", "a share of the training such"),
        ("training: {keep: {best: scenes/shape}}", "that evaluation.during names"),
        ("training: {keep: {last: 2}}", "say how often"),
        ("budget: {equal: tokens, amount: 1e6}\ntraining: {samples: 64}", "pairs follows from the budget"),
        (
            "budget: {equal: tokens, amount: 1e6}\narms: {a: {training: {samples: 64}}}",
            "arms.a.training.samples: the number of pairs follows from the budget",
        ),
        (BOMB, "stands for more than 100,000 values"),
        (BOMB.replace("[x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"), "more than 100,000"),
        ("a: " + "[" * 100 + "]" * 100, "levels deep"),
        ("a: &a {b: *a}", "an alias lies inside of itself"),
        ("? [a, b]\n: 1", "a key must be plain text"),
        ("a: " + "x" * 2**20, "larger than"),
    ],
    ids=lambda value: value[:60],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{low: 0.1, high: .inf, step: 1}", ".high: input should be a finite number (got inf)"),
        ("{low: 2, high: 1}", ": low must be below high"),
        (
            "{low: 1, high: 2, step: 1, stap: 1}",
            ".stap: unknown key (got 'stap')\n  -> did you mean 'step'? valid: high,",
        ),
        ("[]", ": list should have at least 1 item after validation, not 0"),
        ("0.5", ": input should be a valid list (got 0.5)"),
    ],
)
def test_what_is_wrong_with_a_searched_path_is_told_once(tmp_path: Path, given: str, said: str) -> None:
    text = complaint(tmp_path, f"search: {{space: {{strategy.tau: {given}}}}}")
    assert text.startswith(f"1: search.space.strategy.tau{said}")
    assert "problems" not in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    def __post_init__(self):\n        len(3)\n", "raises when it is made: TypeError: object of"),
        ("    size: 'Unknown' = 1\n", "type hints of this strategy cannot be read: NameError"),
        ("import sys\nsys.exit(0)\n", "cannot be imported: SystemExit: 0"),
    ],
)
def test_a_strategy_that_raises_is_named_with_the_cause(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(HALF + more)
    text = complaint(tmp_path, "arms: {mine: {strategy: mine.py:Half}}")
    assert said in text
    assert "arms.mine.strategy" in text
    assert "mine.py" in text
