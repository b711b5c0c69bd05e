"""Has a node look for earlier examinations in an archive of another project. A program of its own: `test_archives` runs it.

    python priors_exchange.py Orthanc|dcmqrscp get|move|web OBJECTS NEW WORK

OBJECTS is sent to the archive, then twice looked for what is earlier than the study in NEW, and once more with another birth date of the
patient. What was found and said is printed as JSON; copies lie under WORK. As in `archive_exchange`, this runs in a network of its own.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pydicom
from archive_exchange import ANSWER_S, PEER, dcmqrscp, orthanc, raise_loopback, running, wait_for

from node.check import checks
from node.copies import Copies
from node.errors import BetzError
from node.listener import listen
from node.priors import Search
from node.settings import Listener, Priors, Sender, Settings, Storage
from node.spool import Spool
from node.storage import send_folder

NODE, WEB = 11112, 8042
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def command_of(kind: str, way: str, folder: Path) -> list[object]:
    if kind == "Orthanc":
        web = {"Plugins": [PLUGIN], "HttpServerEnabled": True, "HttpPort": WEB, "AuthenticationEnabled": False}
        more = {"DicomModalities": {"betz": ["BETZ", "127.0.0.1", NODE]}, "DicomAlwaysAllowMove": True}
        return orthanc(folder, **more, **(web if way == "web" else {}))
    command = dcmqrscp(folder)
    file = folder / "dcmqrscp.cfg"
    file.write_text(file.read_text().replace("HostTable BEGIN\n", f"HostTable BEGIN\nbetz = (BETZ, 127.0.0.1, {NODE})\n"))
    return command


def searched(settings: Settings, study: Path) -> dict:
    found = Search(settings, study).run()
    return {"studies": [Path(one).name for one in found.folders], "said": found.said, "trouble": found.trouble, "fetched": found.fetched,
            "asked": [(one.query.subject, one.query.syntax, one.failure) for one in found.asked]}


def main(kind: str, way: str, objects: Path, new: Path, work: Path) -> None:
    raise_loopback()
    store, storage = work / "archive", work / "storage"
    store.mkdir(parents=True)
    peer = replace(PEER, url=f"http://127.0.0.1:{WEB}/dicom-web") if way == "web" else replace(PEER, retrieve=way)
    settings = Settings(Listener(port=NODE), priors=Priors("archive", analyse_unread=True), sender=Sender(timeout_s=ANSWER_S),
                        storage=Storage(storage, 0.0), destination=(peer,))  # fmt: skip
    study, heard = storage / "spool" / new.name, []
    listener = listen(settings, Spool(storage), heard.append, copies=Copies(storage))
    shutil.copytree(new, study)
    try:
        with running(command_of(kind, way, store), work) as archive:
            wait_for(archive)
            try:
                send_folder(objects, PEER, "BETZ", ANSWER_S, print)
            except BetzError as error:  # an old archive does not know every class of an answer; the reports arrived or the search fails
                print(error, file=sys.stderr)
            said = {"first": searched(settings, study), "second": searched(settings, study), "heard": heard}
            said["check"] = [sentence for right, sentence in checks(settings) if "destination" in sentence and right]
            shutil.rmtree(storage / "priors" / "spool")
            for path in study.iterdir():
                ds = pydicom.dcmread(path)
                ds.PatientBirthDate = "19990101"
                ds.save_as(path)
            said["stranger"] = searched(settings, study)
            print(json.dumps(said))
    finally:
        listener.stop()


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(Path, sys.argv[3:6]))
