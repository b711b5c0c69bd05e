"""How fast objects are received: Betz, DCMTK `storescp +B` and Orthanc in turn on this machine: `python benchmarks/throughput.py`

Debian's `dcmsend` sends MR images of 131 KB over 1 and 8 associations; every figure is the median of three rounds in which the receivers
take turns. What they store is removed at the end alone: ext4 without a journal gives no inode away for a minute or more after its file was
deleted, and looks at every such inode for each file that it makes, which took a quarter of a receiver's time where runs cleaned up. CPU and
memory count a receiver's children. Betz is `betz serve`, with every sync that it does; `betz, no sync` is the same process with `os.fsync`
taken away, which shows what the syncs cost and is no way to run a node. `storescp` syncs nothing. Both get PDUs as large as they can take
and Orthanc a thread for each association. With `--study 20000` also one study of so many instances.

The receivers listen on every interface; so this runs in a network of its own (`unshare --net`). DCMTK needs TCP_NODELAY=1 on both sides,
or it waits for delayed acknowledgements. Receivers and senders share the machine's cores: what counts are the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np
import psutil
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

HERE = Path(__file__).resolve().parent.parent
ALONE = ["unshare", "--map-root-user", "--net"]
PORT, TITLE = 11112, "BETZ"
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
NO_SYNC = "import os; os.fsync = lambda descriptor: None; from node.command import main; main()"
IDLE_S, SAMPLE_S, START_S = 15.0, 0.05, 60.0


@dataclass
class Figures:
    """One receiver's: instances/s and CPU ms per instance by associations, MiB, seconds of the large object, CPU % without
    an association and with eight that do nothing."""

    per_s: dict[int, list[float]]
    cpu_ms: dict[int, list[float]]
    peak_mib: list[float]
    large_s: list[float]
    large_mib: list[float]
    idle_percent: list[float]


class Receiver:
    """A receiver in a process of its own, with its children: what they use."""

    def __init__(self, command: list[object], folder: Path, stored: Callable[[], int]) -> None:
        self.stored = stored
        self._log = open(folder / "receiver.log", "wb")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
        self._all = psutil.Process(self.process.pid)
        self._peak, self._over = 0.0, threading.Event()
        _until(lambda: self._answers(), "the receiver to answer")
        threading.Thread(target=self._sample, daemon=True).start()

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"{self.process.args} ended: {Path(self._log.name).read_text()[-500:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", PORT)) == 0

    def _processes(self) -> list[psutil.Process]:
        return [self._all, *self._all.children(recursive=True)]

    def cpu_s(self) -> float:
        """Of the process, its children that ended and those that are there."""
        total = 0.0
        for number, one in enumerate(self._processes()):
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                total += times.user + times.system + (times.children_user + times.children_system) * (not number)
        return total

    def mib(self) -> float:
        total = 0.0
        for one in self._processes():
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss / 2**20
        return total

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._peak = max(self._peak, self.mib())

    def peak_mib(self) -> float:
        """The most that was seen, and the most that the process itself had, which a look now and then may miss."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return max(self._peak, int(status.partition("VmHWM:")[2].split()[0]) / 1024)

    def stop_sampling(self) -> None:
        self._over.set()

    def stop(self) -> None:
        self.stop_sampling()
        self.process.terminate()
        self.process.wait(60)
        self._log.close()


def betz(folder: Path, synced: bool = True) -> Receiver:
    settings = f'[listener]\nport = {PORT}\n[study]\nquiet_s = 86400\n[storage]\nfolder = "store"\nminimum_free_gib = 0.5\n'
    (folder / "betz.toml").write_text(settings)
    program = ["-m", "node.command"] if synced else ["-c", NO_SYNC]
    command = [sys.executable, *program, "serve", "--config", "betz.toml"]
    return Receiver(command, folder, lambda: _count(folder / "store" / "spool", ".dcm"))


def storescp(folder: Path) -> Receiver:
    (folder / "store").mkdir()
    command = ["storescp", "+B", "--fork", "-pdu", "131072", "-aet", TITLE, "-od", "store", str(PORT)]
    return Receiver(command, folder, lambda: _count(folder / "store"))


def orthanc(folder: Path) -> Receiver:
    settings = {
        "Name": "Benchmark", "StorageDirectory": "store", "IndexDirectory": "store", "Plugins": [], "HttpServerEnabled": False,
        "DicomAet": TITLE, "DicomPort": PORT, "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomThreadsCount": 16,
        "MaximumPduLength": 131072, "OverwriteInstances": False,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    return Receiver(["Orthanc", "orthanc.json"], folder, lambda: _count(folder / "store") - _count(folder / "store", "index"))


RECEIVERS: dict[str, Callable[[Path], Receiver]] = {
    "betz": betz, "betz, no sync": lambda folder: betz(folder, synced=False), "storescp +B, no sync": storescp, "Orthanc": orthanc,
}  # fmt: skip


def _count(folder: Path, part: str = "") -> int:
    return sum(part in path.name for path in folder.rglob("*") if path.is_file())


def _until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_S
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"waited {START_S:g} s for {what}")
        time.sleep(0.02)


def image(study: str, number: int, pixels: bytes, rows: int, columns: int) -> Dataset:
    """An MR image with the header that scanners write, in a hundred elements."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, f"{study}.1", f"{study}.9"
    ds.ImageType, ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = ["ORIGINAL", "PRIMARY"], "BENCH^MARK", "B1", "", "O"
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(ds, keyword, "20260115")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(ds, keyword, "093000")
    ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "MR", "Benchmark", 1, number
    ds.SliceThickness, ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = 1, 2300, 2.98, 9
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = [0, 0, number], [1, 0, 0, 0, 1, 0], [1, 1]
    ds.ReferencedImageSequence = [Dataset(), Dataset()]
    for one in ds.ReferencedImageSequence:
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = MRImageStorage, f"{study}.1.0"
    private = ds.private_block(0x29, "BENCHMARK", create=True)
    for element in range(50):
        private.add_new(element, "LO", f"protocol value {element}")
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = rows, columns, 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = pixels
    return ds


def write_images(folder: Path, study: str, count: int, groups: int) -> list[Path]:
    """`count` images of one study in `groups` folders."""
    pixels = np.random.default_rng(0).integers(0, 4096, 256 * 256, dtype=np.uint16).tobytes()
    folders = [folder / str(number) for number in range(groups)]
    for one in folders:
        one.mkdir(parents=True)
    first, encoded = 10**6, BytesIO()
    image(study, first, pixels, 256, 256).save_as(encoded, enforce_file_format=True)
    for number in range(first, first + count):
        content = encoded.getvalue().replace(f"{study}.1.{first}".encode(), f"{study}.1.{number}".encode())
        (folders[number % groups] / f"{number}.dcm").write_bytes(content)
    return folders


def send(folders: list[Path]) -> float:
    """One `dcmsend` for each folder, at once; the seconds until the last ends."""
    begun = time.monotonic()
    command = ["dcmsend", "+sd", "-nuc", "-aec", TITLE, "127.0.0.1", str(PORT)]
    senders = [subprocess.Popen([*command, one], env=ENVIRONMENT, stdout=subprocess.DEVNULL) for one in folders]
    if any([one.wait(600) for one in senders]):
        raise SystemExit("dcmsend failed")
    return time.monotonic() - begun


@contextlib.contextmanager
def running(name: str, work: Path) -> Iterator[Receiver]:
    """The receiver in a new folder of its own, which stays. What others left to be written is on the disk when it starts."""
    os.sync()
    receiver = RECEIVERS[name](Path(mkdtemp(dir=work)))
    try:
        yield receiver
    finally:
        receiver.stop()


def measure(name: str, work: Path, sets: dict[int, list[Path]], count: int, large: Path, figures: Figures) -> None:
    """One round of one receiver."""
    with running(name, work) as receiver:
        for associations, folders in sets.items():
            before, there = receiver.cpu_s(), receiver.stored()
            took_s = send(folders)
            if receiver.stored() - there != count:
                raise SystemExit(f"{name} has {receiver.stored() - there} of {count} instances")
            figures.per_s[associations].append(count / took_s)
            figures.cpu_ms[associations].append((receiver.cpu_s() - before) * 1000 / count)
        figures.peak_mib.append(receiver.peak_mib())
    with running(name, work) as receiver:
        idle_mib = receiver.mib()
        figures.large_s.append(send([large]))
        figures.large_mib.append(receiver.peak_mib() - idle_mib)


def idle_percent(name: str, work: Path, associations: int = 8) -> tuple[float, float]:
    """What a receiver costs that has nothing to do, in percent of a core: without an association, and with so many."""
    caller = AE("SCANNER")
    caller.add_requested_context(MRImageStorage)
    with running(name, work) as receiver:
        receiver.stop_sampling()
        time.sleep(2)
        without = _percent(receiver)
        opened = [caller.associate("127.0.0.1", PORT, ae_title=TITLE) for _ in range(associations)]
        time.sleep(1)
        among = _percent(receiver)
        for one in opened:
            one.release()
        return without, among


def _percent(receiver: Receiver) -> float:
    before = receiver.cpu_s()
    time.sleep(IDLE_S)
    return 100 * (receiver.cpu_s() - before) / IDLE_S


def whole_study(count: int, work: Path, names: list[str]) -> list[str]:
    """A line for each receiver: one study of so many instances over eight associations."""
    folders, lines = write_images(work / "study", "1.2.826.0.1.20000", count, 8), []
    for name in names:
        with running(name, work) as receiver:
            before, idle_mib = receiver.cpu_s(), receiver.mib()
            took_s = send(folders)
            cpu_ms, stored = (receiver.cpu_s() - before) * 1000 / count, receiver.stored()
            lines.append(f"| {name} | {stored} of {count} | {took_s:.1f} | {count / took_s:.0f} | {cpu_ms:.2f} "
                         f"| {receiver.peak_mib() - idle_mib:.0f} |")
    return ["", "| one study, 8 associations | stored | s | per s | CPU ms | MiB over idle |", "|---|---|---|---|---|---|", *lines]


def table(found: dict[str, Figures]) -> list[str]:
    """Medians, and the ratios of instances/s at eight associations."""
    lines = ["| receiver | 1 association: per s, CPU ms | 8 associations: per s, CPU ms | peak MiB | one 200 MB object: s, MiB over idle "
             "| idle, % of a core: 0, 8 associations |", "|---|---|---|---|---|---|"]
    middle = {name: {kind: statistics.median(getattr(one, kind)[8]) for kind in ("per_s", "cpu_ms")} for name, one in found.items()}
    for name, one in found.items():
        alone = f"{statistics.median(one.per_s[1]):.0f}, {statistics.median(one.cpu_ms[1]):.2f}"
        eight, peak_mib = f"{middle[name]['per_s']:.0f}, {middle[name]['cpu_ms']:.2f}", statistics.median(one.peak_mib)
        lines.append(f"| {name} | {alone} | {eight} | {peak_mib:.0f} "
                     f"| {statistics.median(one.large_s):.2f}, {statistics.median(one.large_mib):.0f} "
                     f"| {', '.join(f'{percent:.1f}' for percent in one.idle_percent)} |")
    for mine in [name for name in found if name.startswith("betz")]:
        ratios = [f"{middle[mine]['per_s'] / middle[other]['per_s']:.2f} of {other}" for other in found if not other.startswith("betz")]
        lines += ["", f"{mine} at 8 associations: {', '.join(ratios)}."] if ratios else []
    return lines


def raise_loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="instances in one run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--study", type=int, default=0, metavar="COUNT", help="also one study of so many instances")
    parser.add_argument("--only", action="append", choices=list(RECEIVERS), help="this receiver; may be repeated")
    chosen = parser.parse_args()
    if not os.environ.get("BETZ_BENCHMARK_ALONE"):
        os.environ["BETZ_BENCHMARK_ALONE"] = "1"
        os.execvp(ALONE[0], [*ALONE, sys.executable, *sys.argv])
    raise_loopback()
    names = chosen.only or list(RECEIVERS)
    with TemporaryDirectory(prefix="betz-benchmark-") as name:
        folder = Path(name)
        sets = {associations: write_images(folder / f"by {associations}", f"1.2.826.0.1.{associations}", chosen.count, associations)
                for associations in (1, 8)}
        (large := folder / "large").mkdir()
        image("1.2.826.0.1.200", 1, bytes(200 * 10**6), 10**4, 10**4).save_as(large / "1.dcm", enforce_file_format=True)
        found = {one: Figures({1: [], 8: []}, {1: [], 8: []}, [], [], [], []) for one in names}
        for _ in range(chosen.rounds):
            for one in names:
                measure(one, folder, sets, chosen.count, large, found[one])
        for one in names:
            found[one].idle_percent.extend(idle_percent(one, folder))
        print("\n".join(table(found)), flush=True)
        if chosen.study:
            print("\n".join(whole_study(chosen.study, folder, names)), flush=True)


if __name__ == "__main__":
    main()
