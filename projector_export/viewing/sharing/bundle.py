"""What leaves the house when a run is shared: its embeddings as the viewer would get them.

They are asked of TensorBoard's own plugin, so that embeddings that other programs have put into the
run are shared as well, and nothing but what the viewer asks for: no checkpoint, no other summaries.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from projector_export.errors import DataError, InputNotFoundError, OptionError
from projector_export.limits import CONFIG_NAME, MAX_POINTS
from projector_export.points import LABEL
from projector_export.projector.bookmarks import render_states
from projector_export.projector.config import read_embeddings
from projector_export.projector.exports import Export, open_export
from projector_export.projector.log_dir import is_ours
from projector_export.projector.metadata import render_metadata, viewer_names
from projector_export.projector.read_back import PluginReader
from projector_export.projector.viewer_points import SOURCE_ROW
from projector_export.viewing.sharing.cleaning import (
    clean_manifest,
    clean_states,
    state_names_paths,
    without_files,
)
from projector_export.viewing.sharing.metadata_table import read_metadata, write_metadata
from projector_export.viewing.sharing.redaction import (
    Redaction,
    Secrets,
    choose_columns,
    find_secrets,
    label_is_a_path,
    path_columns,
    strip_columns,
)

_SHOWN = "shown"
_OWN_FILES = ("points.parquet", "skipped.tsv")


@dataclass(frozen=True, eq=False)
class SharedEmbedding:
    """One embedding, as far as it is shared.

    Attributes:
        name: as the viewer shows it.
        shape: rows and columns of the tensor.
        read_tensor: reads N x D little-endian float32; anew each time, since they may be large.
        metadata: metadata.tsv; None without one.
        columns: names of its columns.
        bookmarks: JSON; None without any.
        titles: of the bookmarks, in their order.
        sprite: an image file; None without one.
        tile_px: width and height of a sprite's tile.
        manifest: of an export of this program; None for others' embeddings.
        own_files: what else an export has; only a packed run does.
        left_out: columns that are not shared, each with the reason.
        path_columns: shared columns that hold paths.
        has_paths_in_views: whether a bookmark's title or description holds one.
        notes: what the user should know.
    """

    name: str
    shape: tuple[int, int]
    read_tensor: Callable[[], bytes]
    metadata: bytes | None = None
    columns: tuple[str, ...] = ()
    bookmarks: bytes | None = None
    titles: tuple[str, ...] = ()
    sprite: bytes | None = None
    tile_px: tuple[int, int] | None = None
    manifest: Mapping[str, Any] | None = None
    own_files: Mapping[str, bytes] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    path_columns: tuple[str, ...] = ()
    has_paths_in_views: bool = False
    notes: tuple[str, ...] = ()

    @property
    def states(self) -> list[dict[str, Any]]:
        """The bookmarks, parsed."""
        return [] if self.bookmarks is None else list(json.loads(self.bookmarks))

    def with_states(self, states: Sequence[Mapping[str, Any]]) -> SharedEmbedding:
        """Return it with these bookmarks instead."""
        titles = tuple(str(state.get("label")) for state in states)
        return replace(self, bookmarks=render_states(states), titles=titles)


def collect(
    out: str | Path,
    *,
    names: Sequence[str] = (),
    views: Sequence[str] = (),
    redaction: Redaction | None = None,
) -> tuple[SharedEmbedding, ...]:
    """Read what is to be shared of a run, in its config's order.

    Args:
        out: the run directory.
        names: embeddings to share; all when empty.
        views: titles of bookmarks to share; all when empty.
        redaction: what is left out.

    Raises:
        InputNotFoundError: no run there.
        OptionError: no such embedding, view or column.
        DataError: a file of the run cannot be read.
        ReadBackError: TensorBoard's plugin cannot read the run.
    """
    out, redaction = Path(out), redaction or Redaction()
    ours = _open_exports(out)
    reader = PluginReader(out)
    entries = [e for e in json.loads(reader.get("/info"))["embeddings"] if _is_shown(e)]
    if not entries:
        raise DataError(f"{out} has no embedding of at least 2 rows and 2 columns to share")
    check_known("embedding", names, [e["tensorName"] for e in entries], where=out)
    sources = [
        _read_source(reader, entry, ours.get(entry["tensorName"]))
        for entry in entries
        if not names or entry["tensorName"] in names
    ]
    check_known("view", views, [t for one in sources for t in one.shared.titles], where=out)
    redaction = _own_names(redaction, sources, where=out)
    secrets = find_secrets([source.frame for source in sources], redaction)
    shared = [_redact(source, redaction, secrets, views) for source in sources]
    run = out.resolve().name
    if secrets.stand_in_name(run) or secrets.stand_in(run):
        note = f"the name of the run, {run!r}, tells what was left out; rename its folder"
        shared[0] = replace(shared[0], notes=(*shared[0].notes, note))
    return tuple(shared)


def check_known(what: str, wanted: Sequence[str], known: Sequence[str], *, where: Path) -> None:
    """Raise OptionError unless all that is wanted is there."""
    for name in wanted:
        if name not in known:
            listed = ", ".join(dict.fromkeys(known)) or "(none)"
            raise OptionError(f"{where} has no {what} {name!r}; it has: {listed}")


@dataclass(frozen=True, eq=False)
class _Source:
    """An embedding as it is: all columns, over all points."""

    shared: SharedEmbedding
    frame: pl.DataFrame
    export: Export | None

    @property
    def viewer_names(self) -> dict[str, str]:
        if self.export is None:
            return {name: name for name in self.frame.columns}
        return viewer_names(self.frame.drop(SOURCE_ROW, _SHOWN, strict=False))


def _open_exports(out: Path) -> dict[str, Export]:
    config = out / CONFIG_NAME
    if not config.is_file():
        inside = sorted(path.parent.name for path in out.glob(f"*/{CONFIG_NAME}"))
        hint = f": name one of the runs in it ({', '.join(inside)})" if inside else ""
        raise InputNotFoundError(f"{config} does not exist; expected a run directory{hint}")
    embeddings = read_embeddings(config.read_text(encoding="utf-8"), where=str(config))
    return {e.name: open_export(out, e.name) for e in embeddings if is_ours(out / e.folder)}


def _is_shown(entry: Mapping[str, Any]) -> bool:
    """vz-projector-data-panel.ts lists these only."""
    shape = entry.get("tensorShape", ())
    return len(shape) == 2 and min(shape) > 1


def _read_source(reader: PluginReader, entry: Mapping[str, Any], export: Export | None) -> _Source:
    name = entry["tensorName"]
    metadata = reader.get("/metadata", name) if entry.get("metadataPath") else None
    bookmarks = reader.get("/bookmarks", name) if entry.get("bookmarksPath") else None
    frame = read_metadata(metadata) if export is None else export.table
    n_rows, n_columns = entry["tensorShape"]
    sprite = entry.get("sprite", {})
    has_sprite = bool(sprite.get("imagePath") and len(sprite.get("singleImageDim", ())) == 2)
    shared = SharedEmbedding(
        name,
        (min(n_rows, MAX_POINTS), n_columns),
        lambda: reader.get("/tensor", name),
        metadata=metadata,
        columns=tuple(read_metadata(metadata).columns),
        bookmarks=bookmarks,
        titles=_titles(bookmarks, name),
        sprite=reader.get("/sprite_image", name) if has_sprite else None,
        tile_px=tuple(sprite["singleImageDim"]) if has_sprite else None,
    )
    if export is not None:
        listed = export.manifest.get("files", {})
        own_files = {file: export.read(file) for file in _OWN_FILES if file in listed}
        shared = replace(shared, manifest=export.manifest, own_files=own_files)
    return _Source(shared, frame, export)


def _titles(bookmarks: bytes | None, name: str) -> tuple[str, ...]:
    try:
        states = json.loads(bookmarks or b"[]")
        return tuple(str(state.get("label")) for state in states)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"the bookmarks of {name!r} cannot be read ({error})") from error


def _own_names(redaction: Redaction, sources: Sequence[_Source], *, where: Path) -> Redaction:
    """Take a column by the viewer's name for it as well, and check that it is there."""
    own: dict[str, str] = {}
    for source in sources:
        own |= {shown: name for name, shown in source.viewer_names.items()}
    own |= {name: name for source in sources for name in source.frame.columns}
    wanted: list[str] = []
    for name in redaction.columns:  # a,b,c unless a column is called so
        parts = [name] if name in own else [part.strip() for part in name.split(",")]
        wanted += filter(None, parts)
    check_known("column", wanted, list(own), where=where)
    return replace(redaction, columns=tuple(dict.fromkeys(own[name] for name in wanted)))


def _redact(
    source: _Source, redaction: Redaction, secrets: Secrets, views: Sequence[str]
) -> SharedEmbedding:
    shared = source.shared
    before = shared.states
    states = [state for state in before if not views or state.get("label") in views]
    if not redaction.is_of_texts:  # else they are cleaned by what the whole descriptions name
        states = [without_files(state) for state in states]
    if states != before:
        shared = shared.with_states(states)
    if redaction.sprite:
        shared = replace(shared, sprite=None, tile_px=None)
        if shared.manifest is not None:
            manifest = {k: v for k, v in shared.manifest.items() if k != "sprite"}
            shared = replace(shared, manifest=manifest)
    if redaction.is_of_texts:
        shared = _without_columns(source, shared, redaction, secrets)
    kept = read_metadata(shared.metadata)
    return replace(
        shared,
        columns=tuple(kept.columns),
        path_columns=tuple(path_columns(kept)),
        has_paths_in_views=any(map(state_names_paths, shared.states)),
    )


def _without_columns(
    source: _Source, shared: SharedEmbedding, redaction: Redaction, secrets: Secrets
) -> SharedEmbedding:
    is_ours = source.export is not None
    left_out = choose_columns(source.frame, redaction, secrets, is_ours=is_ours)
    frame = strip_columns(source.frame, left_out)
    own_files = {}
    if is_ours:
        shown = frame.filter(_SHOWN) if _SHOWN in frame.columns else frame
        metadata = render_metadata(shown.drop(SOURCE_ROW, _SHOWN, strict=False))
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        own_files = {"points.parquet": buffer.getvalue()}
    else:
        metadata = write_metadata(frame)
    notes = list(shared.notes)
    if redaction.paths and label_is_a_path(source.frame) and left_out.get(LABEL) != "asked for":
        notes.append(
            f"the labels of {shared.name!r} are file names; leave them out with --redact label"
        )
    if secrets.stand_in_name(shared.name) or secrets.stand_in(shared.name):
        notes.append(f"the name of the embedding {shared.name!r} tells what was left out")
    shared = replace(
        shared,
        metadata=metadata or None,
        own_files=own_files,
        left_out=left_out,
        manifest=None if shared.manifest is None else clean_manifest(shared.manifest),
        notes=tuple(notes),
    )
    if shared.bookmarks is None:
        return shared
    columns = read_metadata(metadata).columns
    colors = [name for name in columns if name != LABEL or LABEL not in left_out]
    states, chosen = clean_states(
        shared.states,
        columns=columns,
        colors=colors,
        gone={*left_out, *(source.viewer_names.get(name, name) for name in left_out)},
        secrets=secrets,
        paths=redaction.paths,
    )
    if chosen:
        views = f"{len(chosen)} views were" if len(chosen) > 1 else "1 view was"
        notes.append(
            f"{views} chosen by what is left out ({', '.join(chosen)}); "
            "leave such out with --view, which names those to share"
        )
    return replace(shared.with_states(states), notes=tuple(notes))
