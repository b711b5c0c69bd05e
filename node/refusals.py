"""What is said of peers that are refused: the first time at once, repetitions of one address and reason once a minute with their number.

So a scanner with a wrong AE title, or somebody who knocks a thousand times a second, fills neither the log nor the audit trail nor the
memory. The clock is an argument. Only the thread of the listener calls it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from node import audit_trail
from node.log import log

EVERY_S = 60.0
_AT_MOST = 1000  # addresses and reasons that are told apart; further ones are counted together
_OTHERS, _ANY = "further addresses", "refused for various reasons"


@dataclass
class _Repeated:
    """One reason at one address: what was said, and how often since."""

    event: str
    fields: dict[str, str]
    audited: bool
    about_identity: bool
    said_at: float
    times: int = field(default=0)


class Refusals:
    """The refusals of one listener."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._known: dict[tuple[str, str, str], _Repeated] = {}

    def note(self, event: str, address: str, reason: str, audited: bool = False, about_identity: bool = True, **fields: str) -> None:
        """One refusal. `audited`: it is a security alert, too."""
        key = (event, address, reason)
        if key not in self._known and len(self._known) >= _AT_MOST:
            address, reason, fields = _OTHERS, _ANY, {}
            key = (event, address, reason)
        if (one := self._known.get(key)) is not None:
            one.times += 1
            return
        self._known[key] = one = _Repeated(event, {**fields, "address": address, "reason": reason}, audited, about_identity, self.clock())
        self._tell(one, 1)

    def tell_due(self, everything: bool = False) -> None:
        """Say what was repeated in the last minute; forget what was not."""
        now = self.clock()
        for key, one in [item for item in self._known.items() if everything or now - item[1].said_at >= EVERY_S]:
            if one.times:
                self._repeated(one)
            else:
                del self._known[key]

    def _repeated(self, one: _Repeated) -> None:
        """Who called himself what may have changed from one time to the other."""
        one.fields = {name: one.fields[name] for name in ("address", "reason")}
        self._tell(one, one.times)
        one.times, one.said_at = 0, self.clock()

    def _tell(self, one: _Repeated, times: int) -> None:
        log(one.event, **one.fields, **({"times": times} if times > 1 else {}))
        if one.audited:
            audit_trail.refused(one.fields["address"], one.fields["reason"], one.fields.get("calling", ""), one.about_identity, times)
