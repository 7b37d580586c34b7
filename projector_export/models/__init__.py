"""Models that ship with the package."""

from pathlib import Path
from typing import Final

DIGITS_CLIP_DIR: Final[Path] = Path(__file__).parent / "digits_clip"
"""Folder of `digits_clip`; load it with open_clip as `local-dir:<this path>`."""
