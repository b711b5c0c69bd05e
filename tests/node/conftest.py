"""What the tests of the service share: small MR objects, a node that listens, and peers that behave or do not."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trustme
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer

from node import audit_trail
from node.audit_spool import AuditSpool, frames_of
from node.journal import Journal
from node.listener import VERIFICATION, listen
from node.outbox import Outbox
from node.records import READY, RECEIVING
from node.sender import Sender
from node.service import JOURNAL
from node.settings import Audit, Destination, Listener, Settings, Storage, Tls
from node.settings import Sender as Rules
from node.spool import Spool

MR_IMAGE, SECONDARY = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
RESULT_STUDY = "1.2.3.4"


def make_mr(study: str = "1.2.3.4", number: int = 1, size: int = 8, seed: int = 0, **elements: object) -> Dataset:
    """A small MR image; the same arguments give the same object."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = MR_IMAGE, generate_uid(entropy_srcs=[study, str(number)])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Secret^Patient", "SECRET1", "19600101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "20200101", "120000", "1", "A1", ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 1, number
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.ReferencedImageSequence = [Dataset()]
    ds.ReferencedImageSequence[0].ReferencedSOPClassUID = MR_IMAGE
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    ds.PixelData = np.random.default_rng(seed).integers(0, 4096, (size, size), dtype=np.uint16).tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


@pytest.fixture
def mr():
    return make_mr


@pytest.fixture
def encoded():
    """The bytes of a data set as they go over the wire."""
    def encode(ds: Dataset, implicit: bool = False, little: bool = True) -> bytes:
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
        write_dataset(buffer, ds)
        return buffer.getvalue()
    return encode


@pytest.fixture
def node(tmp_path):
    """A listening node; calling it again with other settings starts another. Every one is stopped."""
    started = []

    def start(minimum_free_gib=0.0, on_stored=None, tls=None, **more):
        settings = Settings(replace(Listener(port=0), **more), tls or Tls(), storage=Storage(tmp_path, minimum_free_gib))
        spool, heard = Spool(tmp_path, minimum_free_gib), []
        listener = listen(settings, spool, on_stored or heard.append)
        listener.spool, listener.heard = spool, heard
        started.append(listener)
        return listener

    yield start
    for listener in started:
        listener.stop()


@pytest.fixture
def call():
    """An association with a listening node."""
    opened = []

    def call(listener, classes=(MR_IMAGE,), syntaxes=(ExplicitVRLittleEndian,), title="BETZ", calling="SCANNER"):
        ae = AE(calling)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
        ae.add_requested_context(VERIFICATION)
        for sop_class in classes:
            for syntax in syntaxes:
                ae.add_requested_context(sop_class, syntax)
        opened.append(ae.associate("127.0.0.1", listener.port, ae_title=title))
        return opened[-1]

    yield call
    for association in opened:
        if association.is_established:
            association.abort()


@pytest.fixture
def raw_peer():
    """The class `RawPeer` of the module beside this file; every connection that it opens is closed."""
    module = _beside("raw_peer")
    opened = []

    class Closed(module.RawPeer):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            opened.append(self)

    Closed.module = module
    yield Closed
    for peer in opened:
        peer.socket.close()


@pytest.fixture(scope="session")
def authority():
    """An authority that the tests' certificates come from."""
    return trustme.CA()


@pytest.fixture
def certified(tmp_path, authority):
    """Settings under [tls] of somebody new, with a certificate of that authority for this machine; the files are written."""
    def make(name="betz", ca=authority, profile="b.12", **more):
        folder = tmp_path / "tls"
        folder.mkdir(exist_ok=True)
        tls = Tls(folder / f"{name}.pem", folder / f"{name}.key", folder / "authorities.pem", profile)
        issued = ca.issue_cert("localhost", "127.0.0.1", common_name=name, **more)
        tls.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        tls.key.write_bytes(issued.private_key_pem.bytes())
        tls.key.chmod(0o600)
        authority.cert_pem.write_to_path(tls.authorities)
        return tls
    return make


@pytest.fixture
def free_port():
    """Below those that the system gives to connections and to port 0."""
    for port in random.Random().sample(range(20000, 32000), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def soon():
    """Wait until something is true."""
    def soon(true, within_s=15.0):
        until = time.monotonic() + within_s
        while not (found := true()) and time.monotonic() < until:
            time.sleep(0.02)
        assert found
        return found
    return soon


@pytest.fixture
def events(capsys):
    """What was logged so far: event and reason of each line."""
    seen = []

    def events(name=None):
        seen.extend(json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{"))
        return [one for one in seen if name in (None, one["event"])]
    return events


@pytest.fixture
def costs():
    """How many threads and file descriptors this process has."""
    return lambda: (threading.active_count(), len(os.listdir("/proc/self/fd")))


@pytest.fixture
def given_back(costs):
    """Whether there are no more of them than there were."""
    return lambda before: all(now <= then for now, then in zip(costs(), before, strict=True))


def start_peer(ae: AE, port: int = 0, handlers: Sequence[tuple] = ()) -> ThreadedAssociationServer:
    """As `AE.start_server`, but it looks often whether it is to end: the library's waits half a second each time."""
    server = ae.make_server(("127.0.0.1", port), evt_handlers=list(handlers), server_class=ThreadedAssociationServer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    ae._servers.append(server)
    return server


@pytest.fixture(scope="session")
def peer_server():
    return start_peer


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def audit_exchange() -> ModuleType:
    """The module `audit_exchange` beside this file: an audit repository, and the schema of audit messages."""
    return _beside("audit_exchange")


@pytest.fixture
def repository(audit_exchange, tmp_path):
    """An audit repository on loopback, and `settings()` with which a node finds and trusts it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    started = []

    def start(**more):
        found = audit_exchange.Repository(authority, **more)
        found.settings = lambda **rules: Audit(host="127.0.0.1", port=found.port, ca=tmp_path / "ca.pem", **rules)
        started.append(found)
        return found

    start.authority = authority
    yield start
    for one in started:
        one.leave()


@pytest.fixture
def trail(tmp_path):
    """Begin the audit trail of this process with these rules; it is ended."""
    def start(rules: Audit = Audit(keep_days=1.0)) -> Settings:  # noqa: B008 - frozen
        settings = Settings(audit=rules, storage=Storage(tmp_path, 0.0), listener=Listener(port=0))
        audit_trail.begin(settings)
        return settings

    yield start
    audit_trail.end()


@pytest.fixture
def kept(tmp_path, audit_exchange):
    """The audit messages that lie on the disk, parsed and checked."""
    def kept():
        frames = [frame for path in AuditSpool(tmp_path).files() for frame in frames_of(path)]
        return [audit_exchange.Said(frame.partition(b" ")[2]) for frame in frames]
    return kept


@pytest.fixture(scope="session")
def scanner() -> ModuleType:
    """The module `mr_series` beside this file, which makes series as several vendors write them; loaded by its path."""
    return _beside("mr_series")


@pytest.fixture(scope="session")
def archive_peer() -> ModuleType:
    """The module `archive_peer` beside this file."""
    return _beside("archive_peer")


@pytest.fixture(scope="session")
def dicomweb_service() -> ModuleType:
    """The module `dicomweb_service` beside this file."""
    return _beside("dicomweb_service")


@pytest.fixture(scope="session")
def result_study() -> ModuleType:
    """The module `result_study` beside this file, which makes a study and its report; loaded by its path."""
    spec = importlib.util.spec_from_file_location("result_study", Path(__file__).with_name("result_study.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["result_study"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["classic", "enhanced", "tilted", "two frames of reference", "Japanese name", "Russian name"])
def study_kind(request) -> str:
    """The name of each kind of study that `result_study.kind` makes."""
    return request.param


@pytest.fixture
def pacs():
    """A real peer on loopback: `received` counts objects, `statuses` are answered first, in turn."""
    servers = []

    def start(classes=(MR_IMAGE, SECONDARY), syntaxes=(ExplicitVRLittleEndian, ImplicitVRLittleEndian), statuses=(), title="PACS", port=0,
              handlers=()):
        received, answers = [], list(statuses)

        def store(event):
            if answers:
                return answers.pop(0)
            received.append((event.dataset.SOPInstanceUID, str(event.context.transfer_syntax), event.encoded_dataset(include_meta=False)))
            return 0x0000

        ae = AE(title)
        ae.require_called_aet = True
        ae.add_supported_context("1.2.840.10008.1.1")
        for sop_class in classes:
            ae.add_supported_context(sop_class, list(syntaxes))
        servers.append(start_peer(ae, port, [(evt.EVT_C_STORE, store), *handlers]))
        peer = Destination("pacs", title, "127.0.0.1", servers[-1].server_address[1])
        return peer, received

    yield start
    for server in servers:
        server.shutdown()


@pytest.fixture
def site(tmp_path, mr):
    """A node with one source image and an answer of two objects; the sender's clock and chance are set by hand."""
    class Site:
        now = 1000.0

        def __init__(self):
            self.journal, self.spool, self.outbox = Journal(tmp_path / JOURNAL, lambda: self.now), Spool(tmp_path), Outbox(tmp_path)
            (self.spool.studies_folder / RESULT_STUDY).mkdir()
            mr().save_as(self.spool.studies_folder / RESULT_STUDY / "1.dcm", enforce_file_format=True)

        def answer(self, *peers, objects=None):
            objects = objects or {"a": mr(number=7), "b": mr(number=8, SOPClassUID=SECONDARY)}
            out = tmp_path / "out"
            out.mkdir()
            for name, ds in objects.items():
                ds.save_as(out / f"{name}.dcm", enforce_file_format=True)
            return self.answered(RESULT_STUDY, out, *peers)

        def answered(self, study, out, *peers):
            """The folder is the answer of a study whose images are there."""
            kept = self.outbox.keep(study, out)
            self.journal.stored(study)
            self.journal.move(study, (RECEIVING,), READY)
            self.journal.start(study)
            self.journal.answer(study, self.spool.version(study), kept.name, kept.files, [peer.name for peer in peers])
            return kept

        def settings(self, peer, **rules):
            return Settings(sender=Rules(**{"timeout_s": 5.0, **rules}), storage=Storage(tmp_path, 0.0), destination=(peer,))

        def sender(self, peer, patience_s=0.0, **rules):
            settings = self.settings(peer, **rules)
            return Sender(settings, peer, self.journal, self.spool, self.outbox, lambda: self.now, lambda: 0.0, patience_s)

        def states(self, destination="pacs"):
            return {row.file: row.state for row in self.journal.results_of(RESULT_STUDY) if row.destination == destination}

        def reason(self, state):
            return self.journal.results_of(RESULT_STUDY, state)[0].reason
    return Site()
