"""Images, texts and vectors become a run that TensorBoard's Embedding Projector opens at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from projector_export.editing import add_views as add_views
    from projector_export.encoding.clip import OpenClipEncoder as OpenClipEncoder
    from projector_export.encoding.encoder import ImageEncoder as ImageEncoder
    from projector_export.encoding.encoder import TextEncoder as TextEncoder
    from projector_export.encoding.encoder import encode as encode
    from projector_export.encoding.pixels import PixelsEncoder as PixelsEncoder
    from projector_export.encoding.sentences import SentenceEncoder as SentenceEncoder
    from projector_export.encoding.zero_shot import ZeroShot as ZeroShot
    from projector_export.encoding.zero_shot import add_predictions as add_predictions
    from projector_export.errors import ProjectorExportError as ProjectorExportError
    from projector_export.pipeline import export as export
    from projector_export.pipeline import export_points as export_points
    from projector_export.points import Items as Items
    from projector_export.points import Points as Points
    from projector_export.projector.exports import Export as Export
    from projector_export.projector.exports import open_export as open_export
    from projector_export.projector.views import Camera as Camera
    from projector_export.projector.views import View as View
    from projector_export.projector.views import read_views as read_views
    from projector_export.settings import EncodeSettings as EncodeSettings
    from projector_export.settings import Settings as Settings
    from projector_export.sources.captions import add_captions as add_captions
    from projector_export.sources.images import read_images as read_images
    from projector_export.sources.texts import read_texts as read_texts
    from projector_export.sources.vectors import read_vectors as read_vectors
    from projector_export.training.distributed import from_rank_zero as from_rank_zero
    from projector_export.training.distributed import gather_rows as gather_rows
    from projector_export.training.recorder import EmbeddingRecorder as EmbeddingRecorder
    from projector_export.training.recorder import RecordingWarning as RecordingWarning
    from projector_export.training.summaries import Numbers as Numbers
    from projector_export.training.torch_layer import record_layer as record_layer
    from projector_export.viewing.serve import start_tensorboard as start_tensorboard
    from projector_export.writing import ExportResult as ExportResult

_HOMES = {
    "Camera": "projector.views",
    "EmbeddingRecorder": "training.recorder",
    "EncodeSettings": "settings",
    "Export": "projector.exports",
    "ExportResult": "writing",
    "ImageEncoder": "encoding.encoder",
    "Items": "points",
    "Numbers": "training.summaries",
    "OpenClipEncoder": "encoding.clip",
    "PixelsEncoder": "encoding.pixels",
    "Points": "points",
    "ProjectorExportError": "errors",
    "RecordingWarning": "training.recorder",
    "SentenceEncoder": "encoding.sentences",
    "Settings": "settings",
    "TextEncoder": "encoding.encoder",
    "View": "projector.views",
    "ZeroShot": "encoding.zero_shot",
    "add_captions": "sources.captions",
    "add_predictions": "encoding.zero_shot",
    "add_views": "editing",
    "encode": "encoding.encoder",
    "export": "pipeline",
    "export_points": "pipeline",
    "from_rank_zero": "training.distributed",
    "gather_rows": "training.distributed",
    "open_export": "projector.exports",
    "read_images": "sources.images",
    "read_texts": "sources.texts",
    "read_vectors": "sources.vectors",
    "read_views": "projector.views",
    "record_layer": "training.torch_layer",
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
