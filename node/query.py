"""Query as its user (PS3.4 C): which objects of a study a peer has, by C-FIND at IMAGE level in the Study Root model."""

from __future__ import annotations

from collections.abc import Iterable

from node.association import EXPLICIT, IMPLICIT, associated, called
from node.errors import DeliveryError, RefusedError, UnreachableError
from node.settings import Destination

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)


def objects_of(peer: Destination, calling: str, study: str, series: Iterable[str], timeout_s: float) -> set[str]:
    """SOP Instance UIDs of all that the peer finds in those series. RefusedError where it offers no query; DeliveryError where it fails."""
    with associated(peer, calling, [(STUDY_ROOT_FIND, EXPLICIT), (STUDY_ROOT_FIND, IMPLICIT)], timeout_s) as association:
        if not association.accepted_contexts:
            raise RefusedError(f"{called(peer)} does not offer C-FIND")
        return set().union(*(_find(association, study, one) for one in series))


def _find(association, study: str, series: str) -> set[str]:
    from pydicom import Dataset

    wanted, found = Dataset(), set()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID, wanted.SeriesInstanceUID, wanted.SOPInstanceUID = "IMAGE", study, series, ""
    try:
        for answer, match in association.send_c_find(wanted, STUDY_ROOT_FIND):
            if "Status" not in answer:
                raise UnreachableError("The peer did not answer to C-FIND, or the connection was lost.")
            if answer.Status not in (*_PENDING, 0x0000):
                raise DeliveryError(f"the peer did not answer C-FIND: status {answer.Status:04X}")
            if match is not None and "SOPInstanceUID" in match:
                found.add(str(match.SOPInstanceUID))
    except (RuntimeError, ValueError) as error:
        raise UnreachableError("The connection was lost.") from error
    return found
