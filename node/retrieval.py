"""What an archive has of a patient, and how it comes: C-FIND with C-GET or C-MOVE, or QIDO-RS with WADO-RS where it has a `url`.

Both do the same things: `studies` of a patient ID, `series` of a study, and `fetch` of whole series into the copies. Every call ends after
its time limit, and every query is told (`audit_query`). What the archive says is not believed: it is for the caller to compare, and a match
that cannot be read is none. All errors are DeliveryErrors; where neither C-GET nor C-MOVE is offered, a RefusedError.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from node.association import EXPLICIT, IMPLICIT, associated, called
from node.audit_query import Tell, told
from node.copies import Copies
from node.dicomweb import Web, _connection
from node.earlier_report import day_of
from node.errors import DeliveryError, RefusedError, SpoolError, UnreachableError
from node.identity import KEYWORDS, Identity, identity_of
from node.listener import REPORT, SIEMENS_CSA_NON_IMAGE, SOP_CLASSES, TRANSFER_SYNTAXES
from node.query import matches_of
from node.settings import Destination
from node.spool import is_uid

STUDY_ROOT_GET, STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
IMAGES = tuple(one for one in SOP_CLASSES if one.startswith(("1.2.840.10008.5.1.4.1.1.4", SIEMENS_CSA_NON_IMAGE)))
STUDY_KEYS = (*KEYWORDS, "StudyInstanceUID", "StudyDate", "ModalitiesInStudy")
SERIES_KEYS = ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances")
LARGEST_OBJECT_BYTES, PAGE = 2**30, 500
_PENDING, _WARNINGS = (0xFF00, 0xFF01), (0xB000,)
_UNCOMPRESSED = (EXPLICIT, IMPLICIT)


@dataclass(frozen=True)
class FoundStudy:
    """A study as an archive describes it; `modalities` is empty where it does not say."""

    uid: str
    day: date
    identity: Identity
    modalities: frozenset[str]


@dataclass(frozen=True)
class FoundSeries:
    """A series as an archive describes it; None, or empty, where it does not say."""

    uid: str
    modality: str
    number: int | None
    description: str
    images: int | None


class DimseArchive:
    """An archive that has an AE title. `calling`: the title of the node, to which a C-MOVE sends. `tell` hears of its queries."""

    def __init__(self, peer: Destination, calling: str, timeout_s: float, tell: Tell = told) -> None:
        self.peer, self.calling, self.timeout_s, self.tell = peer, calling, timeout_s, tell

    def studies(self, patient_id: str) -> list[FoundStudy]:
        keys = {**dict.fromkeys(STUDY_KEYS, ""), "PatientID": patient_id}
        if not patient_id.isascii():
            keys["SpecificCharacterSet"] = "ISO_IR 192"
        return _studies(matches_of(self.peer, self.calling, "STUDY", keys, self.timeout_s, self.tell))

    def series(self, study: str) -> list[FoundSeries]:
        keys = {**dict.fromkeys(SERIES_KEYS, ""), "StudyInstanceUID": study}
        return _series(matches_of(self.peer, self.calling, "SERIES", keys, self.timeout_s, self.tell))

    def check_offer(self, no_study: str) -> None:
        """That it answers a C-FIND, and offers a way to retrieve; `no_study`: a UID that no study has."""
        self.series(no_study)
        ways = {"get": (STUDY_ROOT_GET,), "move": (STUDY_ROOT_MOVE,)}.get(self.peer.retrieve, (STUDY_ROOT_GET, STUDY_ROOT_MOVE))
        with associated(self.peer, self.calling, [(way, IMPLICIT) for way in ways], self.timeout_s) as association:
            if not association.accepted_contexts:
                raise NotOfferedError(f"{called(self.peer)} offers neither C-GET nor C-MOVE, or not the one in the settings")

    def fetch(self, study: str, series: Sequence[FoundSeries], copies: Copies) -> None:
        """Have the objects of those series come; what of them came is in the copies."""
        ways = {"get": (self._get,), "move": (self._move,)}.get(self.peer.retrieve, (self._get, self._move))
        with copies.expecting(study):
            for number, way in enumerate(ways, start=1):
                try:
                    return way(study, series, copies)
                except NotOfferedError:
                    if number == len(ways):
                        raise

    def _get(self, study: str, series: Sequence[FoundSeries], copies: Copies) -> None:
        from pynetdicom import evt

        classes = sorted({one for found in series for one in _classes_of(found)})
        contexts = [(sop_class, syntax) for sop_class in classes for syntax in _syntaxes_of(sop_class)]
        handlers = [(evt.EVT_C_STORE, lambda event: _keep(event, copies))]
        root = [(STUDY_ROOT_GET, syntax) for syntax in _UNCOMPRESSED]
        with associated(self.peer, self.calling, [*root, *contexts], self.timeout_s, handlers, classes) as association:
            self._check_offered(association, STUDY_ROOT_GET, "C-GET")
            if not any(one.abstract_syntax in classes and one.as_scp for one in association.accepted_contexts):
                raise NotOfferedError(f"{called(self.peer)} does not send over the association that asks (C-GET)")
            for one in series:
                self._follow(association, association.send_c_get, (_identifier(study, one), STUDY_ROOT_GET), "C-GET")

    def _move(self, study: str, series: Sequence[FoundSeries], copies: Copies) -> None:
        """The objects come to the node's own listener, which puts them into the copies while they are expected."""
        root = [(STUDY_ROOT_MOVE, syntax) for syntax in _UNCOMPRESSED]
        with associated(self.peer, self.calling, root, self.timeout_s) as association:
            self._check_offered(association, STUDY_ROOT_MOVE, "C-MOVE")
            for one in series:
                self._follow(association, association.send_c_move, (_identifier(study, one), self.calling, STUDY_ROOT_MOVE), "C-MOVE")

    def _check_offered(self, association, model: str, name: str) -> None:
        if not any(one.abstract_syntax == model for one in association.accepted_contexts):
            raise NotOfferedError(f"{called(self.peer)} does not offer {name}")

    def _follow(self, association, send, arguments: tuple, name: str) -> None:
        """Until the last response. Sub-operations that failed are seen in what came."""
        last = None
        try:
            for answer, _ in send(*arguments):
                if "Status" not in answer:
                    raise UnreachableError(f"{called(self.peer)} did not answer to {name} in time, or the connection was lost.")
                last = answer.Status
        except (RuntimeError, ValueError) as error:
            raise UnreachableError(f"{called(self.peer)} ended the connection.") from error
        if last not in (0x0000, *_WARNINGS):
            raise DeliveryError(f"{called(self.peer)} did not carry out {name}: status {last or 0:04X}")


class NotOfferedError(RefusedError):
    """The archive does not offer this way to retrieve."""


class WebArchive(Web):
    """An archive that has a `url`."""

    def studies(self, patient_id: str) -> list[FoundStudy]:
        asked = {"fields": list(STUDY_KEYS), "search_filters": {"PatientID": patient_id}}
        with self._client() as client:
            found = self._matches(lambda: client.search_for_studies(**asked), (204,))
        return _studies(_data_sets(found))

    def series(self, study: str) -> list[FoundSeries]:
        with self._client() as client:
            found = self._matches(lambda: client.search_for_series(study, fields=list(SERIES_KEYS)), (204, 404))
        return _series(_data_sets(found))

    def check_offer(self, no_study: str) -> None:
        """That it answers QIDO-RS; `no_study`: a UID that no study has."""
        self.series(no_study)

    def fetch(self, study: str, series: Sequence[FoundSeries], copies: Copies) -> None:
        """Object by object: none but the one that comes is in memory."""
        with copies.expecting(study), self._client(LARGEST_OBJECT_BYTES) as client:
            for one in series:
                for instance in self._instances(client, study, one.uid):
                    self._retrieve(client, study, one.uid, instance, copies)

    def _instances(self, client, study: str, series: str) -> Iterator[str]:
        """The objects of a series, page by page, until one brings nothing new: a service may limit its answers, or know no pages."""
        seen: dict[str, None] = {}
        while True:
            asked = {"fields": ["SOPInstanceUID"], "limit": PAGE, "offset": len(seen)}
            found = self._matches(lambda asked=asked: client.search_for_instances(study, series, **asked), (204, 404))
            new = [uid for ds in _data_sets(found) if is_uid(uid := str(ds.get("SOPInstanceUID") or "")) and uid not in seen]
            seen.update(dict.fromkeys(new))
            yield from new
            if not new:
                return

    def _retrieve(self, client, study: str, series: str, instance: str, copies: Copies) -> None:
        import requests

        with _connection(self.peer):
            try:
                ds = client.retrieve_instance(study, series, instance)
            except requests.HTTPError as error:
                raise DeliveryError(f"{self.peer.url} did not give an object (HTTP {error.response.status_code})") from None
            except (IndexError, AttributeError, KeyError, TypeError) as error:
                raise DeliveryError(f"{self.peer.url} answers with something that is no DICOM object") from error
        buffer = io.BytesIO()
        try:
            ds.save_as(buffer, enforce_file_format=True)
            content = buffer.getvalue()
            offset = 144 + int.from_bytes(content[140:144], "little")
            copies.take(str(ds.SOPClassUID), instance, str(ds.file_meta.TransferSyntaxUID), content[offset:])
        except SpoolError as error:
            raise DeliveryError(f"an object that came could not be kept: {error}") from error
        except Exception as error:  # pydicom raises many kinds on a damaged object
            raise DeliveryError(f"{self.peer.url} answers with something that is no DICOM object") from error


def archive_to(peer: Destination, calling: str, timeout_s: float, tell: Tell = told) -> DimseArchive | WebArchive:
    return WebArchive(peer, timeout_s, tell) if peer.url else DimseArchive(peer, calling, timeout_s, tell)


def _keep(event, copies: Copies) -> int:
    """The status that the archive hears."""
    try:
        request = event.request
        copies.take(str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID), str(event.context.transfer_syntax),
                    event.encoded_dataset(include_meta=False))
        return 0x0000
    except SpoolError as error:
        return error.status
    except Exception:  # pydicom and pynetdicom raise many kinds on what is damaged
        return 0xC000


def _classes_of(series: FoundSeries) -> tuple[str, ...]:
    return (REPORT,) if series.modality == "SR" else IMAGES


def _syntaxes_of(sop_class: str) -> tuple[str, ...]:
    """Images may be compressed; an association has 128 contexts at most (PS3.8 9.3.2.2)."""
    return TRANSFER_SYNTAXES if sop_class.startswith("1.2.840.10008.5.1.4.1.1.4") else _UNCOMPRESSED


def _identifier(study: str, series: FoundSeries):
    from pydicom import Dataset

    wanted = Dataset()
    wanted.QueryRetrieveLevel, wanted.StudyInstanceUID, wanted.SeriesInstanceUID = "SERIES", study, series.uid
    return wanted


def _data_sets(matches: Iterable[dict]) -> Iterator:
    """What QIDO-RS found; a match that cannot be read is none."""
    from pydicom import Dataset

    for match in matches:
        with contextlib.suppress(Exception):
            yield Dataset.from_json(match)


def _studies(matches: Iterable) -> list[FoundStudy]:
    found = {}
    for match in matches:
        with contextlib.suppress(Exception):  # a match without a valid date or UID is of no use
            uid, modalities = str(match.StudyInstanceUID), match.get("ModalitiesInStudy") or ()
            listed = [modalities] if isinstance(modalities, str) else modalities
            if is_uid(uid):
                found[uid] = FoundStudy(uid, day_of(match), identity_of(match), frozenset(str(one) for one in listed))
    return list(found.values())


def _series(matches: Iterable) -> list[FoundSeries]:
    found = {}
    for match in matches:
        with contextlib.suppress(Exception):
            uid = str(match.SeriesInstanceUID)
            modality, description = (str(match.get(keyword) or "") for keyword in ("Modality", "SeriesDescription"))
            numbers = (_whole(match, keyword) for keyword in ("SeriesNumber", "NumberOfSeriesRelatedInstances"))
            if is_uid(uid):
                found[uid] = FoundSeries(uid, modality, next(numbers), description, next(numbers))
    return list(found.values())


def _whole(match, keyword: str) -> int | None:
    value = match.get(keyword)
    return None if value in (None, "") else int(value)
