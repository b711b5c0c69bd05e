"""Disks that are full or read-only, on real file systems; without a privilege, where the kernel allows user namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.child import Limits, run_child
from node.disk import trouble
from node.errors import CrashError

ROOT = Path(__file__).resolve().parents[2]
SCENES = Path(__file__).with_name("disk_scenes.py")


def _is_possible() -> bool:
    try:
        return subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _is_possible(), reason="this machine lets nobody make a mount namespace")
@pytest.mark.parametrize("scene", ["full", "read_only", "analysis", "start"])
def test_a_node_on_a_real_disk(scene, tmp_path):
    script = 'mount -t tmpfs -o size=64m tmpfs "$1" && exec "$2" "$3" "$4" "$1"'
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{SCENES.parent}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(["unshare", "-Urm", "sh", "-c", script, "sh", tmp_path, sys.executable, SCENES, scene], cwd=ROOT,
                           env=environment, capture_output=True, text=True, timeout=400)
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr[-3000:]
    assert "SECRET" not in ended.stderr.upper()


def test_a_disk_in_order_has_no_trouble_and_keeps_nothing_of_the_trial(tmp_path):
    assert trouble(tmp_path) == "" and list(tmp_path.iterdir()) == []


def test_what_is_below_the_minimum_or_not_there_is_trouble(tmp_path):
    assert trouble(tmp_path, 2**70) == "the free space is below the minimum"
    assert trouble(tmp_path / "gone") == "the disk refuses: No such file or directory"


def test_an_analysis_over_which_the_disk_refuses_says_so_to_its_node(tmp_path, mr):
    """Every sync fails as on a full disk."""
    (tmp_path / "in").mkdir()
    mr(size=64).save_as(tmp_path / "in" / "1.dcm", enforce_file_format=True)
    code = ("import errno, sys\n"
            "from node import answer_folder, command\n"
            "def write(*_): raise OSError(errno.ENOSPC, 'full')\n"
            "answer_folder.os.fsync = write\n"
            f"sys.exit(command.main(['process', {str(tmp_path / 'in')!r}, '--out', {str(tmp_path / 'out')!r}]))")
    with pytest.raises(CrashError, match="no room on the disk"):
        run_child([sys.executable, "-c", code], Limits(120, 4.0), tmp_path / "log")
    assert "No space left on device" in (tmp_path / "log").read_text() and not (tmp_path / "out").exists()
