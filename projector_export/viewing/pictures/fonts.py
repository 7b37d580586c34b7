"""Fonts that have the characters of people's labels, or a word about those that none has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

DEFAULT_FAMILY = "DejaVu Sans"
"""Ships with matplotlib: Latin, Greek, Cyrillic and many symbols, but no CJK."""
# Asked in this order; Japanese shapes of Han characters first.
_PREFERRED = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans", "Source Han Sans JP", "IPAexGothic",
    "IPAGothic", "TakaoPGothic", "TakaoGothic", "VL PGothic", "Hiragino Sans", "Yu Gothic",
    "Meiryo", "MS Gothic", "BIZ UDGothic", "Noto Sans CJK KR", "Noto Sans CJK SC",
    "Noto Sans CJK TC", "Noto Sans KR", "Noto Sans SC", "Noto Sans TC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Microsoft YaHei", "SimHei",
    "Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic", "Arial Unicode MS", "Noto Sans",
)  # fmt: skip
# They claim characters that they do not draw, or not as matplotlib can draw them.
_UNFIT = ("lastresort", "color emoji", "blank", "fallback")


@dataclass(frozen=True)
class Fonts:
    """What to draw texts with.

    Attributes:
        families: in the order in which matplotlib looks for a character.
        missing: characters that no installed font has.
    """

    families: tuple[str, ...]
    missing: str = ""

    @property
    def note(self) -> str | None:
        """What to tell the user about missing characters."""
        if not self.missing:
            return None
        some = self.missing[:10] + ("…" if len(self.missing) > 10 else "")
        return (
            f"no installed font has {some}: boxes stand for these characters; install one, such as "
            "Noto Sans CJK (Debian: apt install fonts-noto-cjk)"
        )


def choose_fonts(texts: Iterable[str]) -> Fonts:
    """Choose font families that between them have every character of the texts."""
    wanted = {c for c in set().union(*texts) if not c.isspace()}
    wanted -= _characters(DEFAULT_FAMILY)
    families = [DEFAULT_FAMILY]
    for family in _PREFERRED if wanted else ():
        if wanted & _characters(family):
            families.append(family)
            wanted -= _characters(family)
    for family in _other_families() if wanted else ():
        if wanted & _characters(family):
            families.append(family)
            wanted -= _characters(family)
        if not wanted:
            break
    return Fonts(tuple(families), "".join(sorted(wanted)))


def drawable(text: str) -> str:
    """Return a text on one line, without characters that are instructions rather than shapes."""
    composed = unicodedata.normalize("NFC", text)
    kept = (
        " " if c.isspace() else c
        for c in composed
        if c.isspace() or not (unicodedata.category(c) in ("Cc", "Cf") or "\ufe00" <= c <= "\ufe0f")
    )
    return " ".join("".join(kept).split())


@cache
def _characters(family: str) -> frozenset[str]:
    """Return the characters that a family has; none where it is not installed."""
    from matplotlib import font_manager

    try:
        path = font_manager.findfont(
            font_manager.FontProperties(family=[family]), fallback_to_default=False
        )
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (ValueError, RuntimeError, OSError):  # not installed, or no font that FreeType reads
        return frozenset()


def _other_families() -> list[str]:
    from matplotlib import font_manager

    names = {entry.name for entry in font_manager.fontManager.ttflist} - set(_PREFERRED)
    return sorted(n for n in names if not any(word in n.lower() for word in _UNFIT))
