"""The reference populations of `config/populations.csv`, for the markers to compare with.

One row is one measurement of one side and sex; the comments of the file say what its columns mean. A row that cannot be read is a
SettingsError that names the file and the line: a wrong norm would make a wrong report, so nothing is skipped.
"""

from __future__ import annotations

import csv
import functools
import math
from dataclasses import fields
from pathlib import Path

from analysis.reference import Norm
from node.errors import SettingsError

POPULATIONS_FILE = Path(__file__).resolve().parent.parent / "config" / "populations.csv"
COLUMNS = tuple(field.name for field in fields(Norm))
WORDS = ("name", "side", "level", "sex", "population", "field", "method", "source")


@functools.cache
def norms() -> tuple[Norm, ...]:
    """The populations that come with the program."""
    return read_norms(POPULATIONS_FILE)


def read_norms(path: Path) -> tuple[Norm, ...]:
    """The norms of a CSV file, in its order. Lines that begin with # are comments. SettingsError where it is not such a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    reader = csv.DictReader([lines[number - 1] for number in numbers], restkey="too many", strict=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise SettingsError(f"{path}: the columns must be {', '.join(COLUMNS)}.")
    return tuple(_norm(row, f"{path}, line {number}") for number, row in zip(numbers[1:], reader, strict=True))


def _norm(row: dict[str, str], place: str) -> Norm:
    if "too many" in row or None in row.values():
        raise SettingsError(f"{place}: a row has {len(COLUMNS)} values; put quotes around a text with a comma.")
    numbers = {column: _number(row[column], column, place) for column in COLUMNS if column not in WORDS}
    keys = {word: row[word] or None for word in ("side", "level", "sex")}
    norm = Norm(**{**{word: row[word] for word in WORDS}, **keys, **numbers})
    _check(norm, place)
    return norm


def _number(text: str, column: str, place: str) -> float | int:
    try:
        value = int(text) if column == "n" else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingsError(f"{place}: {column} is {text!r}; a number is expected.")
    return value


def _check(norm: Norm, place: str) -> None:
    wrong = {
        "side is neither left, right nor empty": norm.side not in (None, "left", "right"),
        "sex is neither F, M nor empty": norm.sex not in (None, "F", "M"),
        "name, population, field, method and source must be there": not all(getattr(norm, word) for word in ("name", *WORDS[4:])),
        "n and sd must be above 0, sd_between_sites not below": norm.n < 1 or norm.sd <= 0 or norm.sd_between_sites < 0,
        "age_low must be below age_high": norm.age_low >= norm.age_high,
    }
    for sentence, is_so in wrong.items():
        if is_so:
            raise SettingsError(f"{place}: {sentence}.")
