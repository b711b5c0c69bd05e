"""Query as its user (PS3.4 C): what a peer has of a patient and of a study, and how many objects, by C-FIND in the Study Root model.

Every query is told to the audit trail (`audit_query`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from node.association import EXPLICIT, IMPLICIT, associated, called
from node.audit import Query
from node.audit_query import Tell, asking, told
from node.errors import DeliveryError, RefusedError, UnreachableError
from node.settings import Destination

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MATCHES_AT_MOST = 100_000
_PENDING = (0xFF00, 0xFF01)


def objects_of(peer: Destination, calling: str, study: str, series: Iterable[str], timeout_s: float) -> set[str]:
    """SOP Instance UIDs of all that the peer finds in those series. RefusedError where it offers no query; DeliveryError where it fails."""
    with _asked(peer, calling, timeout_s) as find:
        return set().union(*(_objects(find, study, one) for one in series))


def images_of(peer: Destination, calling: str, study: str, timeout_s: float) -> dict[str, int]:
    """How many instances the peer has of each MR series of a study, by Series Instance UID; errors as `objects_of`.

    NumberOfSeriesRelatedInstances (PS3.4 C.6.2.1) is an optional key: where the peer does not state it, its instances are counted.
    """
    with _asked(peer, calling, timeout_s) as find:
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": "", "Modality": "", "NumberOfSeriesRelatedInstances": ""}
        found = [match for match in find("SERIES", keys) if str(match.get("Modality") or "MR") == "MR"]
        stated = {str(match.get("SeriesInstanceUID")): match.get("NumberOfSeriesRelatedInstances") for match in found}
        return {series: int(count) if count not in (None, "") else len(_objects(find, study, series))
                for series, count in stated.items()}


def matches_of(peer: Destination, calling: str, level: str, keys: dict[str, str], timeout_s: float, tell: Tell = told) -> list:
    """The matches of one query at STUDY or SERIES level, as data sets; errors as `objects_of`. `tell` hears of the query."""
    with _asked(peer, calling, timeout_s, tell) as find:
        return find(level, keys)


@contextmanager
def _asked(peer: Destination, calling: str, timeout_s: float, tell: Tell = told) -> Iterator[Callable[[str, dict[str, str]], list]]:
    """Gives what asks one query over an association."""
    with associated(peer, calling, [(STUDY_ROOT_FIND, EXPLICIT), (STUDY_ROOT_FIND, IMPLICIT)], timeout_s) as association:
        if not association.accepted_contexts:
            raise RefusedError(f"{called(peer)} does not offer C-FIND")
        yield functools.partial(_find, association, functools.partial(asking, peer, tell))


def _objects(find: Callable, study: str, series: str) -> set[str]:
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
    return {str(match.SOPInstanceUID) for match in find("IMAGE", keys) if "SOPInstanceUID" in match}


def _find(association, asking: Callable, level: str, keys: dict[str, str]) -> list:
    """The matches of one query."""
    from pydicom import Dataset

    wanted = Dataset()
    wanted.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(wanted, keyword, value)
    with asking() as leaves:
        try:
            leaves(_query(association, wanted))
            return _matches(association, association.send_c_find(wanted, STUDY_ROOT_FIND))
        except (RuntimeError, ValueError) as error:
            raise UnreachableError("The connection was lost.") from error


def _query(association, wanted) -> Query:
    """As the library sends it, in the first context that was accepted; ValueError where it cannot."""
    from pynetdicom.dsutils import encode

    syntax = association.accepted_contexts[0].transfer_syntax[0]
    content = encode(wanted, syntax.is_implicit_VR, syntax.is_little_endian)
    if content is None:
        raise ValueError("a query that cannot be encoded")
    return Query(STUDY_ROOT_FIND, content, str(syntax))


def _matches(association, answers: Iterable) -> list:
    found = []
    for answer, match in answers:
        if "Status" not in answer:
            raise UnreachableError("The peer did not answer to C-FIND, or the connection was lost.")
        if answer.Status not in (*_PENDING, 0x0000):
            raise DeliveryError(f"the peer did not answer C-FIND: status {answer.Status:04X}")
        if match is not None:
            found.append(match)
        if len(found) > MATCHES_AT_MOST:
            association.abort()
            raise DeliveryError(f"the peer found more than {MATCHES_AT_MOST} matches")
    return found
