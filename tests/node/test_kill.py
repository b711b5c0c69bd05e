"""A short run of `benchmarks/kill.py`: the node dies at five steps, nothing is lost. `docs/reliability.md` has a long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = ("listener, before link in spool", "listener, after link in spool", "listener, before fsync of a folder in spool",
         "listener, before commit", "sender, before commit")


def test_nothing_is_lost_and_nothing_is_sent_twice_over(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--studies", "1", "--out", str(tmp_path / "figures.json")]
    for step in STEPS:
        command += ["--only", step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["steps hit"] == figures["kills"] == len(STEPS) and figures["instances answered 0000"] > 0
