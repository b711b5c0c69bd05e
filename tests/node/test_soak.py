"""A short run of `benchmarks/soak.py`: peers of every kind at once, and an archive that goes away. `docs/reliability.md` has a long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_peers_of_every_kind_at_once(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--minutes", "0.07", "--associations", "8", "--echo-within", "60",
               "--out", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["instances answered 0000"] > 0 and figures["objects at the archive"] > 0 and figures["C-ECHO s"]["count"] > 0
