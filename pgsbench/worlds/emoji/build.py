"""Writes the files: training shards from Twemoji, evaluation sets from Twemoji and OpenMoji."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from pgsbench.data import evalset, store
from pgsbench.data.tar import EncodedImage, write_tar
from pgsbench.worlds.emoji import captions, drawing, pairs
from pgsbench.worlds.emoji.catalogue import ATTRIBUTION, Emoji, openmoji_files, read_catalogue, twemoji_files
from pgsbench.worlds.emoji.concepts import concept_of, split_by_concept
from pgsbench.worlds.emoji.recipe import Recipe, identity


def make(
    root: Path,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008
    progress: store.Progress | None = None,
) -> Path:
    """Make the data set, or reuse it where it exists, and return its folder.

    Args:
        root: Folder of all data sets.
        recipe: What to make.
        progress: Told after each archive.

    Raises:
        DataError: A package of the extra ``emoji`` is missing or of another version.
    """
    folder = root / f"emoji-{identity(recipe)}"
    if (folder / store.MANIFEST).is_file():
        return folder
    catalogue = read_catalogue()
    with store.new_folder(folder) as scratch:
        evaluations = _write(scratch, catalogue, recipe, progress)
        store.write_manifest(
            scratch,
            store.Dataset(
                name="emoji",
                identity=identity(recipe),
                recipe=asdict(recipe),
                num_train=recipe.num_train,
                evaluations=evaluations,
                attribution=ATTRIBUTION,
            ),
        )
    return folder


def _write(
    folder: Path, catalogue: list[Emoji], recipe: Recipe, progress: store.Progress | None
) -> dict[str, int]:
    """Write training shards and evaluation sets and return the size of each evaluation set."""
    training, held_out = split_by_concept(catalogue, held_out=recipe.held_out, seed=recipe.seed)
    _write_training(folder / "train", training, recipe, progress)
    evaluations: dict[str, int] = {}
    files, drawings = twemoji_files(), openmoji_files()
    styles = {
        "": {emoji.key: drawing.read_twemoji(files[emoji.key]) for emoji in held_out},
        "openmoji-": {emoji.key: drawing.read_openmoji(drawings[emoji.key]) for emoji in held_out},
    }
    for prefix, drawn in styles.items():
        encoded = {key: _encode(picture, recipe.image_size) for key, picture in drawn.items()}
        evaluations |= _write_style(folder / "eval", prefix, held_out, encoded)
    subsets = pairs.make_pairs(held_out)
    used = sorted({pair.image_key for subset in subsets.values() for pair in subset})
    shown = {key: _encode(drawing.read_twemoji(files[key]), recipe.image_size) for key in used}
    evaluations["pairs"] = sum(evalset.write_pairs(folder / "eval" / "pairs", shown, subsets).values())
    return evaluations


def training_pair(
    index: int, order: list[Emoji], drawn: Mapping[str, Image.Image], recipe: Recipe
) -> tuple[Emoji, str, drawing.Pixels, drawing.Pixels]:
    """Draw the training pair number `index`.

    Args:
        index: Also the seed of the draw: the pair is the same however many others are made.
        order: Emoji in the order of their turns; every emoji has its turn equally often.
        drawn: Pictures by key, in all skin tones.
        recipe: Ranges of the draws.

    Returns:
        What is shown, the caption, the picture (h, w, 3) and its object map (h, w).
    """
    generator = np.random.default_rng([recipe.seed, index])
    emoji = order[index % len(order)]
    choices: list[tuple[str | None, str]] = [(None, emoji.key), *emoji.tones.items()]
    tone, key = choices[int(generator.integers(len(choices)))]
    picture = drawn[key]
    scale = float(generator.uniform(0.72, 1.0))
    room = (1.0 - scale) / 2 + 0.03
    shift_x, shift_y = generator.uniform(-room, room, size=2).tolist()
    degrees = float(generator.uniform(-recipe.max_degrees, recipe.max_degrees))
    name, colour = None, drawing.WHITE
    if generator.random() >= recipe.white:
        name, colour = drawing.draw_background(drawing.mean_colour(picture), generator)
        if generator.random() >= recipe.named_background:
            name = None
    caption = captions.training_caption(emoji, tone, name, generator)
    placement = drawing.Placement(scale, degrees, (shift_x, shift_y))
    pixels, objects = drawing.place(picture, recipe.image_size, placement, colour)
    return emoji, caption, pixels, objects


def _write_training(
    folder: Path, training: list[Emoji], recipe: Recipe, progress: store.Progress | None
) -> None:
    files = twemoji_files()
    keys = [key for emoji in training for key in (emoji.key, *emoji.tones.values())]
    drawn = {key: drawing.read_twemoji(files[key]) for key in keys}
    order = [training[i] for i in np.random.default_rng(recipe.seed).permutation(len(training))]
    folder.mkdir()

    def samples(start: int, stop: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        for index in range(start, stop):
            _, caption, pixels, objects = training_pair(index, order, drawn, recipe)
            yield (
                f"{index:06d}",
                {
                    "png": drawing.png(pixels).data,
                    "txt": caption.encode(),
                    "objects.png": drawing.png(objects).data,
                },
            )

    for number, start in enumerate(range(0, recipe.num_train, recipe.train_shard)):
        stop = min(start + recipe.train_shard, recipe.num_train)
        write_tar(folder / f"{number:05d}.tar", samples(start, stop))
        if progress:
            progress("drawing emoji", stop, recipe.num_train)


def _write_style(
    folder: Path, prefix: str, held_out: list[Emoji], encoded: Mapping[str, EncodedImage]
) -> dict[str, int]:
    """Write the retrieval and the group set of one style and return their sizes."""
    captioned = _unambiguous({emoji.key: captions.retrieval_captions(emoji) for emoji in held_out})
    retrieval = evalset.write_retrieval(
        folder / f"{prefix}retrieval",
        ((emoji.key, encoded[emoji.key], captioned[emoji.key]) for emoji in held_out),
    )
    groups = captions.class_names()
    # One picture a concept: a worker as man, woman and person would count three times.
    first = {concept_of(emoji): emoji for emoji in reversed(held_out)}
    group = evalset.write_classification(
        folder / f"{prefix}group",
        ((e.key, encoded[e.key], groups.index(e.group)) for e in sorted(first.values(), key=lambda e: e.key)),
        classnames=groups,
        templates=captions.GROUP_TEMPLATES,
    )
    return {f"{prefix}retrieval": retrieval, f"{prefix}group": group}


def _unambiguous(captioned: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drop captions that several images share: no retrieval metric can score them fairly."""
    owners: dict[str, set[str]] = {}
    for key, texts in captioned.items():
        for text in texts:
            owners.setdefault(text, set()).add(key)
    return {key: [text for text in texts if len(owners[text]) == 1] for key, texts in captioned.items()}


def _encode(picture: Image.Image, size: int) -> EncodedImage:
    return drawing.png(drawing.place(picture, size, drawing.Placement(), drawing.WHITE)[0])
