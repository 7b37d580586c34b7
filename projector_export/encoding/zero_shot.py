"""Zero-shot classes: the class whose text lies nearest to the image (Radford et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl

from projector_export.encoding.scripts import ADVICE, is_latin
from projector_export.errors import OptionError
from projector_export.points import LABEL, Points, as_text
from projector_export.thumbnails import text_tile

DEFAULT_PROMPT = "a photo of a {}"
CONFUSION_CLASSES = 50
TEXTS_A_BATCH = 64


class ZeroShotEncoder(Protocol):
    """An encoder whose texts lie in the same space as its images."""

    @property
    def logit_scale(self) -> float:
        """Factor on cosines before the softmax."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return (B, D) float32 of unit length."""


@dataclass(frozen=True)
class ZeroShot:
    """What images are to be compared with.

    Attributes:
        classes: at least two different names, in any language; they reach the tokenizer unchanged.
        prompts: templates with one `{}`; a class's vectors are averaged over them.
        class_points: show each class's vector as a point of the plot, too.

    Raises:
        OptionError: fewer than two classes, a class twice, or a prompt without `{}`.
    """

    classes: Sequence[str]
    prompts: Sequence[str] = (DEFAULT_PROMPT,)
    class_points: bool = False

    def __post_init__(self) -> None:
        classes = self.classes
        if len(set(classes)) < 2 or len(set(classes)) != len(classes) or not all(classes):
            raise OptionError(f"classes are {list(classes)}; expected at least two different names")
        if not self.prompts:
            raise OptionError(
                "there is no prompt; expected at least one, such as 'a photo of a {}'"
            )
        for prompt in self.prompts:
            if prompt.count("{}") != 1:
                raise OptionError(f"prompt {prompt!r} needs one {{}} where the class name goes")


def add_predictions(
    points: Points,
    encoder: ZeroShotEncoder,
    zero_shot: ZeroShot,
    *,
    vectors: np.ndarray | None = None,
) -> Points:
    """Add `predicted`, `predicted_score`, `predicted_margin` and `agrees`.

    The score is the softmax probability of the predicted class, the margin what it is above the
    second. `agrees` (predicted equals label, ignoring case) is added only where some label is a
    class, and is missing for items whose label is none, for captions and for known-normal items;
    accuracy and a confusion table of the others go to `origin["zero_shot"]`.

    Args:
        points: unit-length vectors of the same encoder; those of texts (`kind` is `text`) get a
            prediction too, which is of less use.
        encoder: gives the class vectors.
        zero_shot: classes and prompts.
        vectors: of the classes, from `encode_classes`, where they are known already.
    """
    classes = list(zero_shot.classes)
    if vectors is None:
        vectors = encode_classes(encoder, zero_shot)
    logits = encoder.logit_scale * (points.vectors @ vectors.T)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    best = odds.argmax(axis=1)
    top = np.sort(odds, axis=1)[:, -2:]
    columns = pl.DataFrame(
        {
            "predicted": [classes[c] for c in best],
            "predicted_score": top[:, 1],
            "predicted_margin": top[:, 1] - top[:, 0],
        }
    )
    facts: dict[str, Any] = {"classes": classes, "prompts": list(zero_shot.prompts)}
    notes = list(points.origin.get("notes", [])) + _script_notes(encoder, classes)
    by_name = {name.casefold(): number for number, name in enumerate(classes)}
    labels = [label.casefold() for label in as_text(points.columns[LABEL]).to_list()]
    true = np.array([by_name.get(label, -1) for label in labels])
    true[~_is_labelled_image(points.columns)] = -1
    if (true >= 0).any():
        agrees = [t == b if t >= 0 else None for t, b in zip(true.tolist(), best, strict=True)]
        columns = columns.with_columns(pl.Series("agrees", agrees, dtype=pl.Boolean))
        facts |= _accuracy(classes, true, best)
    else:
        notes.append("no label equals a class, so there is no column `agrees`")
    points = replace(points, origin={**points.origin, "zero_shot": facts, "notes": notes})
    points = points.with_columns(columns)
    return _with_class_points(points, classes, vectors) if zero_shot.class_points else points


def _is_labelled_image(columns: pl.DataFrame) -> np.ndarray:
    """(N,) whether an item's label can be right or wrong: not a caption's, nor `known_normal`."""
    wanted = np.ones(columns.height, dtype=bool)
    if "kind" in columns.columns:
        wanted &= (columns["kind"] == "image").fill_null(value=True).to_numpy()
    if "known_normal" in columns.columns:
        wanted &= ~columns["known_normal"].to_numpy()
    return wanted


def encode_classes(encoder: ZeroShotEncoder, zero_shot: ZeroShot) -> np.ndarray:
    """Return (C, D) float32 of unit length: each class's mean over the prompts."""
    prompts = zero_shot.prompts
    texts = [prompt.replace("{}", name) for name in zero_shot.classes for prompt in prompts]
    parts = [
        encoder.encode_texts(texts[start : start + TEXTS_A_BATCH])
        for start in range(0, len(texts), TEXTS_A_BATCH)
    ]
    each = np.concatenate(parts).reshape(len(zero_shot.classes), len(prompts), -1)
    vectors = each.mean(axis=1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _accuracy(classes: list[str], true: np.ndarray, best: np.ndarray) -> dict[str, Any]:
    """Of the points whose label is a class: accuracy and, per class, what was predicted."""
    known = true >= 0
    table = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(table, (true[known], best[known]), 1)
    facts: dict[str, Any] = {"accuracy": round(float((true == best)[known].mean()), 4)}
    if len(classes) <= CONFUSION_CLASSES:
        # Only what happened: most pairs of classes are never confused.
        facts["confusion"] = {
            name: {classes[c]: int(row[c]) for c in np.flatnonzero(row)}
            for name, row in zip(classes, table, strict=True)
            if row.any()
        }
    return facts


def _script_notes(encoder: object, classes: Sequence[str]) -> list[str]:
    """Warn of names that an English-only text tower has never learned to read."""
    if getattr(encoder, "is_multilingual", True):
        return []
    foreign = [name for name in classes if not is_latin(name)]
    return [f"{len(foreign)} class names, such as {foreign[0]}, are {ADVICE}"] if foreign else []


def _with_class_points(points: Points, classes: list[str], vectors: np.ndarray) -> Points:
    """Add a point for each class after all others, of the kind `class`."""
    kind = [] if "kind" in points.columns.columns else [pl.lit("image").alias("kind")]
    columns = points.columns.with_columns(kind)
    own = pl.DataFrame({LABEL: classes, "kind": ["class"] * len(classes), "predicted": classes})
    columns = pl.concat([columns.with_columns(pl.col(LABEL).cast(pl.String)), own], how="diagonal")
    thumbnails = points.thumbnails
    if thumbnails is not None:
        tile = text_tile(thumbnails.shape[1])
        thumbnails = np.concatenate([thumbnails, np.repeat(tile[None], len(classes), axis=0)])
    return replace(
        points,
        vectors=np.concatenate([points.vectors, vectors.astype(np.float32)]),
        columns=columns.select(LABEL, "kind", pl.exclude(LABEL, "kind")),
        thumbnails=thumbnails,
    )
