"""From the last instance received to the report in the archive, and what it costs: `python benchmarks/answer_time.py FOLDER …`

Each folder is one study. A real node (`betz serve`) and a small archive run on loopback; the quiet time is taken out. Peak memory is
sampled twice a second: of the node itself, and of the analysis with all its processes. Also the time of `betz --help`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from demo import BETZ, start_archive, start_node, stop

QUIET_S = 3.0
WAIT_S = 1800


class Memory(threading.Thread):
    """The largest resident memory seen, MiB: of the node, and of everything below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.node, self.node_mib, self.analysis_mib, self.over = psutil.Process(pid), 0.0, 0.0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            try:
                self.node_mib = max(self.node_mib, self.node.memory_info().rss / 2**20)
                self.analysis_mib = max(self.analysis_mib, sum(resident(child) for child in self.node.children(recursive=True)))
            except psutil.Error:
                return


def resident(process: psutil.Process) -> float:
    try:
        return process.memory_info().rss / 2**20
    except psutil.Error:
        return 0.0


def measure(study: Path) -> str:
    """One line about one study."""
    with TemporaryDirectory(prefix="betz-benchmark-") as name:
        folder = Path(name)
        (folder / "archive").mkdir()
        archive = start_archive(folder / "archive")
        node, port = start_node(folder, archive.server_address[1])
        memory = Memory(node.pid)
        memory.start()
        try:
            start = time.monotonic()
            subprocess.run(
                [*BETZ, "send", str(study), "--to", f"BETZ@127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL, timeout=600
            )
            sent = time.monotonic()
            while not list((folder / "archive").glob("9011_SR_*.dcm")):
                if node.poll() is not None or time.monotonic() - sent > WAIT_S:
                    raise SystemExit(f"no answer for {study}: {(folder / 'node.log').read_text()[-500:]}")
                time.sleep(0.1)
            took = time.monotonic() - sent - QUIET_S
        finally:
            memory.over.set()
            stop(node)
            archive.shutdown()
        return (
            f"{study.name}: sent in {sent - start:.1f} s; answer after {took:.1f} s; "
            f"peak memory: node {memory.node_mib:.0f} MiB, analysis {memory.analysis_mib:.0f} MiB"
        )


def help_s() -> float:
    """The fastest of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([*BETZ, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    print(f"betz --help: {help_s():.2f} s", flush=True)
    for argument in sys.argv[1:]:
        print(measure(Path(argument)), flush=True)
