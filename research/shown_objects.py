"""What models that were trained on masked scenes lack at the test: do they miss objects, or the background?

``python -m research.shown_objects runs/baselines``. Nothing is trained. A model names the colour of the one
object of a scene, of whole pictures and of pictures whose object patches are kept first (half of the patches,
`pgsbench.masking.guided.Oracle`). A model that knows colours, but not which part of a picture is the object,
gains most by that.

Measured on twelve arms of the study `baselines`, means of three seeds, percent right:

=============  =====  ============  ============  ===================
arm            whole  object first  small, whole  small, object first
=============  =====  ============  ============  ===================
attentive      87.8   94.7          68.7          79.6
block          80.8   91.0          59.1          72.1
cluster-half   83.9   91.9          61.1          73.6
flip           87.2   94.0          68.5          78.5
grid           88.3   94.5          70.6          78.9
none           90.3   95.3          76.3          82.9
oracle         82.0   92.7          57.4          73.7
pgs-mixed      87.3   94.1          67.8          78.6
pgs-released   86.4   93.6          66.2          76.7
pgs            82.9   92.6          57.3          72.2
pgs-to-end     81.6   92.2          56.6          71.9
random-to-end  87.1   93.8          69.2          79.2
=============  =====  ============  ============  ===================

Masks that keep objects, or one part of a picture, lose most on whole pictures and little where the object is
pointed out: their models find it less well among backgrounds, which the training hardly showed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.script import show, start
from pgsbench.data.tar import EncodedImage
from pgsbench.evaluation.embed import Preprocess
from pgsbench.masking.guided import Oracle
from pgsbench.models.clip import Clip
from pgsbench.models.masked_tower import attach
from pgsbench.models.source import open_model
from pgsbench.tracking.rundir import RunDir
from pgsbench.worlds.scenes import Recipe, build
from pgsbench.worlds.scenes.words import COLOURS

#: Pictures in a batch: a whole set at once would need gigabytes.
BATCH = 252


def colours(small: bool = False, count: int | None = None) -> tuple[list[EncodedImage], Tensor]:
    """Return test scenes of one object, and the (b,) index of its colour.

    Args:
        small: Whether objects are as small as in the set ``small-colour``.
        count: How many; None: all.
    """
    recipe = Recipe()
    scenes, painting = build._single(recipe)
    shift = build.SHIFTS["small"] if small else build.Shift()
    scenes = shift.change(scenes[:count])
    return build._render(painting, scenes, recipe, shift), torch.from_numpy(scenes.colour[:, 0])


@torch.no_grad()
def accuracy(clip: Clip, pictures: list[EncodedImage], labels: Tensor, *, objects_first: bool) -> float:
    """Return the share of pictures whose colour a model names.

    Args:
        clip: The model.
        pictures: With their maps of objects.
        labels: (b,) int64 index of the colour.
        objects_first: Whether the model sees half of the patches, those of the object first.
    """
    model: Any = clip.model.eval()
    prepare = Preprocess(clip.preprocess_cfg)
    prompts = [[one.format(c=colour) for one in build.TEMPLATES["colour"]] for colour in COLOURS]
    words = torch.stack([normalize(model.encode_text(clip.tokenize(one)), dim=-1).mean(0) for one in prompts])
    masking, right = attach(model, Oracle(0.5 if objects_first else 0.0)), 0
    model.train()  # a tower is masked in training only; it has no dropout
    for first in range(0, len(pictures), BATCH):
        part = pictures[first : first + BATCH]
        maps = [np.array(Image.open(io.BytesIO(one.objects))) for one in part]
        masking.begin_step(seed=0, step=first, objects=torch.from_numpy(np.stack(maps)))
        images = normalize(model.encode_image(prepare([("", one) for one in part])), dim=-1)
        said = (images @ normalize(words, dim=-1).T).argmax(1)
        right += int((said == labels[first : first + BATCH]).sum())
    masking.detach()
    return right / len(pictures)


def main(study: Path) -> None:
    """Print what the runs of a study on scenes know of colours."""
    sets = {"": colours(), "small, ": colours(small=True)}
    rows = []
    for run in sorted(path.parent for path in study.glob("*/DONE")):
        clip = open_model(str(run)).clip
        found = {
            f"{name}{seen}": 100 * accuracy(clip, *pictures, objects_first=seen == "object first")
            for name, pictures in sets.items()
            for seen in ("whole", "object first")
        }
        rows.append({"arm": RunDir(run).spec.label, **found})
        print(rows[-1], flush=True)
    show(f"colours, {study}", pd.DataFrame(rows).groupby("arm", sort=False).mean().round(1).reset_index())


if __name__ == "__main__":
    start(main)
