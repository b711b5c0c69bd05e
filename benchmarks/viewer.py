"""What a radiologist sees: every object of an answer opened in OHIF, with pictures: `python benchmarks/viewer.py FOLDER … --out PICTURES`

    betz process STUDY --out ANSWER
    python benchmarks/viewer.py STUDY ANSWER --out pictures --cache ~/.cache/betz-viewer

The folders hold the files of one study: its images and its answer. They are put into an Orthanc (Debian: orthanc, orthanc-dicomweb) that
OHIF reads over DICOMweb, in Chromium (Debian: chromium, nodejs). OHIF and the driver of the browser come from npm, once, into the cache.
Archive, viewer and browser run in a network of their own (`unshare --net`), so nobody else can reach them and they reach nobody.

For each series of the answer it prints the pictures and what went wrong. Status 1 where the viewer had a page error that is not known,
or offers to track an outline, because it would then put numbers of its own in place of ours. The pictures are for eyes: look at them.
One fault in them is of OHIF: where pixels are not square it exchanges the two spacings, and draws the outlines of the report stretched.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import dcmread
from pydicom.misc import is_dicom

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.provenance import MANUFACTURER

OHIF, PLAYWRIGHT = "3.13.2", "1.65.1"
APART = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]
ORTHANC = "http://127.0.0.1:8042"
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
SET_FLAGS, UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP of Linux
KNOWN = {  # what OHIF 3.13 cannot do, whatever the objects are; both are on the pictures and in the PDF
    "RangeError: Invalid typed array length": "it shows no map on a series of classic images that holds more than one volume",
    "could not be added to the viewport": "it shows no tracts",
}
START_S, STUDY_S = 60.0, 1800.0


def viewer_in(cache: Path) -> Path:
    """The built viewer, fetched where it is not there; its package carries it, so nothing of it is installed or run."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "node_modules" / "playwright-core").is_dir():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", cache, f"playwright-core@{PLAYWRIGHT}"], check=True)
    folder = cache / f"ohif-{OHIF}"
    if not (folder / "package" / "dist" / "index.html").exists():
        subprocess.run(["npm", "pack", f"@ohif/app@{OHIF}", "--silent"], check=True, cwd=cache)
        folder.mkdir(exist_ok=True)
        subprocess.run(["tar", "xzf", f"ohif-app-{OHIF}.tgz", "-C", folder], check=True, cwd=cache)
    return folder / "package" / "dist"


def start_orthanc(folder: Path) -> subprocess.Popen:
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [PLUGIN], "DicomServerEnabled": False, "HttpPort": 8042,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DefaultEncoding": "Utf8",
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with open(folder / "orthanc.log", "wb") as log:
        archive = subprocess.Popen(["Orthanc", folder / "orthanc.json"], stdout=log, stderr=log)
    end = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(f"{ORTHANC}/system", timeout=5).close()
            return archive
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end or archive.poll() is not None:
                sys.exit(f"Orthanc did not start: {(folder / 'orthanc.log').read_text()[-500:]}")
            time.sleep(0.2)


def put(folders: list[Path]) -> tuple[set[str], list[str]]:
    """Every DICOM file into the archive; the UIDs of the studies, and the descriptions of the series that are ours.

    OHIF lists no series of a patient whose ID has a character such as @, whatever the objects are; such a letter is left out here.
    """
    studies, ours = set(), {}
    for path in sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and is_dicom(path)):
        header = dcmread(path, specific_tags=["StudyInstanceUID", "PatientID", "SeriesNumber", "SeriesDescription", "Manufacturer"])
        plain = re.sub(r"[^\w.-]", "", str(header.PatientID))
        content = path.read_bytes() if plain == header.PatientID else renamed(path, plain)
        urllib.request.urlopen(urllib.request.Request(f"{ORTHANC}/instances", content), timeout=60).close()
        studies.add(str(header.StudyInstanceUID))
        if header.get("Manufacturer") == MANUFACTURER:
            ours[int(header.SeriesNumber)] = str(header.SeriesDescription)
    return studies, [ours[number] for number in sorted(ours)]


def renamed(path: Path, patient_id: str) -> bytes:
    ds, buffer = dcmread(path), BytesIO()
    ds.PatientID = patient_id
    ds.save_as(buffer)
    return buffer.getvalue()


def show(folders: list[Path], cache: Path, out: Path) -> bool:
    """Open every object; True where the viewer had no error and offered nothing."""
    with TemporaryDirectory() as store:
        archive = start_orthanc(Path(store))
        try:
            studies, ours = put(folders)
            if len(studies) != 1:
                sys.exit(f"The folders hold {len(studies)} studies; one is opened at a time.")
            command = ["node", Path(__file__).with_suffix(".mjs"), cache, viewer_in(cache), *studies, out, *ours]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=STUDY_S, check=True)
        finally:
            archive.terminate()
            archive.wait(timeout=START_S)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    (out / "viewer.json").write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")
    return all([said(one) for one in found])


def said(one: dict) -> bool:
    """Print what became of one series; True where all is well."""
    bad = [line for line in one["wrong"] if line.startswith(("page error", "not opened", "http"))]
    bad += [prompt for prompt in one["prompts"] if "track" in prompt.lower()]
    lines = dict.fromkeys([*bad, *one["wrong"], *one["prompts"], *one["toasts"]])
    known = [reason for sign, reason in KNOWN.items() if any(sign in line for line in lines)]
    print(f"{'known' if known else 'WRONG' if bad else 'good '}  {one['series']}: {', '.join([*known, *one['pictures']])}")
    for line in lines:
        print(f"       {line}")
    return bool(known) or not bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "betz-viewer")
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)  # this is the child, in a network of its own
    given = parser.parse_args()
    if not given.apart:
        viewer_in(given.cache)
        sys.exit(subprocess.run([*APART, sys.executable, *sys.argv, "--apart"]).returncode)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP))
    sys.exit(0 if show(given.folder, given.cache, given.out) else 1)


if __name__ == "__main__":
    main()
