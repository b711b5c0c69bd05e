"""Sentences that remember how they were made, so that a report can say them in another language.

`say` fills a template, as `str.format` does, and gives English text that is a `str` like any other: it is compared, logged and written as
such. The template and what was filled in stay with it; whoever writes a document translates the template and fills it again. So a sentence
is one template with its values, never pieces of English put together by `+`, an f-string or `join`: these would lose the memory. Values may
be sentences themselves. The templates are the catalogue of the report's words: a template is a literal where `say` is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from string import Formatter


class Words(str):
    """English text with its `template` and its `values`."""

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, values: Mapping[str, object]) -> Words:
        words = super().__new__(cls, template.format(**values) if values else template)
        words.template, words.values = template, dict(values)
        return words

    def __getnewargs__(self) -> tuple[str, Mapping[str, object]]:
        return self.template, self.values


class Name(str):
    """A proper name, such as that of a series: it is the same in every language."""


def say(template: str, /, **values: object) -> Words:
    """The sentence of a template: `say("it holds {share:.0f} % of it", share=41.2)`. Without values nothing is filled in."""
    return Words(template, values)


def joined(parts: Iterable[str], between: str = ", ") -> Words:
    """Several texts as one; each of them, and what stands `between`, is translated by itself."""
    named = {f"part{number}": part for number, part in enumerate(parts)}
    return Words("{between}".join(f"{{{name}}}" for name in named), {**named, "between": between})


def packed(text: str) -> str:
    """The text with its memory as plain text (JSON), to be handed to another process."""
    if not isinstance(text, Words):
        return text
    values = {name: packed(value) if isinstance(value, str) else value for name, value in text.values.items()}
    return json.dumps({"template": text.template, "values": values})


def unpacked(text: str) -> str:
    """What was `packed`; any other text as it is."""
    try:
        said = json.loads(text)
        return Words(said["template"], {name: unpacked(one) if isinstance(one, str) else one for name, one in said["values"].items()})
    except (ValueError, TypeError, LookupError):
        return text


def translated(text: str, lookup: Callable[[str], str], decimal_point: str = ".") -> str:
    """The text in another language. `lookup` gives the translation of a template or word, or the same where it has none.

    Numbers that were filled in are formatted as the template says, with that `decimal_point`.
    """
    if not text or isinstance(text, Name):
        return text  # the translation of nothing would be the header of a catalogue
    if not isinstance(text, Words):
        return lookup(text)
    values = {name: translated(value, lookup, decimal_point) if isinstance(value, str) else value for name, value in text.values.items()}
    template = lookup(text.template)
    return _Filler(decimal_point).vformat(template, (), values) if values else template


class _Filler(Formatter):
    """`str.format` with another decimal point in numbers."""

    def __init__(self, decimal_point: str) -> None:
        self.decimal_point = decimal_point

    def format_field(self, value: object, format_spec: str) -> str:
        shown = super().format_field(value, format_spec)
        return shown.replace(".", self.decimal_point) if isinstance(value, Real) else shown
