"""Scripts that an English-only text tower has never learned to read."""

from __future__ import annotations

import unicodedata

MULTILINGUAL_MODEL = "xlm-roberta-base-ViT-B-32"
MULTILINGUAL_WEIGHTS = "laion5b_s13b_b90k"
ADVICE = (
    "in a script that this model's English-only text tower was not trained on, so their vectors "
    f"mean little; choose a multilingual model: --model {MULTILINGUAL_MODEL} "
    f"--weights {MULTILINGUAL_WEIGHTS}"
)


def is_latin(text: str) -> bool:
    """Return whether all letters of a text are Latin ones."""
    return text.isascii() or all(
        unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))
        for letter in text
        if letter.isalpha()
    )
