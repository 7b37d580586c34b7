"""view: what shows an export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from projector_export.cli.app import app
from projector_export.cli.serving import Port, run_tensorboard


@app.command()
def view(
    logdir: Annotated[Path, typer.Argument(help="Directory with exports at any depth.")] = Path(
        "logs"
    ),
    port: Port = None,
) -> None:
    """Start TensorBoard on this machine and print the projector's address."""
    run_tensorboard(logdir, port)
