"""One colour an arm, the same in every figure of a report and in MLflow's charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

#: Colours of arms, in the order of the plan (Okabe & Ito 2008, reordered; the yellow is left out, as it
#: vanishes on white; the last is Paul Tol's wine).
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#6e7781", "#882255")

#: How far the last of several points of an arm is from the arm's colour to the paper's.
_FAINTEST = 0.55


def arm_colours(arms: Iterable[str], palette: Sequence[str] = PALETTE) -> dict[str, str]:
    """Return a colour for each arm, by its place in the plan.

    Args:
        arms: All arms of the study, in the order of the plan.
        palette: The colours to take.
    """
    return {arm: palette[number % len(palette)] for number, arm in enumerate(dict.fromkeys(arms))}


def label_colours(
    arm_of: Mapping[str, str], palette: Sequence[str] = PALETTE, *, paper: str = "#ffffff"
) -> dict[str, str]:
    """Return a colour for each label: that of its arm, paler from one searched point to the next.

    Args:
        arm_of: Label -> arm, all labels of the study, in the order of the plan.
        palette: The colours of arms.
        paper: What colours get paler towards.
    """
    of_arm = arm_colours(arm_of.values(), palette)
    found = {}
    for arm, colour in of_arm.items():
        labels = [label for label, its in arm_of.items() if its == arm]
        for number, label in enumerate(labels):
            found[label] = _mixed(colour, paper, _FAINTEST * number / max(1, len(labels) - 1))
    return {label: found[label] for label in arm_of}


def _mixed(colour: str, other: str, share: float) -> str:
    ours, theirs = (bytes.fromhex(text.removeprefix("#")) for text in (colour, other))
    return "#" + bytes(round(a + share * (b - a)) for a, b in zip(ours, theirs, strict=True)).hex()
