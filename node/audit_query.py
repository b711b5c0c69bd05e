"""Queries that leave the node, for its audit trail: whom each went to, what was asked as it was sent, and whether it was answered.

One message for each query, when it has ended, with the time at which it left (PS3.15 A.5.3.10). Where no association comes about there is
no query, and none is told; one that may have left is told, however the connection ended, and over the web also where nobody was found. A
process that has no trail notes its queries (`Asked`) for the one that has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from node import audit, audit_trail
from node.audit import Peer, Query
from node.errors import DeliveryError
from node.log import unforeseen
from node.settings import Destination

UNANSWERED = "no answer came before the search was ended"

Ended = Callable[[str], None]
"""Hears why a query was not answered, or ""."""
Tell = Callable[[Destination, Query], Ended]
"""Hears that a query is about to leave, and gives what hears of its end."""


@dataclass
class Asked:
    """A query that left, and when; `failure` is UNANSWERED until it has ended."""

    when: datetime
    query: Query
    failure: str = UNANSWERED

    def packed(self) -> dict[str, str]:
        """As JSON has it."""
        return {"when": self.when.isoformat(), "failure": self.failure, **vars(self.query), "content": self.query.content.hex()}

    @classmethod
    def unpacked(cls, told: dict[str, str]) -> Asked:
        """ValueError or LookupError where it is none."""
        query = Query(told["subject"], bytes.fromhex(told["content"]), told["syntax"])
        return cls(datetime.fromisoformat(told["when"]), query, told["failure"])

    def tell(self, peer: Destination) -> None:
        """To the trail of this process."""
        audit_trail.queried(Peer(peer.ae_title, peer.host or peer.url), self.query, self.when, self.failure)


def told(peer: Destination, query: Query) -> Ended:
    """A query leaves, and is told to the trail of this process when it has ended."""
    when = audit.now()
    return lambda failure: Asked(when, query, failure).tell(peer)


@contextmanager
def asking(peer: Destination, tell: Tell) -> Iterator[Callable[[Query], None]]:
    """Gives what is to be called just before a query leaves. How it ended is told at the end, whatever ends it."""
    under_way: list[Ended] = []
    failure = ""
    try:
        yield lambda query: under_way.append(tell(peer, query))
    except BaseException as error:
        failure = str(error) if isinstance(error, DeliveryError) else unforeseen(error)
        raise
    finally:
        for ended in under_way:
            ended(failure)
