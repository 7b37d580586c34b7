"""Start TensorBoard, say where, and end it with the command."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

Port = Annotated[
    int | None,
    typer.Option(help="Port on 127.0.0.1.  [default: 6006 or a free one]", min=1, max=65535),
]


def run_tensorboard(log_dir: Path, port: int | None, *, on_stderr: bool = False) -> None:
    """Run TensorBoard until it is interrupted."""
    from projector_export.viewing.serve import start_tensorboard

    # A terminal that closes, or a supervisor, must end TensorBoard too.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: sys.exit(0))
    server = start_tensorboard(log_dir, port=port)
    try:  # from here on a signal may come, in the midst of printing too
        typer.echo(f"Projector: {server.url}   (Ctrl+C ends)", err=on_stderr)
        server.process.wait()
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        server.stop()
