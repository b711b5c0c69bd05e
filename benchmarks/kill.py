"""SIGKILL to the node and to its analyses, at every step and at random moments, and what is there afterwards.

    python benchmarks/kill.py [--kills 200] [--seed 1] [--step TEXT] [--out FILE] [--keep]
    python benchmarks/kill.py --only STEP --only STEP ... [--studies N]

A census counts the steps of a node that is left alone (see `mortal_node.py`). Then the node is started again and again, a scanner sends to
it (new studies, late instances, repeats, other content under a UID that is taken, and again what was not answered), and it is killed: once
at each step, then at steps and moments drawn by chance; the process of an analysis is killed as well, and the node goes on. Listener,
worker and senders are threads of one process, so one SIGKILL hits all of them; the step says who was in the middle of what. `--step` takes
only the steps whose name holds that text, `--only` one step, without a census. At the end the node may finish, and it is judged: every
instance that was answered 0000 is in the spool byte for byte; every study has one current answer at the archive, whole, and every older
report there is named by a newer one; no UID has two contents; nothing is left over. Exit status 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
from hospital import STUDIES, Archive, Ledger, Node, free_port, image, send, settings_file, wait_for
from judge import faults, missing, received, wait_until_settled

MORTAL = str(Path(__file__).with_name("mortal_node.py"))
LONGEST_ROUND_S, SETTLE_S = 20.0, 900.0


@dataclass(frozen=True)
class Kill:
    """How the node of one round dies: at a step, the so-manyth time; or after so many seconds; or not it, but its analysis."""

    step: str = ""
    at: int = 1
    after_s: float = 0.0
    analysis: bool = False

    @property
    def kind(self) -> str:
        return "analysis" if self.analysis else "step" if self.step else "moment"


class Scanner:
    """Sends what a round needs, and again what was not answered."""

    def __init__(self, port: int, ledger: Ledger, chance: random.Random, studies_at_most: int) -> None:
        self.port, self.ledger, self.chance, self.studies_at_most = port, ledger, chance, studies_at_most
        self.studies: list[str] = []
        self.waiting: list = []
        self.lengths: Counter[str] = Counter()

    def batch(self, every_kind: bool = False) -> None:
        """Queue something to analyse, a new study or a late instance, and by chance a repeat and other content under a known UID."""
        chance = self.chance
        old = chance.choice(self.studies) if self.studies else None
        new = len(self.studies) < self.studies_at_most and (every_kind or not old or chance.random() < 0.5)
        if old and (every_kind or not new):
            self._more(old, 1)
        if old and (every_kind or chance.random() < 0.3):
            self.waiting.append(image(old, 1, *self._shape(old)))
        if old and (every_kind or chance.random() < 0.2):
            self.waiting.append(image(old, 1, *self._shape(old)[:1], seed=chance.randrange(1, 4)))
        if new:
            study = f"{STUDIES}.{len(self.studies) + 1}"
            self.studies.append(study)
            self._more(study, chance.choice((1, 2, 3)))

    def _more(self, study: str, count: int) -> None:
        for _ in range(count):
            self.lengths[study] += 1
            self.waiting.append(image(study, self.lengths[study], *self._shape(study)))

    def _shape(self, study: str) -> tuple[int]:
        """One study in four has instances of several PDUs."""
        return (256,) if study.endswith(("0", "4", "8")) else (16,)

    def send(self, give_up: threading.Event) -> None:
        """Until everything is answered, or the round is over."""
        while self.waiting and not give_up.is_set():
            with contextlib.suppress(OSError):
                send(self.port, list(self.waiting), self.ledger)
            self.waiting = [ds for ds in self.waiting if not self.ledger.holds(ds)]
            give_up.wait(0.2)


class Trial:
    """One run in one folder."""

    def __init__(self, folder: Path, seed: int, studies_at_most: int) -> None:
        self.folder, self.chance = folder, random.Random(seed)
        self.archive_port, self.port = free_port(), free_port()
        self.config = settings_file(folder, self.port, self.archive_port)
        self.ledger = Ledger()
        self.scanner = Scanner(self.port, self.ledger, self.chance, studies_at_most)
        self.done: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self.wrong: list[str] = []

    def census(self) -> Counter[str]:
        """The steps of a node that receives, analyses and delivers, hears a late instance, a repeat and a conflict, and starts again."""
        counts: Counter[str] = Counter()
        for _ in range(2):
            file, half = self.folder / "census.json", self.folder / "data" / "incoming" / "1.0.part"
            if half.parent.exists():
                half.write_bytes(b"what a node that was killed had received half")
            node = self._node(["--census", str(file)])
            for _ in range(2):
                self.scanner.batch(every_kind=True)
                self.scanner.send(threading.Event())
                wait_until_settled(self.folder / "data", 120)
            node.end()
            counts += Counter(json.loads(file.read_text()))
        return counts

    def _node(self, more: list[str]) -> Node:
        return Node(self.folder, self.config, (MORTAL, *more))

    def round(self, kill: Kill) -> None:
        """Start, send, kill, and look at what was answered."""
        if kill.step.startswith("start"):
            return self._fresh_round(kill)
        node = self._node(["--step", kill.step, "--at", str(kill.at)] if kill.step else [])
        began, over = time.monotonic(), threading.Event()
        sender = threading.Thread(target=self._send, args=(node, over, kill.step.startswith("listener")))
        sender.start()
        try:
            if kill.analysis:
                self._kill_analysis(node)
            else:
                limit_s = kill.after_s or LONGEST_ROUND_S
                while node.is_alive() and time.monotonic() - began < limit_s:
                    time.sleep(0.01)
            self._end(node, kill)
        finally:
            over.set()
            sender.join()
        self.wrong += [f"after {kill}: {one}" for one in missing(self.folder / "data", self.ledger)]

    def _fresh_round(self, kill: Kill) -> None:
        """A node that dies at its very first start, in a folder of its own; the next one must start there."""
        place = self.folder / f"fresh{sum(self.done.values())}"
        place.mkdir()
        config = settings_file(place, free_port(), self.archive_port)
        if "unlink" in kill.step:
            (place / "data" / "incoming").mkdir(parents=True)
            (place / "data" / "incoming" / "1.0.part").write_bytes(b"half")
        first = Node(place, config, (MORTAL, "--step", kill.step, "--at", str(kill.at)))
        first.wait_until_started()
        self._end(first, kill)
        second = Node(place, config)
        if not second.wait_until_started() or second.end() or list((place / "data" / "incoming").iterdir()):
            self.wrong.append(f"{kill}: the next node does not start, or does not sweep")

    def _send(self, node: Node, over: threading.Event, every_kind: bool) -> None:
        """A batch, and by chance another when that is answered: what is killed is at work."""
        with contextlib.suppress(TimeoutError):
            node.wait_until_started()
        for _ in range(2):
            if not over.is_set():
                self.scanner.batch(every_kind)
                self.scanner.send(over)
                over.wait(8.0)

    def _end(self, node: Node, kill: Kill) -> None:
        if kill.step and not node.is_alive():
            self.hit[kill.step] += 1
            self.done["step"] += 1
        elif not kill.analysis:
            self.done["moment"] += 1
        if not node.is_alive() and node.process.returncode != -9:
            self.wrong.append(f"{kill}: the node ended with status {node.process.returncode}")
        if kill.analysis and self.chance.random() < 0.5:
            node.end()
            return
        analyses = _family(node.pid)
        node.kill()
        if kill.analysis:
            self.done["moment"] += 1
        wait_for(lambda: not any(_runs(one) for one in analyses), 10, "analyses die with their node")

    def _kill_analysis(self, node: Node) -> None:
        """SIGKILL to a running analysis, somewhere in its life; to two of them in a row, by chance."""
        for _ in range(self.chance.choice((1, 1, 2))):
            with contextlib.suppress(TimeoutError, psutil.Error):
                wait_for(lambda: _family(node.pid), LONGEST_ROUND_S, "an analysis runs")
                time.sleep(self.chance.uniform(0, 4))
                if running := _family(node.pid):
                    self.chance.choice(running).kill()
                    self.done["analysis"] += 1

    def finish(self) -> None:
        """Let it come to an end, and judge."""
        node = Node(self.folder, self.config)
        node.wait_until_started()
        self.scanner.send(threading.Event())
        wait_until_settled(self.folder / "data", SETTLE_S)
        status = node.end()
        if status:
            self.wrong.append(f"the last node ended with status {status}")
        self.wrong += faults(self.folder, self.ledger)


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def plan(steps: Counter[str], kills: int, chance: random.Random) -> list[Kill]:
    """Each step once; then steps by chance (half), moments (a quarter) and analyses (a quarter)."""
    each = [Kill(step) for step in sorted(steps)]
    chance.shuffle(each)
    while len(each) < kills:
        draw = chance.random()
        if draw < 0.5:
            step = chance.choice(sorted(steps))
            each.append(Kill(step, chance.randint(1, min(6, steps[step]))))
        else:
            each.append(Kill(after_s=chance.uniform(0.2, 8)) if draw < 0.75 else Kill(analysis=True))
    return each[:kills]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--step", default="", help="only steps whose name holds this")
    parser.add_argument("--only", action="append", default=[], metavar="STEP", help="this step, once")
    parser.add_argument("--studies", type=int, default=10**6, help="at most so many studies")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the trial")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="betz-kill-")).resolve()
    began = time.monotonic()
    archive, trial = None, Trial(folder, chosen.seed, chosen.studies)
    try:
        archive = Archive(folder, trial.archive_port)
        trial.archive = archive
        steps = Counter(chosen.only or {name: count for name, count in trial.census().items() if chosen.step in name})
        print(f"{len(steps)} steps", flush=True)
        kills = [Kill(step) for step in chosen.only] or plan(steps, chosen.kills, trial.chance)
        while sum(trial.done.values()) < (len(chosen.only) or chosen.kills):
            kill = kills.pop(0) if kills else Kill(after_s=trial.chance.uniform(0.2, 8))
            trial.round(kill)
            print(f"{sum(trial.done.values()):4d}  {time.monotonic() - began:6.0f} s  {kill.kind:8s}  {kill.step} "
                  f"{'' if not kill.step or kill.step in trial.hit else '(did not come)'}", flush=True)
        trial.finish()
    finally:
        if archive:
            archive.end()
    figures = _figures(trial, steps, time.monotonic() - began)
    print(json.dumps(figures, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps({**figures, "hits": dict(sorted(trial.hit.items()))}, indent=1) + "\n")
    if chosen.keep or trial.wrong:
        print(f"Everything is in {folder}.")
    else:
        shutil.rmtree(folder)
    return 1 if trial.wrong else 0


def _figures(trial: Trial, steps: Counter[str], seconds: float) -> dict:
    results = received(trial.folder / "archive")
    return {
        "kills": sum(trial.done.values()), "by kind": dict(trial.done), "steps": len(steps), "steps hit": len(trial.hit),
        "steps not hit": sorted(set(steps) - set(trial.hit)), "instances answered 0000": len(trial.ledger.answered),
        "studies": len(trial.scanner.studies), "objects at the archive": len({one.uid for one in results}),
        "objects that came twice": len(results) - len({one.uid for one in results}), "wrong": trial.wrong, "seconds": round(seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
