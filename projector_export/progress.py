"""What a long call tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
