"""Pixels given to an open_clip model equal open_clip's own preprocessing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projector_export import EncodeSettings, OpenClipEncoder, encode, read_images
from projector_export.image_files import open_image

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs larger than the model's input and smaller, as JPEG and PNG."""
    folder = tmp_path_factory.mktemp("photos")
    maker = [sys.executable, str(ROOT / "scripts/make_photos.py"), "10", str(folder)]
    subprocess.run(maker, check=True)
    first = Image.open(folder / "00000.jpg")
    first.save(folder / "large.png")
    first.resize((2600, 1900), Image.Resampling.BICUBIC).save(folder / "huge.jpg", quality=90)
    first.resize((130, 90)).save(folder / "small.png")
    first.resize((150, 200)).save(folder / "small.jpg", quality=95)
    first.convert("L").save(folder / "grey.jpg", quality=95)
    first.convert("CMYK").save(folder / "print.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    first.save(folder / "turned.jpg", exif=exif, quality=95)
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of random weights of ViT-B-32."""
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vit_b_32.pt"
    torch.save(open_clip.create_model("ViT-B-32", pretrained=None).state_dict(), path)
    return str(path)


def test_embeddings_equal_open_clips(photos: Path, vit: str) -> None:
    """Cosine >= 0.999 where a JPEG is decoded at a fraction of its size, else >= 0.99999."""
    import torch
    from PIL import ImageOps

    encoder = OpenClipEncoder("ViT-B-32", vit, device="cpu")
    loaded = encoder.load()
    items = read_images(photos)
    own = []
    with torch.inference_mode():
        for path in items.contents:
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            features = loaded.encode_image(loaded.transform(image)[None])
            own.append(torch.nn.functional.normalize(features, dim=-1).numpy()[0])
    exact = encode(items, encoder, settings=EncodeSettings(exact_decode=True, batch_size=5))
    cosines = np.einsum("nd,nd->n", exact.vectors, np.stack(own))
    assert cosines.min() >= 0.99999
    reduced = encode(items, encoder, settings=EncodeSettings(batch_size=5))
    cosines = np.einsum("nd,nd->n", reduced.vectors, np.stack(own))
    # Which pictures are decoded at a fraction of their size?
    fraction = np.array(
        [
            open_image(path, at_least_px=encoder.decode_px).size != open_image(path).size
            for path in items.contents
        ]
    )
    print(f"lowest cosine: reduced decode {cosines[fraction].min():.6f}")
    print(f"lowest cosine: others {cosines[~fraction].min():.7f}")
    assert 2 <= fraction.sum() <= len(items) - 4
    assert cosines[fraction].min() >= 0.999
    assert cosines[~fraction].min() >= 0.99999


def test_rows_and_vectors_do_not_depend_on_batches_and_threads(photos: Path) -> None:
    """Batch size 1, 7 and 64, 1 or 8 threads: the same vectors within 1e-5, on a real model."""
    encoder = OpenClipEncoder("digits_clip", device="cpu")
    items = read_images(photos)
    expected = encode(items, encoder).vectors
    for batch_size in (1, 7, 64):
        for threads in (1, 8):
            settings = EncodeSettings(batch_size=batch_size, threads=threads)
            got = encode(items, encoder, settings=settings).vectors
            np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_close(photos: Path, precision: str) -> None:
    """`precision`: of the forward pass, by autocast, on the CPU too."""
    items = read_images(photos)
    full = encode(items, OpenClipEncoder("digits_clip", device="cpu")).vectors
    encoder = OpenClipEncoder("digits_clip", device="cpu", precision=precision)
    half = encode(items, encoder).vectors
    assert np.einsum("nd,nd->n", full, half).min() > 0.99
    assert not np.array_equal(full, half)
    assert encoder.describe()["precision"] == precision
    assert encoder.cache_key != OpenClipEncoder("digits_clip", device="cpu").cache_key
