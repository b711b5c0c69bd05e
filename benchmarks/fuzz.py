"""Inputs that nobody should send, in great number: association requests, PDUs, command sets, data sets, files and whole series.

    python benchmarks/fuzz.py [--inputs 100000] [--seed 1] [--target NAME] [--out FILE]
    python benchmarks/fuzz.py --atheris 300 --target request|object|file        coverage-guided, with `pip install betz[fuzz]`
    python benchmarks/fuzz.py --target NAME --again FILE                        one kept input once more

    request     an A-ASSOCIATE-RQ, as the listener judges it before anything else sees it
    connection  bytes over a real socket to a real listener in this process: requests, PDUs, command sets, C-STORE of data sets, reports
    object      a data set through the spool, from the first chunk to its place
    file        a DICOM file in a folder: the study, who the patient is, the roles of its series (with frames, physics, gradients)
    volume      a series with a changed instance, up to the image that would be measured on

The inputs are made by `mutations.py`. Wrong is: an exception that the module does not state; an input that takes more than 20 s; a process
that dies; memory or file descriptors that grow; a file outside the storage folder, or in it under a name that is no UID; a listener that
does not answer a C-ECHO in between, or logs a failure of its own. What was found wrong is kept with its input. Exit status 1 where there is
any.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

if "--atheris" in sys.argv:  # it counts the coverage of what is imported under its eyes
    import atheris

    with atheris.instrument_imports(include=["node"], enable_loader_override=False):
        import fuzz_targets
else:
    import fuzz_targets

ROOT, TARGETS, Target = fuzz_targets.ROOT, fuzz_targets.TARGETS, fuzz_targets.Target

SHARES = {"request": 0.46, "object": 0.3, "file": 0.2, "connection": 0.035, "volume": 0.005}
LONGEST_S, ECHO_EACH, GROWTH_AT_MOST_MIB, WRONG_AT_MOST = 20, 200, 64.0, 25


# --- one target


def fuzz(name: str, inputs: int, seed: int, folder: Path) -> dict:
    """Feed so many inputs; the figures."""
    target, chance = TARGETS[name](folder), random.Random(f"{name} {seed}")
    last, outcomes, wrong, samples = folder / "last.bin", Counter(), {}, []
    began = time.monotonic()
    signal.signal(signal.SIGALRM, _late)
    for number in range(inputs):
        content = target.make(chance)
        last.write_bytes(content)
        outcomes[_fed(target, content, wrong, folder)] += 1
        if number % ECHO_EACH == ECHO_EACH - 1 and (sentence := target.check()):
            _keep(wrong, sentence, content, folder)
        if number % max(1, inputs // 20) == 0:
            gc.collect()
            samples.append((number, _memory_mib(), len(os.listdir("/proc/self/fd"))))
        if len(wrong) >= WRONG_AT_MOST:
            break
    if sentence := target.check():
        _keep(wrong, sentence, content, folder)
    try:
        target.close()
    except AssertionError as error:
        _keep(wrong, str(error), content, folder)
    gc.collect()
    samples.append((number + 1, _memory_mib(), len(os.listdir("/proc/self/fd"))))
    wrong.update(_grown(samples, folder))
    return {"target": name, "inputs": number + 1, "seconds": round(time.monotonic() - began, 1), "outcomes": dict(outcomes.most_common()),
            "memory MiB": [round(one[1], 1) for one in samples], "descriptors": [one[2] for one in samples],
            "peak MiB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "slowest C-ECHO s": round(getattr(target, "slowest_echo_s", 0.0), 3), "wrong": wrong}


def _fed(target: Target, content: bytes, wrong: dict[str, str], folder: Path) -> str:
    signal.alarm(LONGEST_S)
    try:
        target.feed(content)
        return "taken"
    except target.stated as error:
        return type(error).__name__
    except Exception as error:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).is_relative_to(ROOT / "node")]
        place = " < ".join(f"{Path(one.filename).name}:{one.lineno}" for one in reversed(frames[-3:]))
        _keep(wrong, f"{type(error).__name__}: {str(error)[:120]} in {place}", content, folder, key=f"{type(error).__name__} {place}")
        return "wrong"
    finally:
        signal.alarm(0)


def _keep(wrong: dict[str, str], sentence: str, content: bytes, folder: Path, key: str = "") -> None:
    file = folder / f"wrong-{hashlib.sha256((key or sentence).encode()).hexdigest()[:8]}.bin"
    if not file.exists():
        file.write_bytes(content)
        wrong[sentence] = str(file)


def _late(*_: object) -> None:
    raise TimeoutError(f"more than {LONGEST_S} s")


def _memory_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def _grown(samples: list[tuple[int, float, int]], folder: Path) -> dict[str, str]:
    """Memory from the first quarter on, and descriptors, must be flat; no file may lie outside."""
    found, quarter = {}, samples[len(samples) // 4]
    if samples[-1][1] - quarter[1] > GROWTH_AT_MOST_MIB:
        found[f"memory grew from {quarter[1]:.0f} to {samples[-1][1]:.0f} MiB"] = ""
    if samples[-1][2] > quarter[2] + 2:
        found[f"file descriptors grew from {quarter[2]} to {samples[-1][2]}"] = ""
    inside = folder / "inner" / "data"
    outside = [path for path in folder.rglob("*") if path.is_file() and inside not in path.parents and path.parent != folder]
    if outside:
        found[f"{outside[:3]} lie outside"] = ""
    return found


# --- all of them


def run(names: list[str], inputs: int, seed: int, folder: Path) -> list[dict]:
    """Each target in a process of its own, so that one that dies ends none of the others."""
    done = []
    for name in names:
        place = folder / name
        place.mkdir(parents=True)
        count = inputs if len(names) == 1 else round(inputs * SHARES[name])
        command = [sys.executable, __file__, "--worker", name, "--inputs", str(count), "--seed", str(seed), "--folder", str(place),
                   "--out", str(place / "figures.json")]
        status = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                                stderr=(place / "errors.txt").open("wb")).returncode
        if status or not (place / "figures.json").exists():
            tail = (place / "errors.txt").read_text(errors="replace")[-800:]
            sentence = f"the process ended with status {status}: {tail}"
            done.append({"target": name, "inputs": 0, "wrong": {sentence: str(place / "last.bin")}})
        else:
            done.append(json.loads((place / "figures.json").read_text()))
            done[-1]["wrong"].update(_logged(place / "errors.txt"))
        print(json.dumps(done[-1]), flush=True)
    return done


def _logged(errors: Path) -> dict[str, str]:
    """What the node itself logged as its own failure: a thread that died is no exception here."""
    found = {}
    for line in errors.read_text(errors="replace").splitlines():
        if "the node failed" in line or '"thread_failed"' in line or "Exception in thread" in line:
            event = json.loads(line) if line.startswith("{") else {"event": line, "reason": ""}
            found.setdefault(f"{event['event']}: {event['reason']}", str(errors))
    return found


def guided(name: str, seconds: int, folder: Path) -> None:
    """Coverage-guided, by atheris (libFuzzer); it ends the process itself."""
    target = TARGETS[name](folder)
    chance = random.Random(1)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number in range(200):
        (corpus / str(number)).write_bytes(target.make(chance))
    count = 0

    def one(content: bytes) -> None:
        nonlocal count
        count += 1
        with contextlib.suppress(*target.stated):
            target.feed(content)
        if count % 1000 == 0:
            target.check()

    atheris.Setup([sys.argv[0], str(corpus), f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=2048", f"-timeout={LONGEST_S}",
                   f"-artifact_prefix={folder}/", "-print_final_stats=1"], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=list(TARGETS))
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    parser.add_argument("--atheris", type=int, metavar="SECONDS", help="coverage-guided, one target")
    parser.add_argument("--again", type=Path, metavar="FILE", help="one kept input")
    parser.add_argument("--worker", choices=list(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to work; without it a new folder, in memory where there is /dev/shm")
    chosen = parser.parse_args()
    faulthandler.enable()
    warnings.simplefilter("ignore")
    shared = Path("/dev/shm")
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="betz-fuzz-", dir=shared if shared.is_dir() else None))
    if chosen.again:
        TARGETS[chosen.target](folder).feed(chosen.again.read_bytes())
        return 0
    if chosen.atheris:
        guided(chosen.target or "file", chosen.atheris, folder)
    if chosen.worker:
        figures = fuzz(chosen.worker, chosen.inputs, chosen.seed, folder)
        chosen.out.write_text(json.dumps(figures))
        return 0
    done = run([chosen.target] if chosen.target else list(TARGETS), chosen.inputs, chosen.seed, folder)
    if chosen.out:
        chosen.out.write_text(json.dumps(done, indent=1) + "\n")
    wrong = [f"{one['target']}: {sentence} ({file})" for one in done for sentence, file in one["wrong"].items()]
    print("\n".join(wrong) or f"{sum(one['inputs'] for one in done)} inputs, nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
