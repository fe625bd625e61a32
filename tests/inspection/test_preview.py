"""The preview of masks: what stands above, beside and under the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.patches import Rectangle

from pgsbench.inspection.inspected import named_strategies
from pgsbench.inspection.preview import Pictures, preview
from pgsbench.masking.guided import Cluster
from pgsbench.masking.pgs import Pgs
from pgsbench.masking.pgs_mixed import PgsMixed
from pgsbench.masking.random import Random
from pgsbench.models.clip import Clip, build


@pytest.fixture(scope="module")
def clip() -> Clip:
    return build("tiny-vit", seed=0)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    images = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    return Pictures(images, ["first", "second"])


def test_pgs_shows_its_edge_map_and_its_candidates(clip: Clip, pictures: Pictures) -> None:
    wide = PgsMixed(candidate_share=0.25)
    narrow = Pgs()
    drawn = preview(pictures, {"pgs": narrow, "wide": wide, "random": Random(0.75)}, clip, seed=0)
    titles = [axes.get_title(loc="left") for axes in drawn.axes[:6]]
    masks = ["pgs\n50 % masked", "wide\n50 % masked", "random\n75 % masked"]
    assert titles == ["image", "edges", "edges\nspread 1", *masks]
    outlined = [sum(isinstance(patch, Rectangle) for patch in axes.patches) for axes in drawn.axes[:6]]
    assert outlined == [0, 0, 0, 1, 4, 0]
    assert [text.get_text() for axes in drawn.axes[::6] for text in axes.texts] == ["first", "second"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["dropped", "candidates of pgs"]


def test_without_pgs_the_edge_map_stays_and_hidden_patches_are_explained(
    clip: Clip, pictures: Pictures
) -> None:
    drawn = preview(pictures, {"cluster": Cluster(threshold=0.0)}, clip, seed=0)
    assert drawn.axes[1].get_title(loc="left") == "edges"
    assert drawn.legends[0].get_texts()[1].get_text().startswith("hidden")
    assert not preview(pictures, {"random": Random()}, clip, seed=0).legends


def test_a_strategy_of_a_file_is_called_after_its_class(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text(
            "from pgsbench.masking.random import Random\nclass Spiral(Random): pass\n"
        )
    first, second = (f"{tmp_path}/{folder}/one.py:Spiral" for folder in "ab")
    assert list(named_strategies(["pgs", first])) == ["pgs", "Spiral"]
    assert list(named_strategies([first, second])) == ["Spiral", second]
