"""From `--encoder` to an encoder: ours, a module's, or one that another package brings."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

from projector_export.encoding.clip import DEFAULT_MODEL, OpenClipEncoder
from projector_export.encoding.pixels import PixelsEncoder
from projector_export.encoding.sentences import SentenceEncoder
from projector_export.errors import EncoderError, OptionError

ENTRY_POINTS = "projector_export.encoders"
SENTENCES = "sentence-transformers:"


def load_encoder(
    name: str = "clip",
    *,
    model: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    prefix: str = "",
    truncate_dim: int | None = None,
) -> Any:
    """Return the encoder of that name.

    Args:
        name: `clip`, `pixels`, `sentence-transformers:NAME_OR_DIR`, `MODULE:NAME` (a class, or
            another callable that returns an encoder, or an encoder; the working directory is
            searched too), or the name of an entry point of the group `projector_export.encoders`.
        model: for `clip`, as the following ones: see `OpenClipEncoder`.
        weights: for `clip`.
        precision: for `clip`.
        compiled: for `clip`.
        device: for `clip` and `sentence-transformers`.
        prefix: for `sentence-transformers`: see `SentenceEncoder`.
        truncate_dim: for `sentence-transformers`.

    Raises:
        OptionError: an option does not belong to that encoder.
        EncoderError: there is no such encoder, or it cannot be loaded.
        MissingExtraError: what it needs is not installed.
    """
    given = {
        "--model": model is not None,
        "--weights": weights is not None,
        "--precision": precision != "auto",
        "--compile": compiled,
        "--device": device != "auto",
        "--prefix": prefix != "",
        "--truncate-dim": truncate_dim is not None,
    }
    if name == "clip":
        _refuse(name, given, "--prefix", "--truncate-dim")
        return OpenClipEncoder(
            model or DEFAULT_MODEL, weights, device=device, precision=precision, compiled=compiled
        )
    _refuse(name, given, "--model", "--weights", "--precision", "--compile")
    if name.startswith(SENTENCES):
        model = name.removeprefix(SENTENCES)
        return SentenceEncoder(model, device=device, prefix=prefix, truncate_dim=truncate_dim)
    _refuse(name, given, "--device", "--prefix", "--truncate-dim")
    if name == "pixels":
        return PixelsEncoder()
    return _check(name, _bring(name))


def _refuse(name: str, given: dict[str, bool], *options: str) -> None:
    for option in options:
        if given[option]:
            raise OptionError(f"{option} does not belong to --encoder {name}; leave it out")


def _bring(name: str) -> Any:
    own = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    try:
        if name in own:
            found = own[name].load()
        elif ":" in name:
            if not {"", str(Path.cwd())} & set(sys.path):
                sys.path.insert(0, str(Path.cwd()))
            module, _, attribute = name.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            others = ", ".join(["clip", "pixels", f"{SENTENCES}NAME", "MODULE:NAME", *sorted(own)])
            raise EncoderError(f"there is no encoder {name!r}; expected one of {others}")
        return found() if isinstance(found, type) or not hasattr(found, "describe") else found
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise EncoderError(
            f"the encoder {name} cannot be loaded ({type(error).__name__}: {error}); "
            "expected MODULE:NAME of a class without arguments"
        ) from error


def _check(name: str, encoder: Any) -> Any:
    missing = [m for m in ("describe",) if not hasattr(encoder, m)]
    if not hasattr(encoder, "encode_texts"):
        missing += [m for m in ("prepare", "encode") if not hasattr(encoder, m)]
    if missing:
        raise EncoderError(
            f"the encoder {name} has no {', '.join(missing)}; expected prepare, encode and describe"
        )
    return encoder
