"""The contract of a marker, and how markers are found.

A marker is a module of `analysis.markers` with a constant `MARKER`. Its docstring opens with the paragraphs *Gives, Needs, Method,
Trust, Refuses, References*. Nothing registers it: a file that is there is a marker.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass

from analysis.examination import Examination
from analysis.outcome import Outcome

SECTIONS = ("Gives", "Needs", "Method", "Trust", "Refuses", "References")


@dataclass(frozen=True)
class Marker:
    """`needs`: groups of roles, one of each group must be there. `gives`: measurement and finding names. `version` rises whenever
    the same input may give another number."""

    name: str
    version: int
    needs: tuple[tuple[str, ...], ...]
    gives: tuple[str, ...]
    findings: tuple[str, ...]
    measure: Callable[[Examination], Outcome]
    doc: str

    def section(self, title: str) -> str:
        """A paragraph of the marker's docstring, on one line."""
        match = re.search(rf"^{title}: (.*?)(?=^(?:{'|'.join(SECTIONS)}): |\Z)", self.doc, re.DOTALL | re.MULTILINE)
        return " ".join(match.group(1).split()) if match else ""


def markers() -> tuple[Marker, ...]:
    """Every marker there is, by name."""
    package = importlib.import_module("analysis.markers")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(importlib.import_module(f"analysis.markers.{name}").MARKER for name in names)
