"""From the files of the two picture sets to small pictures on plain backgrounds."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pgsbench.data.tar import EncodedImage

Pixels = npt.NDArray[np.uint8]

SOURCE_SIZE = 72

#: Transparent pixels around a source, without which a turned picture that fills its square has jagged edges.
_MARGIN = 2

WHITE = (255, 255, 255)

#: Plain backgrounds beside white, by the colour word that captions use.
BACKGROUNDS = {
    "red": (214, 48, 49),
    "orange": (243, 146, 55),
    "yellow": (250, 218, 94),
    "green": (76, 160, 84),
    "blue": (66, 122, 205),
    "purple": (142, 84, 170),
    "brown": (128, 88, 58),
    "black": (24, 24, 26),
    "grey": (150, 152, 156),
    "pink": (246, 168, 196),
}

#: OpenMoji leaves a margin that Twemoji does not: enlarged by this factor the median drawing is as large.
_OPENMOJI_ZOOM = 1.25

#: A background nearer than this to the mean colour of a picture (Euclidean, 0-255) would swallow it.
_MIN_CONTRAST = 90.0


@dataclass(frozen=True)
class Placement:
    """Where and how large a picture is drawn.

    Attributes:
        scale: Side of the picture as a share of the canvas.
        degrees: Rotation, counter-clockwise.
        shift: Offset of its centre from the canvas centre, right and down, as shares of the canvas.
    """

    scale: float = 0.9
    degrees: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


def read_twemoji(path: Path) -> Image.Image:
    """Return a Twemoji picture with a thin margin (76 x 76, alpha premultiplied)."""
    with Image.open(path) as image:
        return _with_margin(image.convert("RGBA"))


def read_openmoji(path: Path) -> Image.Image:
    """Return an OpenMoji drawing as pixels (76 x 76, alpha premultiplied), its wide margin cut down."""
    import resvg_py

    side = round(SOURCE_SIZE * _OPENMOJI_ZOOM)
    # System fonts differ between machines; OpenMoji draws its letters as paths and needs none.
    data = resvg_py.svg_to_bytes(svg_path=str(path), width=side, height=side, skip_system_fonts=True)
    margin = (side - SOURCE_SIZE) // 2
    with Image.open(io.BytesIO(bytes(data))) as image:
        inner = image.convert("RGBA").crop((margin, margin, margin + SOURCE_SIZE, margin + SOURCE_SIZE))
    return _with_margin(inner)


def _with_margin(image: Image.Image) -> Image.Image:
    side = SOURCE_SIZE + 2 * _MARGIN
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    canvas.paste(image, (_MARGIN, _MARGIN))
    return canvas.convert("RGBa")


def place(
    picture: Image.Image, size: int, placement: Placement, background: tuple[int, int, int]
) -> tuple[Pixels, Pixels]:
    """Draw a picture on a plain background.

    Returns:
        The picture (size, size, 3) and its object map (size, size): 1 where the emoji is, 0 elsewhere.
    """
    zoom = SOURCE_SIZE / (placement.scale * size)
    angle = math.radians(placement.degrees)
    cos, sin = math.cos(angle) * zoom, math.sin(angle) * zoom
    x, y = (size * (0.5 + offset) for offset in placement.shift)
    half = SOURCE_SIZE / 2 + _MARGIN
    inverse = (cos, -sin, half - cos * x + sin * y, sin, cos, half - sin * x - cos * y)
    drawn = picture.transform((size, size), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR)
    pixels = np.asarray(drawn)
    alpha = pixels[..., 3:].astype(np.uint16)
    behind = (255 - alpha) * np.array(background, dtype=np.uint16) // 255
    return (pixels[..., :3] + behind).astype(np.uint8), (pixels[..., 3] > 127).astype(np.uint8)


def mean_colour(picture: Image.Image) -> npt.NDArray[np.float64]:
    """Return the mean RGB of what is drawn, in 0-255."""
    pixels = np.asarray(picture, dtype=np.float64).reshape(-1, 4)
    colour: npt.NDArray[np.float64] = pixels[:, :3].sum(axis=0) / max(pixels[:, 3].sum() / 255.0, 1.0)
    return colour


def draw_background(
    mean: npt.NDArray[np.float64], generator: np.random.Generator
) -> tuple[str, tuple[int, int, int]]:
    """Draw a background colour, by name and RGB, that does not swallow a picture of this mean colour."""
    for number in generator.permutation(len(BACKGROUNDS)):
        name, colour = list(BACKGROUNDS.items())[number]
        if np.linalg.norm(mean - colour) > _MIN_CONTRAST:
            break
    red, green, blue = np.clip(np.array(colour) + generator.integers(-14, 15, size=3), 0, 255).tolist()
    return name, (red, green, blue)


def png(pixels: Pixels) -> EncodedImage:
    """Encode a picture (h, w, 3) or an object map (h, w) without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return EncodedImage(buffer.getvalue(), "png")
