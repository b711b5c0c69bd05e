"""The language of the readable results: one gettext catalogue of templates, filled in with the values of the sentences.

English is what the program is written in, so it needs no catalogue. A text without a translation stays English: nothing is left out.
"""

from __future__ import annotations

import functools
import gettext
from dataclasses import dataclass
from pathlib import Path

from analysis.words import translated

FOLDER = Path(__file__).resolve().parent.parent / "config" / "locale"
LANGUAGES = {"en": ("English", "en-US", "English (United States)"), "de": ("Deutsch", "de-DE", "German (Germany)")}
_DECIMAL_COMMA = {"de"}


@dataclass(frozen=True)
class Language:
    """A language by its ISO 639-1 code; called with a text it gives the text in that language."""

    code: str = "en"

    def __call__(self, text: str) -> str:
        if self.code == "en":
            return str(text)
        return translated(text, functools.partial(_looked_up, self.code), "," if self.code in _DECIMAL_COMMA else ".")


def _looked_up(code: str, text: str) -> str:
    """The translation, or the same text. A word that begins a line is looked up as it is within one, too."""
    found, inside = _catalogue(code).gettext(text), text[:1].lower() + text[1:]
    if found != text or inside == text:
        return found
    found = _catalogue(code).gettext(inside)
    return found[:1].upper() + found[1:]


@functools.cache
def _catalogue(code: str) -> gettext.NullTranslations:
    return gettext.translation("betz", FOLDER, [code])
