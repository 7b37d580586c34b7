"""The command line: parses, calls the library, prints. The only room that prints or exits."""

from __future__ import annotations

import sys
import warnings

from projector_export.cli import exports as exports
from projector_export.cli import pictures as pictures
from projector_export.cli import round_trip as round_trip
from projector_export.cli import sharing as sharing
from projector_export.cli import training as training
from projector_export.cli import views as views
from projector_export.cli.app import app, notes
from projector_export.errors import ProjectorExportError

__all__ = ["app", "main"]


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 0 done, 1 with one message, 2 on wrong usage."""
    # Pillow warns at half of the pixels that it refuses; scans of 100 MP are no attack.
    warnings.filterwarnings("ignore", message="Image size .* could be decompression bomb")
    try:
        app(args=argv, prog_name="projector-export")
    except ProjectorExportError as error:
        notes.print(f"projector-export: {error}", markup=False, style="red")
        sys.exit(1)
