"""Sends studies to an archive of another project and fetches them back. A program of its own: `test_archives` runs it.

    python archive_exchange.py Orthanc|dcmqrscp STUDIES BACK

Every folder in STUDIES is sent with the sender's own code, and what a C-GET of its study returns is written to BACK as it came; so is how
many images the archive says it has of each MR series. Orthanc and dcmqrscp listen on every interface of the machine and cannot be told not
to; so this runs in a network of its own (`unshare --net`), which has no interface but loopback and no port that is taken. The archive ends
with this program.
"""

import contextlib
import fcntl
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as StudyGet

from node.association import echo
from node.errors import DeliveryError
from node.query import images_of
from node.settings import Destination
from node.storage import send_folder

PEER = Destination("archive", "ARCHIVE", "127.0.0.1", 4242)
SET_FLAGS, UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP of Linux
START_S = ANSWER_S = 30.0


def raise_loopback() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))


def orthanc(folder: Path, **more: object) -> list[object]:
    settings = {
        "Name": "Archive", "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [], "HttpServerEnabled": False,
        "DicomAet": PEER.ae_title, "DicomPort": PEER.port, "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowGet": True, "DicomAlwaysAllowFind": True, "DicomCheckModalityHost": False, **more,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    return ["Orthanc", folder / "orthanc.json"]


def dcmqrscp(folder: Path) -> list[object]:
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {PEER.port}\nMaxPDUSize = 16384\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\n"
        f"VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n{PEER.ae_title} {folder} RW (500, 1024mb) ANY\nAETable END\n"
    )
    return ["dcmqrscp", "--config", folder / "dcmqrscp.cfg", str(PEER.port)]


@contextlib.contextmanager
def running(command: Sequence[object], work: Path) -> Iterator[subprocess.Popen]:
    """An archive, until the end of the block; what it says goes to archive.log."""
    with open(work / "archive.log", "wb") as log:
        archive = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield archive
    finally:
        archive.terminate()
        archive.wait(timeout=START_S)


def wait_for(archive: subprocess.Popen, peer: Destination = PEER) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            return echo(peer, "BETZ", 5.0)
        except DeliveryError:
            if time.monotonic() > end or archive.poll() is not None:
                raise
            time.sleep(0.1)


def fetch(folder: Path, back: Path) -> None:
    """The study of the folder, by C-GET in the transfer syntax of each file."""
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.rglob("*.dcm"))]
    ae = AE("BETZ")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ANSWER_S
    ae.add_requested_context(StudyGet)
    kinds = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in headers}
    for kind in sorted(kinds):
        ae.add_requested_context(*kind)
    roles = [build_role(sop_class, scp_role=True) for sop_class in {sop_class for sop_class, _ in kinds}]
    back.mkdir(parents=True)

    def keep(event: evt.Event) -> int:
        (back / f"{event.request.AffectedSOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    association = ae.associate(PEER.host, PEER.port, ext_neg=roles, ae_title=PEER.ae_title, evt_handlers=[(evt.EVT_C_STORE, keep)])
    query = pydicom.Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", headers[0].StudyInstanceUID
    statuses = [status.get("Status") for status, _ in association.send_c_get(query, StudyGet)]
    association.release()
    assert statuses[-1] == 0x0000, f"C-GET ended with {statuses[-1:]}"


def main(kind: str, studies: Path, back: Path) -> None:
    raise_loopback()
    store = back / "archive"
    store.mkdir(parents=True)
    command = {"Orthanc": orthanc, "dcmqrscp": dcmqrscp}[kind](store)
    with running(command, back) as archive:
        wait_for(archive)
        for folder in sorted(studies.iterdir()):
            send_folder(folder, PEER, "BETZ", ANSWER_S, print)
            fetch(folder, back / "fetched" / folder.name)
            study = pydicom.dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID
            (back / f"{folder.name}.json").write_text(json.dumps(images_of(PEER, "BETZ", study, ANSWER_S)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
