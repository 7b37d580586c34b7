"""The shipped `digits_clip` model and the digits it is tested on."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from projector_export.errors import DataError
from projector_export.models import DIGITS_CLIP_DIR
from projector_export.sources.digits import (
    DIGIT_WORDS,
    render_digit,
    split_digits,
    write_digit_images,
)

torch = pytest.importorskip("torch")
open_clip = pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def digits() -> Any:
    """Rows as scikit-learn gives them."""
    from sklearn.datasets import load_digits

    return load_digits()


class TestShippedModel:
    """The files in the package, loaded by open_clip alone, name the held-out digits."""

    def test_zero_shot_names_at_least_96_percent_of_held_out_images(self, digits: Any) -> None:
        """Prompt "a photo of the digit {}" on the words; the vectors are computed here."""
        name = f"local-dir:{DIGITS_CLIP_DIR}"
        model, _, preprocess = open_clip.create_model_and_transforms(name)
        model.eval()
        held_out = split_digits(digits.target).held_out
        prompts = [f"a photo of the digit {word}" for word in DIGIT_WORDS]
        pixels = torch.stack([preprocess(render_digit(digits.images[row])) for row in held_out])
        with torch.no_grad():
            images = model.encode_image(pixels, normalize=True)
            texts = model.encode_text(open_clip.get_tokenizer(name)(prompts), normalize=True)
        named = (images @ texts.T).argmax(dim=1).numpy()
        assert np.mean(named == digits.target[held_out]) >= 0.96

    def test_folder_is_at_most_4_mb(self) -> None:
        """Small enough to ship with the package."""
        assert sum(p.stat().st_size for p in DIGITS_CLIP_DIR.iterdir()) <= 4_000_000

    def test_model_card_describes_these_weights(self) -> None:
        """A retrained model needs a new card: the card quotes the weights' SHA-256."""
        weights = (DIGITS_CLIP_DIR / "open_clip_model.safetensors").read_bytes()
        card = (DIGITS_CLIP_DIR / "MODEL_CARD.md").read_text("utf-8")
        assert hashlib.sha256(weights).hexdigest() in card


class TestSplit:
    """70/30, every row once, every digit with its share."""

    def test_parts_are_sorted_disjoint_and_complete(self, digits: Any) -> None:
        """1,257 and 540 rows, each row in one part."""
        train, held_out = split_digits(digits.target)
        assert len(train) == 1257
        assert len(held_out) == 540
        assert np.all(np.diff(train) > 0)
        assert np.all(np.diff(held_out) > 0)
        assert sorted([*train, *held_out]) == list(range(1797))

    def test_every_digit_gives_30_percent(self, digits: Any) -> None:
        """Stratified: each digit gives 29 to 31 % of its rows."""
        counts = np.bincount(digits.target[split_digits(digits.target).held_out])
        shares = counts / np.bincount(digits.target)
        assert shares.min() > 0.29
        assert shares.max() < 0.31

    def test_seed_decides(self, digits: Any) -> None:
        """Same seed, same split; another seed, another split."""
        first = split_digits(digits.target, seed=1).held_out
        assert np.array_equal(first, split_digits(digits.target, seed=1).held_out)
        assert not np.array_equal(first, split_digits(digits.target, seed=2).held_out)


class TestImages:
    """White on black, 64x64, and a path that says which row it is."""

    def test_black_and_white_stay_black_and_white(self) -> None:
        """0 is black and 16 is white; bicubic overshoot does not wrap around."""
        left = np.zeros((8, 8))
        left[:, :4] = 16
        image = render_digit(left)
        assert image.mode == "L"
        assert image.size == (64, 64)
        grey = np.asarray(image)
        assert np.all(grey[:, :16] == 255)
        assert np.all(grey[:, 48:] == 0)

    @pytest.mark.parametrize(
        ("pixels", "message"),
        [
            (np.zeros((8, 9)), r"shape \(8, 9\), expected \(8, 8\)"),
            (np.full((8, 8), 17), "from 17 to 17, expected 0 to 16"),
            (np.full((8, 8), -1), "from -1 to -1, expected 0 to 16"),
            (np.full((8, 8), np.nan), "from nan to nan, expected 0 to 16"),
        ],
    )
    def test_other_pixels_are_refused(self, pixels: np.ndarray, message: str) -> None:
        """Only (8, 8) values from 0 to 16 are a digit; the message says what came."""
        with pytest.raises(DataError, match=message):
            render_digit(pixels)

    def test_files_match_their_rows(self, digits: Any, tmp_path: Path) -> None:
        """Entry i, its file name and its pixels are row i; the folder is the digit's word."""
        paths = write_digit_images(tmp_path)
        assert len(paths) == 1797
        assert paths == [
            tmp_path / DIGIT_WORDS[digit] / f"digit_{row:04d}.png"
            for row, digit in enumerate(digits.target)
        ]
        assert sorted(tmp_path.rglob("*.png")) == sorted(paths)
        for row in (0, 3, 1000, 1796):
            with Image.open(paths[row]) as image:
                assert image.mode == "L"
                expected = np.asarray(render_digit(digits.images[row]))
                assert np.array_equal(np.asarray(image), expected)

    def test_importing_the_module_does_not_load_sklearn(self) -> None:
        """Only the functions that need sklearn load it."""
        code = "import sys, projector_export.sources.digits; sys.exit('sklearn' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
