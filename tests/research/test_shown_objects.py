"""Colours of scenes whose objects are shown first."""

from __future__ import annotations

import torch

from pgsbench.models.clip import build
from research.shown_objects import accuracy, colours


def test_a_model_names_colours_of_whole_pictures_and_of_objects_shown_first() -> None:
    clip = build("scenes-vit", seed=0)
    pictures, labels = colours(count=24)
    weights = {name: value.clone() for name, value in clip.model.state_dict().items()}
    whole, first = (accuracy(clip, pictures, labels, objects_first=way) for way in (False, True))
    assert labels.unique().tolist() == [0, 1, 2, 3]
    assert all(0 <= share < 1 for share in (whole, first))  # untrained
    # The mask is taken off again.
    assert accuracy(clip, pictures, labels, objects_first=False) == whole
    assert all(map(torch.equal, clip.model.state_dict().values(), weights.values()))
