"""What the search for earlier examinations found, as a file: the search writes it as it goes on, the service reads it when that has ended,
or was ended."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from analysis.words import packed, unpacked
from node.audit_query import Asked


@dataclass
class Found:
    """The folders of earlier examinations, what is to be said of others, what went wrong, for the log, how many objects of which study
    and class came, and what was asked."""

    folders: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    fetched: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    is_whole: bool = False

    def say(self, sentence: str) -> None:
        """Once."""
        if sentence not in self.said:
            self.said.append(sentence)

    def write(self, file: Path) -> None:
        """Whole or not at all."""
        partial = file.with_name(f"{file.name}.partial")
        more = {"said": [packed(one) for one in self.said], "asked": [one.packed() for one in self.asked]}
        partial.write_text(json.dumps({**vars(self), **more}))
        os.replace(partial, file)

    @classmethod
    def read(cls, file: Path) -> Found:
        """Nothing where nothing was written."""
        try:
            told = json.loads(file.read_text())
            more = {"said": [unpacked(one) for one in told["said"]], "asked": [Asked.unpacked(one) for one in told["asked"]]}
            return cls(**{**told, **more})
        except (OSError, ValueError, TypeError, LookupError):
            return cls()
