"""Encoded images: decoded with care, told apart by their pixels, and made what a model reads, in a mapped file.

What is made of pixels is in ``w2s_core.models.images``. Letters: N images of H × W pixels.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

    from w2s_core.data.rows import Rows

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""That are decoded; others, of which Pillow knows some fifty, are refused unseen."""

MAX_PIXELS = 64_000_000
"""Of an image; more would be gigabytes once decoded, whatever the file is."""

PATCH = 16
"""Pixels of a side of a patch, by which the cost of an image is counted in tokens, as in ViT-B/16."""


def decoded(data: bytes) -> Image.Image:
    """An encoded image in RGB; of several frames, the first.

    Raises:
        DataError: it is no image of ``FORMATS``, is cut short, or has more than ``MAX_PIXELS``.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Broken metadata is no broken image, and size is looked at here.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(f"an image of {width} × {height} pixels; at most {MAX_PIXELS:,} are decoded")
            return image.convert("RGB")
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"an image of far more than {MAX_PIXELS:,} pixels, which is the most that is decoded") from None
    except Exception as error:  # of many decoders, each with its own
        reason = str(error).partition("\n")[0].replace(f"{data!r}", "")[:100]
        raise DataError(f"no image that can be read ({reason or type(error).__name__})") from None


def pixel_digest(data: bytes) -> str:
    """Of the pixels of an encoded image: the same for the same image in another lossless encoding."""
    image = decoded(data)
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Pixels:
    """N images as a model reads them, all of one size."""

    values: np.ndarray
    """[N, 3, H, W] uint8, mapped from a file."""
    n_truncated: int = 0
    """None: images are resized and cropped, as the model asks."""

    def __len__(self) -> int:
        return len(self.values)

    @property
    def longest(self) -> np.ndarray:
        """[N] int64, patches of each image."""
        height, width = self.values.shape[2:]
        return np.full(len(self), max(1, height * width // PATCH**2), np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """The same: an image is one sequence."""
        return self.longest

    def n_tokens(self, rows: np.ndarray) -> int:
        """Patches of the images with these indices."""
        return int(self.longest[rows].sum())


def as_pixels(rows: Rows, processor: Any, scratch: Path, column: str = "image") -> Pixels:
    """Resize and crop the images that rows show, as a model's processor says; values are scaled by the model.

    Memory does not grow with the images: pixels go to a file in the folder ``scratch``, which has no name and ends with
    its last user.

    Raises:
        DataError: an image cannot be read, or comes out in another size than those before.
    """
    shape: tuple[int, ...] = ()
    row = 0
    with tempfile.TemporaryFile(dir=scratch) as file:
        for shown in rows.shown():
            for data in shown[column]:
                try:
                    image = decoded(data)
                except DataError as error:
                    raise DataError(f"row {rows.ids[row]!r}: {error}") from None
                made = processor(images=[image], return_tensors="np", do_rescale=False, do_normalize=False)
                values = np.asarray(made["pixel_values"][0])  # [3, H, W]
                if shape and values.shape != shape:
                    raise DataError(
                        f"row {rows.ids[row]!r}: the model's image processor makes {values.shape[2]} × "
                        f"{values.shape[1]} pixels of it, of others {shape[2]} × {shape[1]}; it must resize or crop to "
                        "one size"
                    )
                shape = values.shape
                file.write(values.astype(np.uint8).tobytes())
                row += 1
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Pixels(np.frombuffer(mapped, np.uint8).reshape(row, *shape))
