"""The program's face: one Typer app, one console for notes, one way to show progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from projector_export.progress import Progress
from projector_export.progress_bar import progress_bar

app = typer.Typer(
    name="projector-export",
    help=(
        "Turn images, texts and vectors into a log directory that TensorBoard's Embedding "
        "Projector opens at once."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
notes = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


@contextmanager
def show_progress(*, quiet: bool) -> Iterator[Progress]:
    """Give a function that shows on stderr where the work stands, if that is a terminal."""
    if quiet or not notes.is_terminal:
        yield lambda _: None
        return
    with progress_bar(notes) as show:
        yield show


def note(text: str) -> None:
    """Print a note on stderr."""
    notes.print(f"note: {text}", markup=False)
