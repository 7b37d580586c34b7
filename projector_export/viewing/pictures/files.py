"""All pictures of an export as files: named after their views, replaced only when asked to be."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from projector_export.errors import DataError, NameTakenError, OptionError, OutputError
from projector_export.progress import Progress, Step
from projector_export.projector.exports import Export
from projector_export.viewing.pictures.canvas import FileFormat, require_plots
from projector_export.viewing.pictures.contact_sheet import render_contact_sheet
from projector_export.viewing.pictures.interactive import render_interactive
from projector_export.viewing.pictures.picture import Style, check_picture_options, render_picture
from projector_export.viewing.pictures.scene import state_title
from projector_export.viewing.pictures.sheet_content import Sheet, available_sheets
from projector_export.viewing.written_files import check_outside, write_file

PictureKind = Literal["png", "svg", "pdf", "plotly"]
KINDS: tuple[PictureKind, ...] = ("png", "svg", "pdf", "plotly")
# Windows takes none of these in a name, and a dot only within it.
_FORBIDDEN = '<>:"/\\|?*'
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{p}{i}" for p in ("com", "lpt") for i in range(1, 10))]
)
_LONGEST_BYTES = 150  # of the 255 that file systems take; beside it stand a number and a suffix


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are drawn; see `render_picture`.

    Attributes:
        kind: png, svg, pdf or plotly (an interactive page).
        style: thumbnails, dots or auto.
        width_px: of a picture, and of a contact sheet.
        height_px: of a picture.
        dpi: pixels an inch.
    """

    kind: PictureKind = "png"
    style: Style = "auto"
    width_px: int = 1400
    height_px: int = 1000
    dpi: int = 200


def default_target(export: Export) -> Path:
    """Return where pictures go by default: beside the run, not in it."""
    out = export.out.resolve()  # `.` has a name too
    return out.parent / f"{out.name}_pictures" / export.name


def write_pictures(
    export: Export,
    target: str | Path | None = None,
    *,
    titles: Sequence[str] = (),
    sheets: bool | None = None,
    options: PictureOptions | None = None,
    force: bool = False,
    tell: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw views and contact sheets into a folder.

    Args:
        export: whose views.
        target: folder to write to; default `<run>_pictures/<name>` beside the run.
        titles: of the views to draw; default all.
        sheets: draw the contact sheets too; default: where no titles are given. Pages of plotly
            have none.
        options: how to draw.
        force: replace files that are there.
        tell: called with each note: what is left out, and why.
        progress: called with each picture.

    Returns:
        The files, views in their order, then sheets. Each was written beside and moved into place.

    Raises:
        DataError: a view named in `titles` cannot be drawn, or there is nothing to draw.
        MissingExtraError: what draws is not installed.
        NameTakenError: a file is there and `force` is off; nothing was drawn.
        OptionError: an option is out of range, or there is no view of that title.
        OutputError: the folder cannot be written to.
    """
    options = options or PictureOptions()
    _check(options)
    target = default_target(export) if target is None else Path(target)
    jobs = _jobs(export, titles, _wants_sheets(sheets, titles, options), options)
    if not jobs:
        raise DataError(
            f"{export.folder} has no views and no columns for contact sheets; add a view, or "
            "export with UMAP, clusters or anomalies"
        )
    _check_target(target, export, [job.file for job in jobs], force=force)
    written = []
    for number, job in enumerate(jobs):
        if progress:
            progress(Step("drawing", number, len(jobs)))
        try:
            content = job.render(tell)
        except DataError as error:
            if titles:
                raise
            if tell:
                tell(f"left out: {error}")
            continue
        write_file(content, target / job.file)
        written.append(target / job.file)
    if not written:
        raise DataError(f"none of the views of {export.folder} can be drawn; see the notes")
    return written


def file_stems(titles: Iterable[str]) -> list[str]:
    """Return a file name without suffix for each title: safe everywhere, and all different.

    Letters of every script are kept; spaces become underscores.
    """
    stems: list[str] = []
    taken: set[str] = set()
    for title in titles:
        base = _safe_stem(title)
        stem, number = base, 2
        while stem.casefold() in taken:
            stem, number = f"{base}_{number}", number + 1
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


@dataclass(frozen=True)
class _Job:
    file: str
    render: Callable[[Callable[[str], None] | None], bytes]


def _check(options: PictureOptions) -> None:
    if options.kind not in KINDS:
        raise OptionError(f"kind of picture is {options.kind!r}; expected {', '.join(KINDS)}")
    check_picture_options(
        width_px=options.width_px,
        height_px=options.height_px,
        dpi=options.dpi,
        file_format="png" if options.kind == "plotly" else options.kind,
        style=options.style,
    )
    if options.kind != "plotly":
        require_plots()


def _wants_sheets(sheets: bool | None, titles: Sequence[str], options: PictureOptions) -> bool:
    if options.kind == "plotly":
        if sheets:
            raise OptionError("plotly pages have no contact sheets; draw those as png, svg or pdf")
        return False
    return not titles if sheets is None else sheets


def _jobs(
    export: Export, titles: Sequence[str], sheets: bool, options: PictureOptions
) -> list[_Job]:
    states = export.states
    all_titles = [state_title(state) for state in states]
    for title in titles:
        if title not in all_titles:
            listed = ", ".join(map(repr, all_titles)) or "(none)"
            raise OptionError(f"{export.folder} has no view {title!r}; its views are {listed}")
    suffix = "html" if options.kind == "plotly" else options.kind
    # Names depend on all views, not on which are drawn, so that a view keeps its name.
    stems = file_stems([*(f"sheet {sheet}" for sheet in ("unusual", "typical")), *all_titles])[2:]
    jobs = [
        _Job(f"{stem}.{suffix}", _view_renderer(export, state, options))
        for stem, title, state in zip(stems, all_titles, states, strict=True)
        if not titles or title in titles
    ]
    if sheets and options.kind != "plotly":
        for sheet in available_sheets(export):
            jobs.append(_Job(f"sheet_{sheet}.{suffix}", _sheet_renderer(export, sheet, options)))
    return jobs


def _view_renderer(
    export: Export, state: Mapping[str, Any], options: PictureOptions
) -> Callable[[Callable[[str], None] | None], bytes]:
    if options.kind == "plotly":
        return lambda tell: render_interactive(export, state, thumbnails=options.style != "dots")
    file_format: FileFormat = options.kind
    return lambda tell: render_picture(
        export,
        state,
        width_px=options.width_px,
        height_px=options.height_px,
        file_format=file_format,
        style=options.style,
        dpi=options.dpi,
        tell=tell,
    )


def _sheet_renderer(
    export: Export, sheet: Sheet, options: PictureOptions
) -> Callable[[Callable[[str], None] | None], bytes]:
    file_format: Any = options.kind
    return lambda tell: render_contact_sheet(
        export, sheet, width_px=options.width_px, file_format=file_format, dpi=options.dpi,
        tell=tell,
    )  # fmt: skip


def _check_target(target: Path, export: Export, files: Sequence[str], *, force: bool) -> None:
    check_outside(target, export)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file; expected a folder to write to: choose another")
    there = [file for file in files if os.path.lexists(target / file)]
    if there and not force:
        raise NameTakenError(
            f"{target} already has {len(there)} of these {len(files)} files ({there[0]}, ...); "
            "give --force to replace them or choose another TARGET"
        )


def _safe_stem(title: str) -> str:
    composed = unicodedata.normalize("NFC", title)
    kept = ("_" if c.isspace() or c in _FORBIDDEN or not c.isprintable() else c for c in composed)
    short = "".join(kept).encode()[:_LONGEST_BYTES].decode(errors="ignore")
    stem = short.strip("._ ") or "view"
    return f"{stem}_" if stem.split(".")[0].casefold() in _RESERVED else stem
