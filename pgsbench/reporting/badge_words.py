"""What limits the answer of a study, in words: a few beside the headline, and a sentence behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pgsbench.config.search import TuneConfig
from pgsbench.reporting.render import PERCENT, and_, counted
from pgsbench.reporting.words import number


class Badge(NamedTuple):
    """What limits an answer.

    Attributes:
        short: In a few words, beside the headline.
        sentence: In full.
    """

    short: str
    sentence: str


def one_seed(of_all: bool = True) -> Badge:
    """Return what one seed leaves open."""
    short, whom = ("one seed", "") if of_all else ("an arm with one seed", " where an arm has one seed")
    return Badge(
        short, f"This training run only{whom}: intervals cover test items. Another seed may say otherwise."
    )


def picked(num_points: int, study: str) -> Badge:
    """Return that the best of many was picked by the scores that judge it."""
    return Badge(
        f"best of {num_points:,} points",
        f"The best of {num_points:,} points was picked by these very scores, which flatters it. Fresh seeds "
        f"tell: `pgsbench sweep {study} --confirm 3`.",
    )


def on_border(arms: Sequence[str], path: str, ends: str) -> Badge:
    """Return that the best of some arms lies at an end of what was searched, ``"0.25 to 0.75"``."""
    return Badge(
        "best on the border",
        f"The best {path} of {and_(arms)} is at the border of what was searched ({ends}): search beyond it.",
    )


def tuned(paths: Sequence[str], how: str) -> Badge:
    """Return that each arm was tuned by itself; `how` is from `tuned_how`."""
    return Badge("arms tuned", f"Each arm has its own {and_(paths)}. {how}")


def tuned_how(study: str, tune: TuneConfig) -> str:
    """Return how arms were tuned."""
    seeds = f"seed{'s' * (len(tune.seeds) > 1)} {and_(list(map(str, tune.seeds)))}"
    items = "test items that are not compared" if tune.on == "dev" else f"suite {tune.on}"
    return f"Every arm had the same points and budget, on {seeds} and on {items}: report {study}-tune."


def chose_default(seed: int, field: str, strategy: str) -> Badge:
    """Return that a seed helped to choose a default of the strategy that it judges."""
    return Badge(
        f"seed {seed} tuned {strategy}",
        f"Seed {seed} helped to choose `{field}` of {strategy}, which favours it.",
    )


def incomplete(done: int, planned: int, missing: Sequence[str]) -> Badge:
    """Return that runs are missing; `missing` has a line for each."""
    shown = "; ".join(missing[:3]) + (f"; {len(missing) - 3} others" if len(missing) > 3 else "")
    return Badge(
        f"{done} of {planned} runs", f"{counted(planned - done, 'run')} of {planned} have no scores: {shown}."
    )


def unfair(settings: Sequence[str], masks: str) -> Badge:
    """Return that arms differ in more than their masks."""
    return Badge("arms differ in more", f"The arms differ in more than {masks}: {and_(settings)}.")


#: How far the generated world may be believed; docs/scenes.md says how that is known.
SCENES = Badge(
    "scenes only", "Scenes rank masks only in part as photos do (docs/scenes.md). Try photos, too."
)


def large_margin(share: float, baseline: str, score: float, smaller: float) -> Badge:
    """Return that the margin is large beside a score, and how to ask for a smaller one."""
    return Badge(
        "large margin",
        f"The margin is {100 * share:.0f} % of the score of {baseline} ({PERCENT.text(score)}). A smaller "
        f"one: `pgsbench compare --until decided --margin {smaller:g}`.",
    )


def uneven_seeds(p_value: float) -> Badge:
    """Return that one arm varies more with the seed than others."""
    return Badge(
        "seeds vary unlike",
        f"Arms do not vary alike with the seed (Bartlett's test, p = {p_value:.3f}): the interval of the arm "
        "that varies most is too narrow.",
    )


def hangs_on_others(pairs: Sequence[str]) -> Badge:
    """Return that verdicts hang on what other arms or studies say of seeds."""
    return Badge(
        "leans on other arms",
        f"By the seeds of its two arms alone this is not decided: {and_(pairs)}.",
    )


def one_training(arms: Sequence[str]) -> Badge:
    """Return that arms are copies of one training."""
    return Badge("same training", f"{and_(arms)} are one training: they count once.")


def left_out(arms: Sequence[str], study: str) -> Badge:
    """Return that arms of the study are not compared."""
    names = and_(arms) if len(arms) < 4 else f"{len(arms)} arms"
    return Badge(
        f"{number(len(arms))} not compared",
        f"{names} of earlier commands are not compared; `pgsbench report {study}` compares all.",
    )


def ceiling(oracles: Sequence[str]) -> Badge:
    """Return that an oracle is no method."""
    verb, what = (
        ("knows", "is a ceiling, no method") if len(oracles) == 1 else ("know", "are ceilings, no methods")
    )
    return Badge("with a ceiling", f"{and_(oracles)} {verb} where the objects are and {what}.")


def learnt_nothing(runs: Sequence[str]) -> Badge:
    """Return which runs ended no better than guessing; each is a text with its losses."""
    shown = "; ".join(runs[:3]) + (f"; and {len(runs) - 3} others" if len(runs) > 3 else "")
    return Badge(
        "no better than guessing",
        f"The loss ended no better than guessing: {shown}. Lower training.learning_rate, or lengthen the "
        "warm-up.",
    )


def pruned(num_points: int, pruner: str, hours: float) -> Badge:
    """Return how many points were ended early, and what that saved."""
    what = counted(num_points, "point")
    return Badge(
        f"{what} pruned", f"{what} pruned ({pruner}): they count nowhere; {hours:.2g} hours were saved."
    )


def too_costly(count: int) -> Badge:
    """Return that points cost more than the study allows."""
    return Badge(f"{count} too costly", f"{counted(count, 'point')} above search.at_most left out.")


def no_effects(reason: str) -> Badge:
    """Return why nothing is said of what single settings do."""
    return Badge("effects not known", f"What each setting does cannot be told: {reason}.")


def of_data(notes: Sequence[str]) -> Badge:
    """Return what protocols noted of their tasks."""
    return Badge(f"{counted(len(notes), 'task')} with a note", f"{'; '.join(notes)}.")
