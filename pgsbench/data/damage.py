"""Samples that cannot be used: the reasons, how they are found early, and a run's account."""

from __future__ import annotations

import io
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from pgsbench.data.samples import Fault
from pgsbench.errors import DataError

NO_PICTURE, NO_CAPTION, EMPTY = "no picture", "no caption", "empty picture"
NO_IMAGE, TRUNCATED, TOO_LARGE = "not a picture", "truncated picture", "too large"
DAMAGED, NO_OBJECTS = "damaged picture", "no object map"
#: What the shard lacks of the samples that files beside it count; and the shard itself, which may come back.
ABSENT, VANISHED = "not in its shard", "shard vanished"

#: A picture of more pixels, or one that is so much longer than wide, is a bomb: it takes gigabytes once it is
#: decoded, or scaled to the size of a model.
MAX_PIXELS, MAX_ASPECT = 89_000_000, 50  # Pillow warns of more than 89.5 million

#: Where an image file ends well, this stands in its last bytes.
_ENDS, _TAIL = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}, 4096
#: Others that Pillow knows run programs (EPS) or are no pictures.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
Image.init()  # now: Pillow does it at the first picture, and other threads would meet half of its formats

#: What Pillow raises on damaged files; SyntaxError is its word for a damaged PNG.
PILLOW_ERRORS = (OSError, ValueError, SyntaxError, IndexError, KeyError, OverflowError, MemoryError)


class UnusableError(Exception):
    """A sample that cannot be used, and the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def open_picture(data: bytes) -> Image.Image:
    """Return an image file that Pillow has looked into and not decoded.

    Raises:
        UnusableError: It is empty, no image, or a bomb.
    """
    if not data:
        raise UnusableError(EMPTY)
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnusableError(NO_IMAGE) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # where warnings are errors
        raise UnusableError(TOO_LARGE) from None
    except PILLOW_ERRORS:
        raise UnusableError(DAMAGED) from None
    short, long = sorted(picture.size)
    if short * long > MAX_PIXELS or long > MAX_ASPECT * short:
        raise UnusableError(TOO_LARGE)
    return picture


def check_picture(data: bytes) -> None:
    """Check an image file without decoding it, unless it does not end as it should.

    Raises:
        UnusableError: It is empty, no image, a bomb, or truncated.
    """
    picture = open_picture(data)
    end = _ENDS.get(picture.format or "", b"")
    if end not in data[-_TAIL:] or (data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") > len(data)):
        try:
            picture.load()  # whole pictures with something behind them are common
        except PILLOW_ERRORS:
            raise UnusableError(TRUNCATED) from None


@dataclass
class Damage:
    """What a training could not use, and where; kept in a file, so that a resumed training counts on.

    Attributes:
        num_samples: All samples.
        replaced: Index of a sample -> reason and place of those that turned out damaged when they were read;
            each time, another sample was taken instead.
        max_share: The training stops where a larger share of all samples is damaged.
        path: The file, one JSON list a line; None: nothing is kept.
    """

    num_samples: int
    max_share: float
    replaced: dict[int, tuple[str, str]] = field(default_factory=dict)
    path: Path | None = None

    def keep_in(self, path: Path, *, writes: bool = True) -> None:
        """Keep what is found from now on in a file, and take over what it holds.

        Args:
            path: The file.
            writes: Whether this process writes it: of several that find the same, one does.
        """
        self.path = path if writes else None
        if path.is_file():
            text = path.read_text(errors="replace")
            for line in text.splitlines():
                with suppress(ValueError):  # torn: its sample counts when it is met again
                    number, reason, where = json.loads(line)
                    self.replaced[int(number)] = (reason, where)
            if writes and text and not text.endswith("\n"):
                with path.open("a") as file:
                    file.write("\n")

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> number of samples, the most frequent first."""
        return dict(Counter(reason for reason, _ in self.replaced.values()).most_common())

    def add(self, fault: Fault) -> None:
        """Count a sample that could not be used, once.

        Raises:
            DataError: There are too many.
        """
        if fault.id in self.replaced:
            return
        self.replaced[fault.id] = (fault.reason, fault.where)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps([fault.id, fault.reason, fault.where]) + "\n")
        bad = len(self.replaced)
        if bad > self.max_share * self.num_samples:
            told = ", ".join(f"{count:,} {reason}" for reason, count in self.counts.items())
            raise DataError(
                f"{bad:,} of {self.num_samples:,} samples cannot be used, more than data.max_bad_share "
                f"allows: {told}",
                where=fault.where,
                value=self.max_share,
                way_out="`pgsbench data verify DATA` names them; mend the data, or raise data.max_bad_share",
            )
