"""Thirty peers at once for half an hour, most of them well behaved, and an archive that goes away: what is lost, and what grows.

    python benchmarks/soak.py [--minutes 30] [--associations 30] [--seed 1] [--out FILE] [--keep]

The node is `betz serve` in a process of its own. Each peer holds one association after another open: half of them store whole runs of
instances; some take their time between two instances, some abort in the middle, some store again what is there (the same study from several
sides), some send what nobody should (`mutations.py`). A new study begins every twelve seconds. The archive is killed and comes back, or
stops in the middle of what it does. A C-ECHO over an association of its own is timed twice a second; memory, file descriptors and threads
of the node are read every five seconds. At the end everything may come to rest, and it is judged as in `kill.py`; beyond that the log must
name no failure of the node, no C-ECHO may have taken more than a second, and what the node holds may not have grown since the first third
of the time. Exit status 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import mutations
import psutil
from hospital import STUDIES, Archive, Ledger, Node, encoded, free_port, image, settings_file
from judge import faults, received, wait_until_settled

ROOT = Path(__file__).resolve().parent.parent
ROLES = ("plain", "slow", "plain", "abort", "plain", "again", "plain", "malformed", "plain", "plain")
STUDY_S, SAMPLE_S, ECHO_S, SETTLE_S = 12.0, 5.0, 0.5, 600.0
GROWTH_AT_MOST_MIB, DESCRIPTORS_MORE_AT_MOST, SAMPLES_AT_LEAST = 32.0, 16, 12
FAILURES = ("worker_failed", "sender_failed", "connection_failed", "journal_failed", "connections_wait", "result_parked", "thread_failed",
            "unraisable")
ABORT = b"\x07\0\0\0\0\4\0\0\0\0"


def _raw_peer():
    spec = importlib.util.spec_from_file_location("raw_peer", ROOT / "tests" / "node" / "raw_peer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


raw_peer = _raw_peer()


class Soak:
    """One run. Each peer is a thread; `over` ends them."""

    def __init__(self, folder: Path, seed: int, associations: int, echo_within_s: float) -> None:
        self.folder, self.seed, self.associations, self.echo_within_s = folder, seed, associations, echo_within_s
        self.port, self.archive_port = free_port(), free_port()
        # the peers have one address, and an association that is aborted takes a moment to end
        self.config = settings_file(folder, self.port, self.archive_port, associations_per_address=2 * associations)
        self.ledger, self.over = Ledger(), threading.Event()
        self.lock, self.numbers, self.began = threading.Lock(), Counter(), time.monotonic()
        self.stored: dict[str, list[tuple[str, bytes]]] = {}
        self.done: Counter[str] = Counter()
        self.echoes_s: list[float] = []
        self.samples: list[tuple[float, float, int, int]] = []
        self.unforeseen: list[str] = []

    # --- peers

    def peer(self, number: int) -> None:
        """Association after association, in one role."""
        role, chance = ROLES[number % len(ROLES)], random.Random(f"{self.seed} {number}")
        while not self.over.is_set():
            try:
                getattr(self, role)(chance)
                self.done[f"associations, {role}"] += 1
            except OSError:
                self.done[f"associations lost, {role}"] += 1
            except Exception as error:
                self.unforeseen.append(f"{role}: {type(error).__name__}: {error}")
            self.over.wait(chance.uniform(0.05, 0.5))

    def _associated(self):
        peer = raw_peer.RawPeer(self.port, sent=raw_peer.request())
        answer = peer.answer()
        if not answer or answer[0] != 2:
            raise OSError("not accepted")
        return contextlib.closing(peer.socket), peer

    def _store(self, peer, study: str, instance: str, content: bytes) -> None:
        status = peer.send(raw_peer.store(content, instance)).status()
        self.done[f"status {status:04X}"] += 1
        if status == 0x0000:
            with self.ledger.lock:
                self.ledger.answered.add((study, instance, hashlib.sha256(content).hexdigest()))
            with self.lock:
                self.stored.setdefault(study, []).append((instance, content))
                del self.stored[study][:-50]

    def _new(self, chance: random.Random) -> tuple[str, str, bytes]:
        study = f"{STUDIES}.{int((time.monotonic() - self.began) / STUDY_S) + 1}"
        with self.lock:
            self.numbers[study] += 1
            number = self.numbers[study]
        ds = image(study, number, chance.choice((16, 16, 16, 64, 128, 256)))
        return study, str(ds.SOPInstanceUID), encoded(ds)

    def plain(self, chance: random.Random, pause_s: float = 0.05, count: int = 0, release: bool = True) -> None:
        closing, peer = self._associated()
        with closing:
            for _ in range(count or chance.randint(5, 20)):
                self._store(peer, *self._new(chance))
                if self.over.wait(pause_s * chance.uniform(0.5, 2)):
                    break
            if release:
                peer.send(raw_peer.RELEASE).answer()

    def slow(self, chance: random.Random) -> None:
        self.plain(chance, pause_s=1.0, count=6)

    def abort(self, chance: random.Random) -> None:
        """A-ABORT, or no word at all, between two instances or in the middle of one."""
        closing, peer = self._associated()
        with closing:
            for _ in range(chance.randint(0, 4)):
                self._store(peer, *self._new(chance))
            _, instance, content = self._new(chance)
            whole = raw_peer.store(content, instance)
            peer.send(whole[:chance.randrange(len(whole))] if chance.random() < 0.7 else b"")
            self.over.wait(chance.uniform(0, 0.3))
            if chance.random() < 0.5:
                peer.send(ABORT)

    def again(self, chance: random.Random) -> None:
        """The instances of one of the last studies once more, as another archive would route them."""
        with self.lock:
            recent = list(self.stored.items())[-3:]
            chosen = list(chance.choice(recent)[1]) if recent else []
            study = next((one for one, kept in recent if kept[:1] == chosen[:1]), "")
        closing, peer = self._associated()
        with closing:
            for instance, content in chance.sample(chosen, min(10, len(chosen))):
                self._store(peer, study, instance, content)
                self.over.wait(0.05)
            peer.send(raw_peer.RELEASE).answer()

    def malformed(self, chance: random.Random) -> None:
        """Changed requests, PDUs, commands and data sets; the data sets stay outside every study."""
        if chance.random() < 0.3:
            with contextlib.closing(raw_peer.RawPeer(self.port, sent=mutations.request(chance)).socket) as endpoint:
                self._drained(endpoint, chance)
            return
        closing, peer = self._associated()
        with closing as endpoint:
            command = mutations.command(chance, 1, raw_peer.MR_IMAGE.encode(), b"1.2.3", with_data=True)
            peer.send(mutations.bytes_changed(mutations.data(chance, command, 3, is_command=True), chance))
            peer.send(mutations.data(chance, chance.randbytes(chance.choice((100, 5000))), 3, is_command=False))
            self._drained(endpoint, chance)

    def _drained(self, endpoint, chance: random.Random) -> None:
        endpoint.settimeout(chance.uniform(0.05, 2))
        with contextlib.suppress(OSError):
            while endpoint.recv(65536):
                pass

    # --- what goes on around them

    def echo(self) -> None:
        while not self.over.wait(ECHO_S):
            began = time.monotonic()
            try:
                closing, peer = self._associated()
                with closing:
                    if peer.send(raw_peer.ECHO).status() == 0:
                        self.echoes_s.append(time.monotonic() - began)
                    peer.send(raw_peer.RELEASE).answer()
            except (OSError, ValueError) as error:
                self.unforeseen.append(f"a C-ECHO was not answered: {error}")

    def watch(self, pid: int) -> None:
        process = psutil.Process(pid)
        while True:
            with process.oneshot():
                memory_mib, threads = process.memory_info().rss / 2**20, process.num_threads()
            self.samples.append((time.monotonic() - self.began, memory_mib, process.num_fds(), threads))
            if self.over.wait(SAMPLE_S):
                return

    def go(self, minutes: float) -> list[str]:
        """Run, come to rest, and judge."""
        archive, node = Archive(self.folder, self.archive_port), Node(self.folder, self.config)
        try:
            assert node.wait_until_started(), node.errors.read_text()
            self.began = time.monotonic()
            peers = [threading.Thread(target=self.peer, args=(number,)) for number in range(self.associations)]
            others = [threading.Thread(target=self.echo), threading.Thread(target=self.watch, args=(node.pid,))]
            for thread in (*peers, *others):
                thread.start()
            archive = self._archive_comes_and_goes(archive, minutes * 60)
            self.over.set()
            for thread in (*peers, *others):
                thread.join()
            wait_until_settled(self.folder / "data", SETTLE_S)
            self.samples.append((time.monotonic() - self.began, psutil.Process(node.pid).memory_info().rss / 2**20,
                                 psutil.Process(node.pid).num_fds(), psutil.Process(node.pid).num_threads()))
            status = node.end()
        finally:
            self.over.set()
            for process in (archive, node):
                if process.is_alive():
                    process.kill()
        events = Counter(event["event"] for event in node.events())
        self.done.update({f"log: {name}": count for name, count in events.items()})
        wrong = [f"the node ended with status {status}"] if status else []
        wrong += [f"the log says {name} {events[name]} times" for name in FAILURES if events[name]]
        wrong += [event["reason"] for event in node.events("association_aborted") if "the node failed" in event["reason"]]
        return [*wrong, *sorted(set(self.unforeseen)), *faults(self.folder, self.ledger), *self._grown()]

    def _archive_comes_and_goes(self, archive: Archive, seconds: float) -> Archive:
        """Up for a while, then away (killed) or standing still (stopped), in turn."""
        turn, cycle_s = 0, min(75.0, seconds / 3)
        while (left_s := seconds - (time.monotonic() - self.began)) > cycle_s:
            time.sleep(cycle_s * 0.6)
            if turn % 2 == 0:
                archive.kill()
                time.sleep(cycle_s * 0.3)
                archive = Archive(self.folder, self.archive_port)
                self.done["archive away"] += 1
            else:
                archive.process.send_signal(signal.SIGSTOP)
                time.sleep(cycle_s * 0.3)
                archive.process.send_signal(signal.SIGCONT)
                self.done["archive stopped"] += 1
            turn += 1
        time.sleep(max(0.0, left_s))
        return archive

    def _grown(self) -> list[str]:
        late = [one for one in self.echoes_s if one > self.echo_within_s]
        wrong = [f"{len(late)} C-ECHOs took more than {self.echo_within_s:g} s, the longest {max(late):.2f} s"] if late else []
        if len(self.samples) < SAMPLES_AT_LEAST:
            return wrong  # too short to say
        part = len(self.samples) // 6
        third = [one for one in self.samples if one[0] >= self.samples[-1][0] / 3][:part]
        grown_mib, more = (statistics.median(one[which] for one in self.samples[-part:]) - statistics.median(one[which] for one in third)
                           for which in (1, 2))
        wrong += [f"memory grew by {grown_mib:.0f} MiB after the first third"] if grown_mib > GROWTH_AT_MOST_MIB else []
        return wrong + ([f"{more:.0f} more file descriptors than after the first third"] if more > DESCRIPTORS_MORE_AT_MOST else [])

    def figures(self) -> dict:
        """What happened, and what the node held over time."""
        at_rest, running = self.samples[-1], self.samples[:-1]
        echoes = sorted(self.echoes_s)
        slope = _slope([(one[0] / 3600, one[1]) for one in running[len(running) // 3:]])
        table = [[round(one[0]), round(one[1], 1), *one[2:]] for one in (*running[::max(1, len(running) // 12)], at_rest)]
        return {
            "seconds": round(at_rest[0]), "instances answered 0000": len(self.ledger.answered), "studies": len(self.numbers),
            "objects at the archive": len({one.uid for one in received(self.folder / "archive")}),
            "counts": dict(sorted(self.done.items())),
            "C-ECHO s": {"count": len(echoes), "median": round(statistics.median(echoes), 4),
                         "99 %": round(echoes[int(len(echoes) * 0.99)], 4), "longest": round(echoes[-1], 4)},
            "memory MiB per hour, by the last two thirds": round(slope, 1), "over time: s, memory MiB, descriptors, threads": table,
        }


def _slope(points: list[tuple[float, float]]) -> float:
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len({one[0] for one in points}) > 1 else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--associations", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--echo-within", type=float, default=1.0, metavar="S", help="how long a C-ECHO may take")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the trial")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="betz-soak-")).resolve()
    soak = Soak(folder, chosen.seed, chosen.associations, chosen.echo_within)
    wrong = soak.go(chosen.minutes)
    figures = {**soak.figures(), "wrong": wrong}
    print(json.dumps(figures, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(figures, indent=1) + "\n")
    if chosen.keep or wrong:
        print(f"Everything is in {folder}.")
    else:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
