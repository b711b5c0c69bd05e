"""An archive on loopback that answers C-FIND, C-GET and C-MOVE from a list of objects, or does not: `lies` changes what it says or sends.

    answer(match)     each match of C-FIND, None to leave it out; it may raise, wait, or give back rubbish
    sent(ds)          each object before it goes, None to leave it out

`asked` holds the level of every query and the name of every retrieval.
"""

from __future__ import annotations

import io

from pydicom import Dataset, dcmread
from pynetdicom import AE, evt

FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2, 3))
MR_IMAGE, REPORT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.34"
EXPLICIT = "1.2.840.10008.1.2.1"


class Archive:
    """`serve` is `conftest.start_peer`; `nodes` are the ports of those to whom a C-MOVE may send, by AE title."""

    def __init__(self, serve, objects, offers=(FIND, GET, MOVE), nodes=None, answer=lambda match: match, sent=lambda ds: ds, status=0x0000):
        self.objects, self.answer, self.sent, self.nodes, self.status = list(objects), answer, sent, nodes or {}, status
        self.asked = []
        ae = AE("ARCHIVE")
        ae.add_supported_context("1.2.840.10008.1.1")
        for model in offers:
            ae.add_supported_context(model)
        for sop_class in (MR_IMAGE, REPORT) if GET in offers else ():
            ae.add_supported_context(sop_class, EXPLICIT, scu_role=True, scp_role=True)
        for sop_class in (MR_IMAGE, REPORT):
            ae.add_requested_context(sop_class, EXPLICIT)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_GET, self._get), (evt.EVT_C_MOVE, self._move)]
        self.server = serve(ae, handlers=handlers)
        self.port = self.server.server_address[1]

    def _find(self, event):
        wanted = event.identifier
        level = wanted.QueryRetrieveLevel
        self.asked.append(level)
        if self.status:
            yield self.status, None
            return
        keys = {"STUDY": ("PatientID", "StudyInstanceUID"), "SERIES": ("StudyInstanceUID", "SeriesInstanceUID")}[level]
        found = {}
        for ds in self.objects:
            if all(not wanted.get(key) or wanted.get(key) == ds.get(key) for key in keys):
                found.setdefault(ds.StudyInstanceUID if level == "STUDY" else ds.SeriesInstanceUID, []).append(ds)
        for members in found.values():
            match = Dataset()
            for element in wanted:
                setattr(match, element.keyword, members[0].get(element.keyword) or "")
            match.QueryRetrieveLevel = level
            if level == "STUDY":
                match.ModalitiesInStudy = sorted({one.Modality for one in members})
            else:
                match.NumberOfSeriesRelatedInstances = len(members)
            if (match := self.answer(match)) is not None:
                yield 0xFF00, match

    def _wanted(self, event):
        self.asked.append(type(event.request).__name__)
        wanted = event.identifier
        found = [ds for ds in self.objects if ds.SeriesInstanceUID == wanted.SeriesInstanceUID]
        return [one for ds in found if (one := self.sent(copy_of(ds))) is not None]

    def _get(self, event):
        found = self._wanted(event)
        yield len(found)
        for ds in found:
            yield 0xFF00, ds

    def _move(self, event):
        found = self._wanted(event)
        port = self.nodes.get(event.move_destination)
        yield ("127.0.0.1", port) if port else (None, None)
        yield len(found)
        for ds in found:
            yield 0xFF00, ds


def copy_of(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)
