"""A run packed into one zip file, and such a file unpacked without trust in what it says."""

from __future__ import annotations

import importlib.metadata
import io
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from projector_export.errors import DataError, InputNotFoundError, OutputError
from projector_export.limits import CONFIG_NAME
from projector_export.projector.log_dir import safe_name
from projector_export.viewing.sharing.bundle import SharedEmbedding
from projector_export.viewing.sharing.viewer_page import GENERATOR

README = "README.txt"
MAX_BYTES = 8_000_000_000
"""Of all files unpacked: 100,000 points x 4,096 dimensions with all that belongs to them are 2."""
MAX_ENTRIES = 10_000
MAX_RATIO = 200
"""Of unpacked to packed bytes, where it matters; texts that repeat reach about 50."""
_MATTERS_BYTES = 100_000_000
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can say


def render_zip(
    name: str, embeddings: Sequence[SharedEmbedding], files: Mapping[str, bytes]
) -> bytes:
    """Return the zip file; the same input gives the same bytes.

    Args:
        name: of the run; all files lie in a folder of that name.
        embeddings: what is shared.
        files: of the run, by their paths in it.
    """
    folder = safe_name(name)
    whole = {README: _readme(embeddings), **files}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.comment = GENERATOR.encode()
        for path in sorted(whole):
            entry = zipfile.ZipInfo(f"{folder}/{path}", _FIRST_DAY)
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, whole[path])
    return buffer.getvalue()


@contextmanager
def unpacked(file: str | Path) -> Iterator[Path]:
    """Unpack a shared run into a temporary folder, which goes with the block.

    Raises:
        InputNotFoundError: no such file.
        DataError: no zip file, a path in it that may lead elsewhere, or too much in it.
        OutputError: the disk refuses.
    """
    file = Path(file)
    if not file.is_file():
        raise InputNotFoundError(f"{file} does not exist; expected a zip file made by share")
    with tempfile.TemporaryDirectory(prefix="projector_export-") as temporary:
        target = Path(temporary)
        try:
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, file, free_bytes=shutil.disk_usage(target).free)
                for entry in archive.infolist():
                    _unpack(archive, entry, target)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            EOFError,
            RuntimeError,
            ValueError,
        ) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{file} cannot be unpacked ({error}); ask for it again") from error
        except OSError as error:
            raise OutputError(f"{file} cannot be unpacked to {target} ({error})") from error
        for config in target.rglob(CONFIG_NAME):
            _check_config(config, file)
        yield target


def _readme(embeddings: Sequence[SharedEmbedding]) -> bytes:
    names = " ".join(", ".join(one.name for one in embeddings).split())
    version = importlib.metadata.version("projector-export")
    lines = (
        f"For TensorBoard's Embedding Projector, by projector-export {version}: {names}",
        "To look at them: pip install projector-export, then projector-export view THIS_FILE.zip",
        "Or unpack it, pip install tensorboard, tensorboard --logdir THIS_FOLDER, tab Projector.",
    )
    return ("\n".join(lines) + "\n").encode("utf-8")


def _check_archive(archive: zipfile.ZipFile, file: Path, *, free_bytes: int) -> None:
    """Raise DataError unless everything in it may be unpacked."""
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"{file} has {len(entries):,} entries; a run has at most {MAX_ENTRIES:,}")
    if total > MAX_BYTES:
        raise DataError(f"{file} unpacks to {total:,} bytes; a run has at most {MAX_BYTES:,}")
    if total > _MATTERS_BYTES and total > MAX_RATIO * file.stat().st_size:
        raise DataError(
            f"{file} unpacks to {total:,} bytes, more than {MAX_RATIO} times its own size; "
            "that is no run"
        )
    if total > free_bytes:
        raise DataError(f"{file} unpacks to {total:,} bytes but only {free_bytes:,} are free")
    seen: set[str] = set()
    for entry in entries:
        why = _why_not(entry) or ("which is there twice" if entry.filename in seen else "")
        if why:
            raise DataError(
                f"{file} holds {entry.orig_filename!r}, {why}; nothing was unpacked: "
                "ask for a file made by projector-export share"
            )
        seen.add(entry.filename)


def _why_not(entry: zipfile.ZipInfo) -> str:
    """Return why an entry is not unpacked, or nothing."""
    # The name as it stands in the file: zipfile cuts it at a NUL and turns the system's separator.
    name = entry.orig_filename
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "which is a link or a device"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "whose path is absolute"
    if "\\" in name or not name.isprintable():
        return "whose path has characters that lead elsewhere on some systems"
    if any(part in ("", ".", "..") or ":" in part for part in parts):
        return "whose path leads elsewhere"
    if entry.flag_bits & 0x1:
        return "which is encrypted"
    return ""


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target / PurePosixPath(entry.filename)
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # No more than it said: zipfile stops there, and finds the checksum wrong.
    with archive.open(entry) as source, open(path, "xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)


def _check_config(config: Path, file: Path) -> None:
    """Raise DataError where a config names files outside of its folder."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    try:
        parsed = text_format.Parse(config.read_text(encoding="utf-8"), ProjectorConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{file} holds a {CONFIG_NAME} that cannot be read ({error})") from error
    paths = [parsed.model_checkpoint_path]
    for entry in parsed.embeddings:
        paths += [entry.tensor_path, entry.metadata_path, entry.bookmarks_path]
        paths.append(entry.sprite.image_path)
    inside = config.parent.resolve()
    for path in filter(None, paths):
        if not (inside / path).resolve().is_relative_to(inside):
            raise DataError(f"{file} names {path!r}, which is not in it; nothing is shown")
