"""Change an export that exists: some files anew, the others kept; whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projector_export.projector.exports import Export
from projector_export.projector.log_dir import Staging
from projector_export.projector.read_back import read_back


def rewrite_export(
    export: Export, changed: Mapping[str, bytes], *, facts: Mapping[str, Any] | None = None
) -> list[str]:
    """Replace some files of an export.

    The other files are kept as they are (hard links where the file system has them), all of it is
    read back through TensorBoard's own plugin, and then moved into place as a new export is. A
    running TensorBoard shows new bookmarks and metadata when the page is loaded again.

    Args:
        export: what to change.
        changed: new contents by file name, such as `bookmarks.json`.
        facts: what the manifest is to say anew.

    Returns:
        Warnings about other embeddings of the run.

    Raises:
        OutputError: the disk refuses.
        ReadBackError: TensorBoard's plugin does not give back what was written.
    """
    manifest = {k: v for k, v in export.manifest.items() if k not in ("made_by", "files")}
    with Staging(export.out, export.name) as staging:
        for file in export.manifest.get("files", {}):
            if file not in changed:
                staging.keep(export.folder / file)
        for file, content in changed.items():
            staging.write(file, content)
        staging.write_config(export.embedding)
        read_back(staging.run, export.embedding, export.vectors)
        staging.write_manifest({**manifest, **(facts or {})})
        return staging.commit(export.embedding, force=True)
