"""What a long call tells while it works, and how long its stages take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """Where a call stands.

    Attributes:
        name: of the stage under way.
        done: items finished in it, those left out included; 0 where nobody counts.
        total: items in all, or None where nobody counts.
        skipped: items left out so far.
    """

    name: str
    done: int = 0
    total: int | None = None
    skipped: int = 0


Progress = Callable[[Step], None]


def ignore(_: Step) -> None:
    """Tell nobody."""


@dataclass
class Clock:
    """Times stages, and tells when one begins.

    Attributes:
        tell: what to tell.
        seconds: of each stage that has ended.
    """

    tell: Progress = ignore
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and say that it began."""
        self.tell(Step(name))
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
