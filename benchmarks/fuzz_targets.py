"""What `fuzz.py` feeds: the listener and the readers of the node, each with the inputs that it is given and the errors that it may raise.

The seeds are small series as scanners write them (`tests/node/mr_series.py`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import random
import re
import socket
import tempfile
import time
import zlib
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path

import mutations
import numpy as np

from node.admission import rejection_of, request_of
from node.association import echo
from node.commitment import services
from node.errors import SpoolError, StudyError
from node.frames import frames_of
from node.listener import listen
from node.outbox import identity_difference
from node.process import provenance_of
from node.roles import choose, decide
from node.settings import Accept, Destination, Listener, Settings, Storage
from node.spool import Spool
from node.study import check_one_patient, patient_of, read_studies
from node.volumes import image_of

ROOT = Path(__file__).resolve().parent.parent


class Target(ABC):
    """One reader under fuzz: `make` an input, `feed` it. `stated` are the errors that it may raise."""

    stated: tuple[type[Exception], ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "inner" / "data"
        self.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def make(self, chance: random.Random) -> bytes:
        """An input."""

    @abstractmethod
    def feed(self, content: bytes) -> None:
        """Give the input to the reader; one of the `stated` errors refuses it."""

    def check(self) -> str:
        """What is wrong meanwhile, or ""."""
        return ""

    def close(self) -> None:  # noqa: B027
        """The end; most readers hold nothing."""


class Request(Target):
    stated = (ValueError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rules = Listener(accept=(Accept("SCANNER", "192.0.2.0/24"),))

    def make(self, chance: random.Random) -> bytes:
        return _roughened(mutations.request(chance), chance)

    def feed(self, content: bytes) -> None:
        rejection = rejection_of(request_of(content), "192.0.2.7", self.rules)
        assert rejection is None or len(rejection.pdu) == 10


class Object(Target):
    """The first byte says the transfer syntax; then comes the data set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stated, self.spool, self.seeds = (SpoolError,), Spool(self.folder), seeds()

    def make(self, chance: random.Random) -> bytes:
        number = chance.choice((0, 0, 0, 0, 1, 2, 3, 4))
        content = mutations.data_set_changed(chance.choice(self.seeds), chance, implicit=number == 1)
        if number == 3:
            squeeze = zlib.compressobj(wbits=-15)
            content = squeeze.compress(content) + squeeze.flush()
        return bytes((number,)) + _roughened(content, chance)

    def feed(self, content: bytes) -> None:
        syntax = mutations.SYNTAXES[content[0] % 5 if content else 0].decode()
        part = self.spool.begin("1.2.840.10008.5.1.4.1.1.4", _instance_of(content), syntax)
        for place in range(1, len(content), 5000):
            part.write(content[place:place + 5000])
        stored = self.spool.commit(part)
        for path in self.spool.instances(stored.study_instance_uid):
            identity_difference(path, [path])
        self.spool.remove(stored.study_instance_uid)

    def check(self) -> str:
        left = list(self.spool.incoming.iterdir())
        names = [path.name for path in self.spool.studies_folder.iterdir() if not re.fullmatch(r"[0-9.]{1,64}", path.name)]
        return f"{left or names} in the spool" if left or names else ""


class File(Target):
    """The study and the roles; what a study cannot be is a StudyError."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stated, self.seeds, self.count = (StudyError,), seeds(), 0

    def make(self, chance: random.Random) -> bytes:
        syntax = chance.choice((0, 0, 0, 1))
        content = mutations.data_set_changed(chance.choice(self.seeds), chance, implicit=syntax == 1)
        return _roughened(mutations.file_of(content, chance, mutations.SYNTAXES[syntax]), chance)

    def feed(self, content: bytes) -> None:
        path = self.folder / "one.dcm"
        path.write_bytes(content)
        studies, _ = read_studies(self.folder)
        for study in studies:
            decisions = tuple(decide(series) for series in study.series)
            choose(decisions)
            frames_of.cache_clear()
            patient_of(study)
            check_one_patient(study)
            provenance_of(study, Settings(), datetime(2026, 1, 2, 3, 4, 5))


class Volume(Target):
    """A number, and the file that takes the place of the first instance of a whole series."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stated, self.series = (StudyError,), _series()
        for number, files in enumerate(self.series):
            (self.folder / str(number)).mkdir(exist_ok=True)
            for name, content in enumerate(files):
                (self.folder / str(number) / f"{name}.dcm").write_bytes(content)

    def make(self, chance: random.Random) -> bytes:
        number = chance.randrange(len(self.series))
        content = self.series[number][0]
        offset = 144 + int.from_bytes(content[140:144], "little")
        changed = mutations.data_set_changed(mutations.taken_apart(content[offset:]), chance)
        return bytes((number,)) + _roughened(content[:offset] + changed, chance)

    def feed(self, content: bytes) -> None:
        folder = self.folder / str(content[0] % len(self.series) if content else 0)
        (folder / "0.dcm").write_bytes(content[1:])
        for study in read_studies(folder)[0]:
            for role, series in choose(tuple(decide(series) for series in study.series)).items():
                image_of(series, role)


class Connection(Target):
    """A real listener, and a socket per input. Each input is a stream of bytes; the answers are read until the listener is silent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        many = dict.fromkeys(("associations_at_once", "associations_per_address", "connections_at_once", "connections_per_address"), 500)
        rules = Listener(port=0, request_timeout_s=2, pdu_timeout_s=2, idle_timeout_s=5, **many)
        settings = Settings(listener=rules, storage=Storage(self.folder, 0))
        self.spool, self.seeds = Spool(self.folder), [content for content in seeds() if len(str(content)) < 100_000]
        self.listener = listen(settings, self.spool, lambda study: None, services(lambda report, title: False))
        self.slowest_echo_s = 0.0

    def make(self, chance: random.Random) -> bytes:
        draw = chance.random()
        if draw < 0.2:
            return _roughened(mutations.request(chance), chance)
        content = good = mutations.request_for(CONTEXTS)
        for _ in range(chance.choice((1, 1, 2, 4))):
            content += self._message(chance)
        if chance.random() < 0.2:
            content += mutations.pdu(chance.randrange(9), chance.randbytes(4), chance, 0.2)
        return good + _roughened(content[len(good):], chance)

    def _message(self, chance: random.Random) -> bytes:
        field, context = chance.choice(((ECHO, 1), (STORE, 3), (STORE, 3), (STORE, 3), (REPORT, 5), (FIND, 3)))
        sop_class = CONTEXTS[context]
        if chance.random() < 0.02:
            context = chance.randrange(256)
        instance = b"1.2.3.4.1" if chance.random() < 0.9 else chance.choice(mutations.TEXTS)
        with_data = field != ECHO
        sent = mutations.data(chance, mutations.command(chance, field, sop_class, instance, with_data), context, is_command=True)
        if with_data:
            sent += mutations.data(chance, mutations.data_set_changed(chance.choice(self.seeds), chance), context, is_command=False)
        return sent

    def feed(self, content: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.listener.port), timeout=1) as endpoint, contextlib.suppress(OSError):
            endpoint.sendall(content)
            endpoint.shutdown(socket.SHUT_WR)
            endpoint.settimeout(0.02)
            while endpoint.recv(65536):
                pass

    def check(self) -> str:
        began = time.monotonic()
        echo(Destination("self", "BETZ", "127.0.0.1", self.listener.port), "FUZZ", 10)
        self.slowest_echo_s = max(self.slowest_echo_s, time.monotonic() - began)
        names = [path.name for path in self.spool.studies_folder.iterdir() if not re.fullmatch(r"[0-9.]{1,64}", path.name)]
        for study in self.spool.studies():
            self.spool.remove(study)
        return f"{names} in the spool" if names else ""

    def close(self) -> None:
        until = time.monotonic() + 15
        while list(self.spool.incoming.iterdir()) and time.monotonic() < until:
            time.sleep(0.1)
        left = list(self.spool.incoming.iterdir())
        self.listener.stop()
        assert not left, f"{left} in the spool"


TARGETS: dict[str, type[Target]] = {"request": Request, "object": Object, "file": File, "connection": Connection, "volume": Volume}
MR = b"1.2.840.10008.5.1.4.1.1.4"
ECHO, STORE, REPORT, FIND = 0x0030, 0x0001, 0x0100, 0x0020
CONTEXTS = {1: b"1.2.840.10008.1.1", 3: MR, 5: b"1.2.840.10008.1.20.1"}


def _roughened(content: bytes, chance: random.Random) -> bytes:
    return mutations.bytes_changed(content, chance) if chance.random() < 0.2 else content


def _instance_of(content: bytes) -> str:
    """What the command of an honest sender would announce."""
    place = content.find(b"\x08\x00\x18\x00")
    found = re.match(rb"[0-9.]*", content[place + 8:place + 72])[0].decode() if place >= 0 else ""
    return found or "1.2.3"


def _scanner():
    spec = importlib.util.spec_from_file_location("mr_series", ROOT / "tests" / "node" / "mr_series.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _series() -> list[list[bytes]]:
    """Whole series as files: a T1, a diffusion series by Siemens' private elements, one by the standard's, and an enhanced object."""
    mr, made = _scanner(), []
    noise = np.random.default_rng(1)
    t1 = mr.header(ScanningSequence=["GR", "IR"], SequenceVariant=["SK", "SP", "MP"], MRAcquisitionType="3D", RepetitionTime=2300.0,
                   EchoTime=3.0, InversionTime=900.0, FlipAngle=9.0, SeriesDescription="t1_mprage", Manufacturer="SIEMENS")
    stack = mr.stack(t1, 12, 3.75)
    diffusion = mr.header(ScanningSequence="EP", SequenceVariant="SK", MRAcquisitionType="2D", RepetitionTime=8000.0, EchoTime=90.0,
                          FlipAngle=90.0, Manufacturer="SIEMENS", ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"])
    gradients = [(0.0, None), *((1000.0, [float(number) for number in axis]) for axis in np.eye(3))]
    classic = []
    for number, (b_value, vector) in enumerate(gradients):
        for one in mr.stack(mr.twin(diffusion), 4, 3.75):
            one.AcquisitionNumber = number + 1
            mr.private(one, 0x19, "SIEMENS MR HEADER", 0x0C, "IS", str(int(b_value)))
            if vector:
                mr.private(one, 0x19, "SIEMENS MR HEADER", 0x0E, "FD", vector)
            one.DiffusionBValue = b_value
            classic.append(one)
    with tempfile.TemporaryDirectory() as place:
        for number, headers in enumerate((stack, classic), start=1):
            pixels = noise.integers(0, 1000, (len(headers), 64, 64), dtype=np.uint16)
            made.append([path.read_bytes() for path in mr.write(headers, pixels, Path(place) / str(number), number)])
        many = mr.enhanced(stack, noise.integers(0, 1000, (len(stack), 64, 64), dtype=np.uint16))
        many.StudyInstanceUID, many.SeriesInstanceUID, many.SOPInstanceUID = mr.STUDY, f"{mr.STUDY}.3", f"{mr.STUDY}.3.1"
        made.append([mr.save(many, Path(place) / "enhanced.dcm").read_bytes()])
    return made


def seeds() -> list[list]:
    """Data sets taken apart: one instance of each series, with a few pixels only."""
    found = []
    for files in _series():
        content = files[len(files) // 2]
        parts = mutations.taken_apart(content[144 + int.from_bytes(content[140:144], "little"):])
        for part in parts:
            if part[0] in ((0x0028, 0x0010), (0x0028, 0x0011)):
                part[2] = b"\x04\0"
            if part[0] == (0x7FE0, 0x0010):
                part[2] = part[2][:len(part[2]) // 256]
        found.append(parts)
    return found
