"""The node as a container or a service runs it: a root file system that it can only read, no capability, no home."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from pynetdicom import AE

from node.settings import Listener

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 180.0
# $1: an empty folder, $2: what may be written there, $3: the sources; then the command. /mnt is $2 inside.
ENTER = """
set -e
mount --rbind / "$1" && mount --rbind "$2" "$1/mnt" && mount -o remount,bind,ro "$1"
store=$1; sources=$3; shift 3
cd "$store" && exec chroot "$store" setpriv --bounding-set=-all --inh-caps=-all --no-new-privs env --chdir="$sources" "$@"
"""


def _is_possible() -> bool:
    try:
        return all(shutil.which(tool) for tool in ("setpriv", "chroot")) and subprocess.run(
            ["unshare", "-Urm", "mount", "--rbind", "/", "/mnt"], capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _is_possible(), reason="this machine lets nobody make a mount namespace")
def test_a_study_is_received_and_answered_on_a_root_that_is_read_only_without_a_capability(tmp_path, mr):
    root, place = tmp_path / "root", tmp_path / "place"
    root.mkdir()
    place.mkdir(mode=0o700)
    (place / "betz.toml").write_text("[listener]\nport = 0\n[storage]\nminimum_free_gib = 0\n[study]\nquiet_s = 0\n")
    command = [sys.executable, "-m", "node.command", "serve", "--config", "/mnt/betz.toml"]
    environment = {**os.environ, "BETZ_HOME": "/mnt/store", "HOME": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    enter = ["unshare", "-Urm", "sh", "-c", ENTER, "sh", root, place, ROOT]
    with subprocess.Popen([*enter, *command], env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            first = process.stderr.readline()
            assert "node_started" in first, first + process.stderr.read()
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
            ae = AE("SCANNER")
            ae.add_requested_context(mr().SOPClassUID, "1.2.840.10008.1.2.1")
            association = ae.associate("127.0.0.1", json.loads(first)["port"], ae_title="BETZ")
            assert association.send_c_store(mr(number=1)).Status == 0
            association.release()
            deadline = time.monotonic() + LIMIT_S
            while not list(place.glob("store/outbox/*/*/report.json")) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            process.terminate()
            rest = process.stderr.read()
    assert len(list(place.glob("store/outbox/*/*/*.dcm"))) >= 2, rest
    assert process.returncode == 0 and "analyses_not_isolated" not in rest


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_unit_of_systemd_is_understood_and_takes_every_privilege(tmp_path):
    unit = (ROOT / "config" / "betz.service").read_text().replace("/opt/betz/bin/betz", sys.executable)
    (tmp_path / "betz.service").write_text(unit)
    said = subprocess.run(["systemd-analyze", "verify", tmp_path / "betz.service"], capture_output=True, text=True).stderr
    assert "betz.service" not in said
    for line in ("User=betz", "UMask=0077", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "PrivateTmp=yes"):
        assert f"\n{line}\n" in unit


def test_the_container_has_no_privilege_and_listens_where_the_settings_say():
    one = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())["services"]["betz"]
    assert one["read_only"] and one["cap_drop"] == ["ALL"] and one["security_opt"] == ["no-new-privileges:true"]
    assert one["user"].split(":")[0] == "10001" and "--uid 10001" in (ROOT / "Dockerfile").read_text()
    assert one["ports"] == [f"{Listener().port}:{Listener().port}"] and "USER betz" in (ROOT / "Dockerfile").read_text()
