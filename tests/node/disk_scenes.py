"""A node on a disk that gets full or read-only and is put right again: `python disk_scenes.py SCENE FOLDER`, where FOLDER is a small file
system. `test_disk` runs each scene in a mount namespace of its own, in which it may mount without any privilege."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from conftest import make_mr
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt

from node.association import echo
from node.check import checks
from node.disk import trouble
from node.errors import BetzError, JournalError
from node.journal import Journal
from node.records import DELIVERED, READY
from node.service import JOURNAL, serve
from node.settings import Destination, Listener, Settings, Storage, StudyRules
from node.status import retry

STUDY, EXPLICIT, OUT_OF_RESOURCES, LIMIT_S = "1.2.3.4", "1.2.840.10008.1.2.1", 0xA700, 180.0


class Site:
    """A node on the folder, its PACS, and a scanner that sends to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.received, self.stop, started = folder, [], threading.Event(), threading.Event()
        ae = AE("PACS")
        ae.supported_contexts = AllStoragePresentationContexts
        self.pacs = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._receive)])
        peer = Destination("pacs", "PACS", "127.0.0.1", self.pacs.server_address[1])
        storage = Storage(folder / "data", 0.0)
        self.settings = Settings(listener=Listener(port=0), study=StudyRules(0.5), storage=storage, destination=(peer,))
        self.ports: list[int] = []
        node = (self.settings, self.stop, lambda port: (self.ports.append(port), started.set()))
        self.thread = threading.Thread(target=serve, args=node, daemon=True)
        self.thread.start()
        assert started.wait(60)

    def _receive(self, event: evt.Event) -> int:
        self.received.append(event.dataset)
        return 0x0000

    def send(self, *numbers: int) -> list[int]:
        """The status of each image, on one association."""
        ae = AE("SCANNER")
        ae.add_requested_context(make_mr().SOPClassUID, EXPLICIT)
        association = ae.associate("127.0.0.1", self.ports[0], ae_title="BETZ")
        statuses = [association.send_c_store(make_mr(number=number, size=256)).Status for number in numbers]
        association.release()
        return statuses

    def refuses_and_answers_echo(self) -> None:
        assert self.send(8, 9) == [OUT_OF_RESOURCES] * 2
        echo(Destination("self", "BETZ", "127.0.0.1", self.ports[0]), "SCANNER", 10.0)
        assert trouble(self.settings.storage.folder) and "FAIL" in self.checked()

    def checked(self) -> str:
        return " ".join("ok" if right else "FAIL" for right, _ in checks(self.settings))

    def goes_on(self, *numbers: int) -> None:
        """Everything that was acknowledged is there, whole, and its answer gets to the PACS; then the node ends."""
        journal = Journal(self.settings.storage.folder / JOURNAL)
        until(lambda: (row := journal.study(STUDY)) and row.state == DELIVERED and row.version == self.version(), "the delivery")
        stored = sorted((self.settings.storage.folder / "spool" / STUDY).iterdir())
        assert [path.stem for path in stored] == sorted(make_mr(number=number).SOPInstanceUID for number in numbers)
        assert all(len(dcmread(path).PixelData) == 2 * 256**2 for path in stored)
        assert self.received and not list((self.settings.storage.folder / "incoming").iterdir())
        self.stop.set()
        self.thread.join(LIMIT_S)
        self.pacs.shutdown()

    def version(self) -> str:
        from node.spool import Spool

        return Spool(self.settings.storage.folder).version(STUDY)


def until(true, what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {LIMIT_S:g} s"
        time.sleep(0.05)


def fill(folder: Path, but_bytes: int = 0) -> Path:
    """Take every byte that is left, or all but so many."""
    with contextlib.suppress(OSError), open(folder / "ballast", "wb", buffering=0) as file:
        while shutil.disk_usage(folder).free > but_bytes or not but_bytes:
            file.write(bytes(4096))
    return folder / "ballast"


def full(folder: Path) -> None:
    """The disk fills while a study is coming in."""
    site = Site(folder)
    assert site.send(1, 2) == [0, 0]
    ballast = fill(folder)
    site.refuses_and_answers_echo()
    site.refuses_and_answers_echo()
    ballast.unlink()
    assert site.send(3) == [0]
    site.goes_on(1, 2, 3)


def read_only(folder: Path) -> None:
    """A read-only view is laid over the storage folder, as of a file system that turned read-only: what is open stays as it was."""
    site = Site(folder)
    assert site.send(1, 2) == [0, 0]
    data = str(folder / "data")
    subprocess.run(["mount", "--bind", data, data], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", data], check=True)
    site.refuses_and_answers_echo()
    meanwhile = Journal(site.settings.storage.folder / JOURNAL)
    with contextlib.suppress(JournalError):
        meanwhile.move("of no study", (READY,), READY)
        raise AssertionError("what is read-only was written")
    subprocess.run(["umount", "--lazy", data], check=True)
    assert not meanwhile.move("of no study", (READY,), READY), "what was opened meanwhile writes now"
    assert site.send(3) == [0]
    site.goes_on(1, 2, 3)


def analysis(folder: Path) -> None:
    """There is room to receive and to begin, but not for the answer; the analysis is no failure of the study."""
    ballast = fill(folder, 2**21)
    site = Site(folder)
    assert site.send(1) == [0]
    journal = Journal(site.settings.storage.folder / JOURNAL)
    until(lambda: (row := journal.study(STUDY)) and row.state == READY and row.attempts, "the first attempt")
    assert journal.study(STUDY).reason == "there was no room on the disk" and journal.results_of(STUDY) == []
    ballast.unlink()
    retry(site.settings, STUDY)
    site.goes_on(1)


def start(folder: Path) -> None:
    """A node that is started on a full disk, and on one that is read-only, says so in a sentence."""
    settings = Settings(storage=Storage(folder / "data", 0.0))
    fill(folder)
    said = []
    for _ in range(2):
        try:
            serve(settings, threading.Event())
        except BetzError as error:
            said.append(str(error))
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    assert "No space left" in said[0] or "disk" in said[0], said
    assert "Read-only file system" in said[1], said


if __name__ == "__main__":
    {"full": full, "read_only": read_only, "analysis": analysis, "start": start}[sys.argv[1]](Path(sys.argv[2]))
    print("done")
