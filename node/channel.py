"""How the sender reaches a destination: over DIMSE, or over DICOMweb where it has a `url`. Both do the same things.

`reach` raises a DeliveryError where the destination does not answer, and `check` also where it answers wrongly; `deliver` says of each file
that it goes now and what became of it, and `find` which objects it has. `query` is the name of the service that `find` uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from node import query, storage
from node.association import echo
from node.dicomweb import Web
from node.settings import Destination
from node.storage import Sent


class Dimse:
    """The channel to one destination that has an AE title: C-ECHO, C-STORE, C-FIND."""

    query = "C-FIND"

    def __init__(self, peer: Destination, calling: str, timeout_s: float) -> None:
        self.peer, self.calling, self.timeout_s = peer, calling, timeout_s

    def reach(self) -> None:
        echo(self.peer, self.calling, self.timeout_s)

    check = reach

    def deliver(self, paths: Sequence[Path], offer: Callable[[Path], None]) -> Iterator[tuple[Path, Sent]]:
        return storage.deliver(self.peer, self.calling, paths, self.timeout_s, offer)

    def find(self, study: str, objects: Iterable[tuple[str, str]]) -> set[str]:
        """SOP Instance UIDs of all that the peer finds in the series of the (series, object) pairs."""
        return query.objects_of(self.peer, self.calling, study, sorted({series for series, _ in objects}), self.timeout_s)


def channel_to(peer: Destination, calling: str, timeout_s: float) -> Dimse | Web:
    return Web(peer, timeout_s) if peer.url else Dimse(peer, calling, timeout_s)
