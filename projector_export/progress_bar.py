"""Where a call stands, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from projector_export.progress import Progress, Step


class _RateColumn(TextColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """Give a function that shows a step: items, rate, time left and how many were left out."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        MofNCompleteColumn(), _RateColumn(""), TimeElapsedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with RichProgress(*columns, console=console, transient=True) as bars:
        counted = bars.add_task("", total=None, visible=False, note="")
        waiting = bars.add_task("starting", total=None, note="")

        def show(step: Step) -> None:
            if step.total is None:
                bars.update(counted, visible=False)
                bars.update(waiting, description=step.name, visible=True)
                return
            bars.update(waiting, visible=False)
            bars.update(
                counted,
                description=step.name,
                completed=step.done,
                total=step.total,
                visible=True,
                note=f"{step.skipped} skipped" if step.skipped else "",
            )

        yield show
