"""Make files that lie in folders of images and are none: 20 kinds, each twice.

    python tests/bad/make_bad_images.py FOLDER

Prints each file's name and what must be said of it.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int) -> Image.Image:
    """A picture whose files are not tiny."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (96, 128, 3), np.uint8))


def saved(seed: int, kind: str, **options: object) -> bytes:
    """A good file's content."""
    buffer = io.BytesIO()
    noise(seed).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """A PNG chunk with a right checksum."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def bomb(_: int) -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few hundred kilobytes."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(5_001) * 40_000, 9)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
    return png + chunk(b"IEND", b"")


def zipped(seed: int) -> bytes:
    """An archive under an image's name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", saved(seed, "JPEG"))
    return buffer.getvalue()


def array(seed: int) -> bytes:
    """A NumPy file under an image's name."""
    buffer = io.BytesIO()
    np.save(buffer, np.full((4, 4), seed))
    return buffer.getvalue()


def broken_checksum(seed: int) -> bytes:
    """A PNG whose image data was changed."""
    png = bytearray(saved(seed, "PNG"))
    png[200] ^= 0xFF
    return bytes(png)


# The file's ending, its content, and words of the reason that must be given.
KINDS: dict[str, tuple[str, Callable[[int], bytes], str]] = {
    "empty": (".jpg", lambda _: b"", "the file is empty"),
    "cut_jpeg": (".jpg", lambda s: saved(s, "JPEG")[:3000], "cut short"),
    "cut_png": (".png", lambda s: saved(s, "PNG")[:5000], "cut short"),
    "cut_webp": (".webp", lambda s: saved(s, "WEBP")[:2000], "cannot be read as an image"),
    "cut_bmp": (".bmp", lambda s: saved(s, "BMP")[:9000], "cut short"),
    "cut_tiff": (".tiff", lambda s: saved(s, "TIFF")[:9000], "cannot be read as an image"),
    "header_only": (".gif", lambda s: saved(s, "GIF")[:20], "cannot be read as an image"),
    "zeros": (".jpg", lambda _: bytes(4096), "nothing but zeros"),
    "random": (".png", lambda s: np.random.default_rng(s).bytes(4000), "none of the image formats"),
    "checksum": (".png", broken_checksum, "cannot be read as an image"),
    "bomb": (".png", bomb, "decompression bomb"),
    "text": (".jpg", lambda s: f"note {s}: 後で".encode(), "none of the image formats"),
    "web_page": (".png", lambda _: b"<!DOCTYPE html><title>404</title>", "a web page"),
    "pdf": (".jpg", lambda s: b"%PDF-1.7\n%" + bytes([s]), "a PDF document"),
    "postscript": (".png", lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
    "zip": (".webp", zipped, "a zip archive"),
    "gzip": (".jpg", lambda s: gzip.compress(saved(s, "JPEG")), "gzip data"),
    "numpy": (".png", array, "a NumPy array"),
    "heic": (".heic", lambda _: b"\x00\x00\x00\x18ftypheic", ".heic files are not read"),
    "dead_link": (".jpg", lambda _: b"", "a link that leads nowhere"),
}


def make_bad_images(folder: Path) -> dict[str, str]:
    """Write the files; return the words that must be said of each, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    reasons = {}
    for kind, (suffix, content, words) in KINDS.items():
        for seed in (1, 2):
            path = folder / f"{kind}_{seed}{suffix}"
            if kind == "dead_link":
                path.unlink(missing_ok=True)
                path.symlink_to(path.name if seed == 1 else "nowhere.jpg")
            else:
                path.write_bytes(content(seed))
            reasons[path.name] = words
    return reasons


if __name__ == "__main__":
    for name, said in make_bad_images(Path(sys.argv[1])).items():
        os.write(1, f"{name}\t{said}\n".encode())
