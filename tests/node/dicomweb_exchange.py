"""Has Orthanc with its DICOMweb plugin take results by STOW-RS and prove them by QIDO-RS. A program of its own: `test_archives` runs it.

    python dicomweb_exchange.py PLUGIN ANSWER WORK

As in `commitment_exchange`, one object is never sent: QIDO-RS has to say so, and the archive gets it. Then the study is sent once more, and
a file that is no DICOM. What became of each is printed as JSON, and what Orthanc keeps is written to WORK/back.
"""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from archive_exchange import START_S, orthanc, raise_loopback, running
from commitment_exchange import Node

from node.dicomweb import Web
from node.errors import DeliveryError
from node.records import STORED
from node.settings import Destination

PORT = 8042
PEER = Destination("archive", url=f"http://127.0.0.1:{PORT}/dicom-web", query=True)


def wait_for(archive: subprocess.Popen) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            return Web(PEER, 5.0).reach()
        except DeliveryError:
            if time.monotonic() > end or archive.poll() is not None:
                raise
            time.sleep(0.1)


def give_back(folder: Path) -> None:
    """Every object that Orthanc has, as the file that it keeps."""
    folder.mkdir()
    root = f"http://127.0.0.1:{PORT}/instances"
    for name in json.loads(urllib.request.urlopen(root, timeout=START_S).read()):
        (folder / f"{name}.dcm").write_bytes(urllib.request.urlopen(f"{root}/{name}/file", timeout=START_S).read())


def main(plugin: str, answer: Path, work: Path) -> None:
    raise_loopback()
    store = work / "archive"
    store.mkdir(parents=True)
    web = {"Plugins": [plugin], "HttpServerEnabled": True, "HttpPort": PORT, "RemoteAccessAllowed": False, "AuthenticationEnabled": False}
    with running(orthanc(store, **web), work) as archive, Node(answer, work, PEER) as node:
        wait_for(archive)
        never_sent = node.journal.due(PEER.name)[-1]
        node.journal.sent(never_sent, STORED, "taken for stored")
        first = node.until_proven()
        node.journal.resend(node.study)
        second = node.until_proven()
        (work / "no.dcm").write_bytes(b"no DICOM")
        refused = next(sent for _, sent in Web(PEER, 5.0).deliver([work / "no.dcm"]))
        give_back(work / "back")
        print(json.dumps({"never_sent": never_sent.file, "first": first, "second": second, "refused": [
            type(refused.error).__name__, str(refused.error)], "state": node.journal.study(node.study).state}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
