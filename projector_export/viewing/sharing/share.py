"""Share a run: one HTML file, a folder for a web server, or the run itself as a zip file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from projector_export.errors import MissingExtraError, OptionError, ProjectorExportError
from projector_export.progress import Progress, Step
from projector_export.projector.exports import Export, open_export
from projector_export.projector.log_dir import MANIFEST
from projector_export.viewing.sharing.bundle import SharedEmbedding, collect
from projector_export.viewing.sharing.html_page import LIMIT_BYTES, render_html
from projector_export.viewing.sharing.redaction import Redaction, names_paths
from projector_export.viewing.sharing.run_files import render_run
from projector_export.viewing.sharing.site import render_site
from projector_export.viewing.sharing.targets import check_target, put_file, put_folder
from projector_export.viewing.sharing.zip_file import render_zip

Kind = Literal["html", "site", "zip"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_PICTURE_PX = (800, 500)


@dataclass(frozen=True, eq=False)
class Shared:
    """What was shared.

    Attributes:
        target: the file, or the folder of a site.
        kind: html, site or zip.
        embeddings: what is in it.
        file_bytes: size of each file by its path; of a zip file, before packing.
        size_bytes: of the target.
        path_files: files in which paths are named.
        warnings: what the user should know.
    """

    target: Path
    kind: Kind
    embeddings: tuple[SharedEmbedding, ...]
    file_bytes: Mapping[str, int]
    size_bytes: int
    path_files: tuple[str, ...]
    warnings: tuple[str, ...]


def share(
    out: str | Path,
    target: str | Path,
    *,
    kind: Kind,
    names: Sequence[str] = (),
    views: Sequence[str] = (),
    redaction: Redaction | None = None,
    base_url: str = "",
    force: bool = False,
    progress: Progress | None = None,
) -> Shared:
    """Write what others need to see a run.

    Args:
        out: the run directory.
        target: file to write, or folder for a site.
        kind: html, site or zip.
        names: embeddings to share; all when empty.
        views: titles of the bookmarks to share; all when empty.
        redaction: what is left out.
        base_url: where a site will lie, or the unpacked zip: for projector_config.json.
        force: replace an earlier bundle.
        progress: called when a step begins.

    Returns:
        What is in it. The same input gives the same bytes.

    Raises:
        InputNotFoundError: no run there.
        OptionError: no such kind, embedding, view or column.
        DataError: a file of the run cannot be read.
        ReadBackError: TensorBoard's plugin cannot read the run.
        NameTakenError: the target is there, and is not to be replaced.
        OutputError: the disk refuses; an earlier bundle is unchanged.
    """
    out, target, tell = Path(out), Path(target), progress or _ignore
    if kind not in KINDS:
        raise OptionError(f"kind is {kind!r}; expected {', '.join(KINDS)}")
    if base_url and (kind == "html" or not base_url.startswith(("http://", "https://"))):
        raise OptionError(
            f"base_url is {base_url!r}; expected https://... where a site or a zip's files will lie"
        )
    check_target(target, kind, force=force)
    tell(Step("reading the run"))
    embeddings = collect(out, names=names, views=views, redaction=redaction)
    warnings = [note for one in embeddings for note in one.notes]
    if kind == "html":
        page = render_html(embeddings, progress=tell)
        files = {target.name: page}
        if len(page) > LIMIT_BYTES:
            warnings.append(
                f"the page has {len(page) / 1e6:.0f} MB; above {LIMIT_BYTES / 1e6:.0f} MB it is "
                "slow to send and to open: --as site is better"
            )
        put_file(target, page)
    elif kind == "site":
        with tempfile.TemporaryDirectory() as temporary:
            pictures = _Pictures(Path(temporary), embeddings, warnings)
            files = render_site(embeddings, base_url=base_url, draw=pictures.draw, progress=tell)
        put_folder(target, files)
    else:
        tell(Step("packing"))
        files = render_run(embeddings, base_url=base_url)
        put_file(target, render_zip(out.resolve().name, embeddings, files))
    return Shared(
        target,
        kind,
        embeddings,
        {path: len(content) for path, content in files.items()},
        sum(p.stat().st_size for p in (target, *target.rglob("*")) if p.is_file()),
        _path_files(embeddings, kind),
        tuple(dict.fromkeys(warnings)),
    )


class _Pictures:
    """Draws views of a run as it is shared: without what is redacted."""

    def __init__(
        self, folder: Path, embeddings: Sequence[SharedEmbedding], warnings: list[str]
    ) -> None:
        self._folder, self._embeddings, self._warnings = folder, embeddings, warnings
        self._exports: dict[str, Export] | None = None

    def draw(self, name: str, number: int) -> bytes | None:
        """Return the picture of one view; None where it cannot be drawn, which a warning tells."""
        from projector_export.viewing.pictures.picture import render_picture

        export = self._open().get(name)
        if export is None:
            return None
        try:
            width, height = _PICTURE_PX
            return render_picture(
                export, export.states[number], width_px=width, height_px=height, framed=False
            )
        except MissingExtraError as error:
            self._warnings.append(f"the index has titles only: {error}")
        except ProjectorExportError as error:
            self._warnings.append(f"the index has no picture of a view of {name!r}: {error}")
        return None

    def _open(self) -> dict[str, Export]:
        if self._exports is None:
            for path, content in render_run(self._embeddings).items():
                (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / path).write_bytes(content)
            ours = [one.name for one in self._embeddings if one.manifest is not None]
            self._exports = {name: open_export(self._folder, name) for name in ours}
        return self._exports


def _path_files(embeddings: Sequence[SharedEmbedding], kind: Kind) -> tuple[str, ...]:
    found = []
    for one in embeddings:
        if one.path_columns:
            found.append(f"{one.name}/metadata.tsv ({', '.join(one.path_columns)})")
        if one.has_paths_in_views:
            found.append(f"{one.name}/bookmarks.json")
        if kind == "zip":
            found += [
                f"{one.name}/{path}"
                for path in one.own_files
                if path == "skipped.tsv" or (path == "points.parquet" and one.path_columns)
            ]
            if names_paths(one.manifest):
                found.append(f"{one.name}/{MANIFEST}")
    return tuple(found)


def _ignore(_: Step) -> None:
    pass
