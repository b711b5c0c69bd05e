"""A short run of `benchmarks/fuzz.py` through each reader. `docs/reliability.md` has the figures of a long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(("target", "inputs"), [("request", 600), ("object", 800), ("file", 400), ("connection", 200), ("volume", 25)])
def test_what_nobody_should_send_breaks_nothing(tmp_path, target, inputs):
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--target", target, "--inputs", str(inputs), "--seed", "11",
               "--folder", str(tmp_path / "work"), "--out", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [figures] = json.loads((tmp_path / "figures.json").read_text())
    assert figures["inputs"] == inputs and len(figures["outcomes"]) >= (1 if target in ("connection", "volume") else 2)
