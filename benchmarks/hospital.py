"""What the trials of reliability share: a scanner that remembers what was answered, an archive that forgets nothing, and a node.

Nothing of the node is replaced: it is `betz serve` in a process of its own, with its own analysis. The studies are so small that nothing in
them can be measured; a whole analysis of one ("not analysed", with every object of that answer) takes 3 s of a core. The archive is a
process of its own, too, so that it can go away:

    python benchmarks/hospital.py archive FOLDER PORT
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

VERIFICATION = "1.2.840.10008.1.1"
STUDIES = "1.2.826.0.1.3680043.8.498.77"
START_S, END_S = 60.0, 30.0


# --- objects


def image(study: str, number: int, size: int = 16, seed: int = 0) -> Dataset:
    """A small MR image; the same arguments give the same object, another seed other content under the same UID."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, f"{study}.1.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Trial^Reliability", "TRIAL1", "19600101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "20260101", "120000", "1", "A1", ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 1, number
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = random.Random(f"{study} {number} {seed}").randbytes(size * size * 2)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def encoded(ds: Dataset) -> bytes:
    """The bytes of a data set as they go over the wire."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, ds)
    return buffer.getvalue()


def data_set_of(path: Path) -> bytes:
    """What follows the file meta information."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little"):]


def free_port() -> int:
    with socket.socket() as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        return endpoint.getsockname()[1]


# --- who sends


@dataclass
class Ledger:
    """What was answered with 0000: (study, instance, digest of the data set)."""

    answered: set[tuple[str, str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, ds: Dataset) -> None:
        with self.lock:
            self.answered.add(key_of(ds))

    def holds(self, ds: Dataset) -> bool:
        return key_of(ds) in self.answered


def key_of(ds: Dataset) -> tuple[str, str, str]:
    return str(ds.StudyInstanceUID), str(ds.SOPInstanceUID), hashlib.sha256(encoded(ds)).hexdigest()


def send(port: int, images: Sequence[Dataset], ledger: Ledger, pause_s: float = 0.0, title: str = "SCANNER") -> bool:
    """C-STORE over one association; True where each was answered with 0000. A node that dies in between is no error here."""
    ae = AE(title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="BETZ")
    whole = association.is_established
    for ds in images if whole else ():
        try:
            status = association.send_c_store(ds).get("Status")
        except (RuntimeError, ValueError):
            status = None
        if status == 0x0000:
            ledger.note(ds)
        whole = whole and status == 0x0000
        time.sleep(pause_s)
        if not association.is_established:
            return False
    if association.is_established:
        association.release()
    return whole


# --- who gets the results


def archive(folder: Path, port: int) -> None:
    """Keep every object that comes, each time that it comes, until SIGTERM: RECEIPT_DIGEST.dcm."""
    from pynetdicom import _config

    _config.LOG_HANDLER_LEVEL = "none"
    folder.mkdir(parents=True, exist_ok=True)

    def store(event: evt.Event) -> int:
        data = event.request.DataSet.getvalue()
        content = event.encoded_dataset()
        name = f"{time.time_ns()}_{hashlib.sha256(data).hexdigest()[:16]}"
        partial = folder / f"{name}.part"
        partial.write_bytes(content)
        partial.rename(folder / f"{name}.dcm")
        return 0x0000

    ae = AE("PACS")
    ae.supported_contexts = [*AllStoragePresentationContexts, build_context(VERIFICATION)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.shutdown()


class Process:
    """A child of the trial; `kill` is SIGKILL, `end` is SIGTERM."""

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        self.errors = errors
        with open(errors, "ab") as file:
            self.start = file.tell()
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file, env=environment)
        self.pid = self.process.pid

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Archive(Process):
    """The archive as a process. Called again with the same folder and port it is the one that came back."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__([sys.executable, __file__, "archive", str(folder / "archive"), str(port)], folder / "archive.txt")
        wait_for(lambda: answers(port) or not self.is_alive(), START_S, "the archive answers")


class Node(Process):
    """`betz serve`, or a script that runs it. `events` is what it logged since it started."""

    def __init__(self, folder: Path, config: Path, script: Sequence[str] = ("-m", "node.command", "serve")) -> None:
        super().__init__([sys.executable, *script, "--config", str(config)], folder / "node.txt")

    def events(self, name: str | None = None) -> list[dict]:
        with open(self.errors, "rb") as file:
            file.seek(self.start)
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.startswith("{") and line.endswith("}")]
        return [one for one in map(json.loads, lines) if name in (None, one["event"])]

    def wait_until_started(self) -> bool:
        """False where it died before."""
        wait_for(lambda: self.events("node_started") or not self.is_alive(), START_S, "the node starts")
        return bool(self.events("node_started"))


def settings_file(folder: Path, node_port: int, archive_port: int, **listener: object) -> Path:
    """A node of AE title BETZ that waits for nothing longer than it must."""
    more = "".join(f"{key} = {value}\n" for key, value in listener.items())
    path = folder / "betz.toml"
    path.write_text(f"""[listener]
port = {node_port}
{more}[study]
quiet_s = 0.3
[worker]
studies_at_once = 2
[sender]
retry_first_s = 0.2
retry_maximum_s = 2
timeout_s = 10
[storage]
folder = "data"
minimum_free_gib = 0
[[destination]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {archive_port}
""")
    return path


def answers(port: int) -> bool:
    with socket.socket() as endpoint:
        endpoint.settimeout(1)
        return endpoint.connect_ex(("127.0.0.1", port)) == 0


def wait_for(true: Callable[[], object], within_s: float, what: str) -> None:
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1] != "archive":
        sys.exit(f"Unknown: {sys.argv[1]}")
    archive(Path(sys.argv[2]), int(sys.argv[3]))
