"""A short run of `benchmarks/kill.py`: the node dies at five steps, nothing is lost. `docs/reliability.md` has a long one."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = ("listener, before link in spool", "listener, after link in spool", "listener, before fsync of a folder in spool",
         "listener, before commit", "sender, before commit")


@pytest.fixture
def hospital(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("hospital")


def test_everything_is_synced_before_the_answer_is_sent(tmp_path, hospital):
    """A power cut cannot be tried here, but the order can be seen: file, name, folder, the folder's own name, and only then 0000."""
    port, trace = hospital.free_port(), tmp_path / "trace.json"
    config = hospital.settings_file(tmp_path, port, hospital.free_port())
    node = hospital.Node(tmp_path, config, (str(ROOT / "benchmarks" / "mortal_node.py"), "--trace", str(trace)))
    try:
        assert node.wait_until_started()
        assert hospital.send(port, [hospital.image(hospital.STUDIES, 1)], hospital.Ledger())
    finally:
        node.end()
    steps = json.loads(trace.read_text())
    answered = steps.index("listener, before send P-DATA")
    order = [steps.index(f"listener, {step}") for step in ("after fsync in incoming", "before link in spool", "after link in spool")]
    assert order == sorted(order) and order[-1] < answered
    synced = [place for place, step in enumerate(steps[:answered]) if step == "listener, after fsync of a folder in spool"]
    made = steps.index("listener, after mkdir in spool")
    assert len(synced) >= 2 and synced[0] > made and synced[-1] > order[-1]


def test_nothing_is_lost_and_nothing_is_sent_twice_over(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--studies", "1", "--out", str(tmp_path / "figures.json")]
    for step in STEPS:
        command += ["--only", step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["steps hit"] == figures["kills"] == len(STEPS) and figures["instances answered 0000"] > 0
