"""Images, texts and vectors become a run that TensorBoard's Embedding Projector opens at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projector_export.encoding.clip import OpenClipEncoder as OpenClipEncoder
    from projector_export.encoding.encoder import ImageEncoder as ImageEncoder
    from projector_export.encoding.encoder import TextEncoder as TextEncoder
    from projector_export.encoding.encoder import encode as encode
    from projector_export.encoding.pixels import PixelsEncoder as PixelsEncoder
    from projector_export.encoding.sentences import SentenceEncoder as SentenceEncoder
    from projector_export.encoding.zero_shot import ZeroShot as ZeroShot
    from projector_export.encoding.zero_shot import add_predictions as add_predictions
    from projector_export.errors import ProjectorExportError as ProjectorExportError
    from projector_export.pipeline import ExportResult as ExportResult
    from projector_export.pipeline import export as export
    from projector_export.pipeline import export_points as export_points
    from projector_export.points import Items as Items
    from projector_export.points import Points as Points
    from projector_export.settings import EncodeSettings as EncodeSettings
    from projector_export.settings import Settings as Settings
    from projector_export.sources.captions import add_captions as add_captions
    from projector_export.sources.images import read_images as read_images
    from projector_export.sources.texts import read_texts as read_texts
    from projector_export.sources.vectors import read_vectors as read_vectors
    from projector_export.viewing.serve import start_tensorboard as start_tensorboard

_HOMES = {
    "EncodeSettings": "settings",
    "ExportResult": "pipeline",
    "ImageEncoder": "encoding.encoder",
    "Items": "points",
    "OpenClipEncoder": "encoding.clip",
    "PixelsEncoder": "encoding.pixels",
    "Points": "points",
    "ProjectorExportError": "errors",
    "SentenceEncoder": "encoding.sentences",
    "Settings": "settings",
    "TextEncoder": "encoding.encoder",
    "ZeroShot": "encoding.zero_shot",
    "add_captions": "sources.captions",
    "add_predictions": "encoding.zero_shot",
    "encode": "encoding.encoder",
    "export": "pipeline",
    "export_points": "pipeline",
    "read_images": "sources.images",
    "read_texts": "sources.texts",
    "read_vectors": "sources.vectors",
    "start_tensorboard": "viewing.serve",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    # Names are loaded where they are first used, so that importing the package stays instant.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
