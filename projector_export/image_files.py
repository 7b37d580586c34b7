"""Image files become upright pictures, and broken ones a reason that names what is wrong."""

from __future__ import annotations

import io
import os
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from projector_export.errors import DataError

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".avif",
    ]
)
# Files that people take for images: they are named among the skipped ones, not passed over.
UNREAD_SUFFIXES = frozenset(
    ".heic .heif .jxl .jp2 .j2k .svg .psd .ai .eps .ico .tga .dds .hdr .exr .dcm .raw .dng .cr2 "
    ".cr3 .nef .arw .orf .rw2 .raf".split()
)
# Pillow refuses more than this by itself (twice Image.MAX_IMAGE_PIXELS); 100 MP scans pass.
MAX_PIXELS = 178_956_970
MAX_FILE_BYTES = 1 << 30
# What else lies in folders under the name of an image, by its first bytes.
_OTHER_CONTENT = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"8BPS", "a Photoshop document"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1aE\xdf\xa3", "a video"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
    (b"{", "JSON or other text"),
    (b"\x00\x00\x00", "a video, HEIC or another format of that family"),
)
_T = TypeVar("_T")
_S = TypeVar("_S")


def open_image(path: Path, *, at_least_px: int | None = None) -> Image.Image:
    """Read and decode a file; see `read_image_file` and `decode_image`.

    Raises:
        DataError: the file cannot be read as an image; says why.
    """
    return decode_image(read_image_file(path), path, at_least_px=at_least_px)


def read_image_file(path: Path) -> bytes:
    """Return the content of a regular file that is not empty.

    Raises:
        DataError: anything else lies there, or nothing; says what.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # reading a named pipe would wait for ever
            raise _unreadable(path, "it is no regular file")
        if facts.st_size > MAX_FILE_BYTES:
            raise _unreadable(path, f"it has {facts.st_size} bytes, more than {MAX_FILE_BYTES}")
        content = path.read_bytes()
    except DataError:
        raise
    except ValueError as error:  # a name from a list that no file can have
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        if path.is_symlink() and not path.exists():
            raise _unreadable(path, "it is a link that leads nowhere") from error
        raise _unreadable(path, error.strerror or type(error).__name__) from error
    if not content:
        raise _unreadable(path, "the file is empty")
    return content


def decode_image(content: bytes, path: Path, *, at_least_px: int | None = None) -> Image.Image:
    """Decode a file's content: first frame, upright by its EXIF orientation, mode RGB or RGBA.

    Args:
        content: of the file.
        path: named in errors.
        at_least_px: a JPEG may be decoded at a half, a quarter or an eighth of its size, while
            its shorter side has so many pixels; None decodes all of it.

    Raises:
        DataError: the content is no image that can be read; says why.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if at_least_px is not None:
                image.draft("", (at_least_px, at_least_px))  # does nothing but to JPEG
            image.load()
            # Pillow's own stub says None where it works in place.
            ImageOps.exif_transpose(image, in_place=True)
            upright: Image.Image = image
            if upright.mode[0] in "IF":  # more than 8 bits, which convert() would cut off at 255
                upright = _to_eight_bits(upright)
            has_alpha = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            return upright.convert("RGBA" if has_alpha else "RGB")
    except Exception as error:  # Pillow's decoders raise what a broken file makes them trip over
        raise _unreadable(path, _reason(content, error)) from error


def on_white(image: Image.Image) -> Image.Image:
    """Return an RGB or RGBA picture as RGB, transparent parts white."""
    if image.mode == "RGB":
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def in_order(
    work: Callable[[_S], _T],
    inputs: Iterable[_S],
    *,
    ahead: Callable[[], int] = lambda: 256,
    threads: int | None = None,
) -> Generator[Future[_T]]:
    """Run `work` on each input in threads; give the calls in order, at most `ahead()` begun early.

    Closing it drops the calls that have not begun, and waits for the others.
    """
    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        begun: deque[Future[_T]] = deque()
        for one in inputs:
            begun.append(pool.submit(work, one))
            while len(begun) > ahead():
                yield begun.popleft()
        yield from begun
    finally:
        pool.shutdown(cancel_futures=True)


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{path} cannot be read as an image ({reason})")


def _reason(content: bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it has more than {MAX_PIXELS} pixels: a decompression bomb, or scale it down"
    text = str(error)
    if isinstance(error, UnidentifiedImageError):
        if not any(content[:4096]):
            return "it holds nothing but zeros"
        start = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        for magic, what in _OTHER_CONTENT:
            if start.startswith(magic.lower()):
                return f"it holds {what}"
        return "its content is none of the image formats that are read"
    if "truncated" in text.lower():
        return f"the file is cut short: {text}"
    return text or type(error).__name__


@cache
def _formats() -> tuple[str, ...]:
    """Pillow's decoders for IMAGE_SUFFIXES; it would choose any by content, Ghostscript too."""
    Image.init()
    wanted = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
    return tuple(name for name in wanted if name in Image.OPEN)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a grey image of 16 or 32 bits, or of floats, by the range that its values are in."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode == "F":
        full = 1.0 if values.max() <= 1 else 255.0
    else:
        full = 255.0 if image.mode == "I" and values.max() <= 255 else 65535.0
    return Image.fromarray((np.clip(values / full, 0, 1) * 255).astype(np.uint8))
