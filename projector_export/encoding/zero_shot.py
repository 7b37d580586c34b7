"""Zero-shot classes: the class whose text lies nearest to the image (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl

from projector_export.errors import OptionError
from projector_export.points import LABEL, Points

DEFAULT_PROMPT = "a photo of a {}"


class TextEncoder(Protocol):
    """An encoder whose texts lie in the same space as its images."""

    @property
    def logit_scale(self) -> float:
        """Factor on cosines before the softmax."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""


def check_classes(classes: Sequence[str], prompts: Sequence[str]) -> None:
    """Raise OptionError unless there are two different names, and one `{}` in each prompt."""
    if len(set(classes)) < 2 or len(set(classes)) != len(classes) or not all(classes):
        raise OptionError(f"classes are {list(classes)}; expected at least two different names")
    if not prompts:
        raise OptionError("there is no prompt; expected at least one, such as 'a photo of a {}'")
    for prompt in prompts:
        if prompt.count("{}") != 1:
            raise OptionError(f"prompt {prompt!r} needs one {{}} where the class name goes")


def add_predictions(
    points: Points,
    encoder: TextEncoder,
    classes: Sequence[str],
    *,
    prompts: Sequence[str] = (DEFAULT_PROMPT,),
) -> Points:
    """Add `predicted`, `predicted_score` (its softmax probability) and `agrees`.

    `agrees` (predicted equals label, ignoring case) is added only where some label is a class.

    Args:
        points: unit-length vectors of the same encoder's images.
        encoder: gives the class vectors; those of several prompts are averaged.
        classes: at least two names.
        prompts: templates with one `{}`.

    Raises:
        OptionError: fewer than two classes, a class twice, or a prompt without `{}`.
    """
    check_classes(classes, prompts)
    texts = [prompt.replace("{}", name) for name in classes for prompt in prompts]
    vectors = encoder.encode_texts(texts).reshape(len(classes), len(prompts), -1).mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = encoder.logit_scale * (points.vectors @ vectors.T)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    best = odds.argmax(axis=1)
    scores = odds.max(axis=1) / odds.sum(axis=1)
    columns = pl.DataFrame({"predicted": [classes[c] for c in best], "predicted_score": scores})
    known = {name.casefold() for name in classes}
    labels = [str(label).casefold() for label in points.columns[LABEL].to_list()]
    if known.intersection(labels):
        agrees = [label == classes[c].casefold() for label, c in zip(labels, best, strict=True)]
        columns = columns.with_columns(pl.Series("agrees", agrees))
    return points.with_columns(columns)
