"""The first fifty losses of every strategy on scenes are those that were written down.

golden/losses.json was written by ``python tests/training/test_golden_losses.py`` with the platform that it
names. On that platform losses are equal to the bit; elsewhere sums are rounded otherwise, and rounding grows.
Who changes what a configuration gives writes it again, and raises RESULTS_VERSION.
"""

from __future__ import annotations

import json
import platform
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

import trainings
from trainings import Training, run

from pgsbench.data.memory import InMemory
from pgsbench.masking import STRATEGIES
from pgsbench.masking.text import TEXT_STRATEGIES
from pgsbench.models.clip import build
from pgsbench.worlds.pictures import to_bytes
from pgsbench.worlds.scenes import Knobs
from pgsbench.worlds.scenes.captions import caption
from pgsbench.worlds.scenes.paint import paint
from pgsbench.worlds.scenes.scene import draw_mixed

GOLDEN = Path(__file__).parents[1] / "golden" / "losses.json"
TRAININGS = {
    **{name: Training(name) for name in STRATEGIES.builtin},
    **{f"text {name}": Training(text=name) for name in TEXT_STRATEGIES.builtin if name != "none"},
}
#: How far the mean of ten losses may be from the golden one on another platform.
TOLERANCE = 0.02


def this_platform() -> dict[str, str]:
    """Return what decides how sums are rounded."""
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.processor()


@cache
def scenes() -> InMemory:
    """Return 256 scenes as they are painted, before an image file rounds them."""
    drawing, painting = np.random.SeedSequence(0).spawn(2)
    rng = np.random.default_rng(drawing)
    drawn = draw_mixed(rng, 256, Knobs())
    captions = [caption(rng, drawn, row) for row in range(256)]
    pictures, objects = paint(painting, drawn, 32, Knobs())
    images = torch.from_numpy(to_bytes(pictures)).permute(0, 3, 1, 2).contiguous()
    texts = build("tiny-vit", seed=0).tokenize(captions).int()
    return InMemory(images, texts, torch.from_numpy(objects))


def losses_of(training: Training) -> list[float]:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "pairs", scenes)
        return run(training.changed(samples=50 * 16), Path(folder)).losses


@pytest.mark.parametrize("name", TRAININGS)
def test_the_losses_are_the_golden_ones(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    found, expected = losses_of(TRAININGS[name]), golden["losses"][name]
    if golden["platform"] == this_platform():
        assert found == expected
    else:
        means = [[sum(row[i : i + 10]) / 10 for i in range(0, 50, 10)] for row in (found, expected)]
        assert means[0] == pytest.approx(means[1], abs=TOLERANCE)
        assert found[0] == pytest.approx(expected[0], abs=1e-4)


def test_every_strategy_has_its_own() -> None:
    rows = json.loads(GOLDEN.read_text())["losses"]
    assert set(rows) == set(TRAININGS)
    assert {len(row) for row in rows.values()} == {50}
    assert rows["flip"] == rows["random"], "flip is random at one half"
    others = [tuple(row) for name, row in rows.items() if name != "flip"]
    assert len(set(others)) == len(others)


if __name__ == "__main__":
    torch.set_num_threads(1)
    written = {name: losses_of(training) for name, training in TRAININGS.items()}
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in written.items())
    text = f'{{\n "platform": {json.dumps(this_platform())},\n "losses": {{\n{rows}\n }}\n}}\n'
    GOLDEN.write_text(text)
