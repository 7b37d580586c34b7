"""A recorded step's numbers, into the events of the training run that it belongs to."""

from __future__ import annotations

from projector_export.settings import Settings
from projector_export.training.events import EventWriter
from projector_export.training.series import RecordedStep
from projector_export.training.summaries import Numbers, summarize


def write_numbers(
    events: EventWriter, recorded: RecordedStep, *, settings: Settings, numbers: Numbers
) -> None:
    """Write the numbers of a step that is on disk; nothing where none are wanted.

    Args:
        events: of the training run's directory.
        recorded: the step.
        settings: that it was analysed with.
        numbers: which kinds.

    Raises:
        OutputError: the disk refuses; the step itself stays.
    """
    if not numbers.any:
        return
    analysis = recorded.analysis
    events.write(
        summarize(
            analysis.points,
            snapshot=analysis.snapshot,
            step=recorded.step,
            name=analysis.points.name,
            first=recorded.is_first,
            metric=settings.metric,
            numbers=numbers,
            seed=settings.seed,
        )
    )
