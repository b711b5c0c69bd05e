from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from pynetdicom import AE

from node.errors import BetzError
from node.permissions import check_permissions, secure
from node.service import only_node, serve
from node.settings import Audit, Settings, Storage
from node.settings_file import read_settings

LIMIT_S = 180.0


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_node_refuses_a_folder_that_others_can_write_to(tmp_path, mode):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(mode)
    with pytest.raises(BetzError, match=r"Others of this machine can write.*chmod 700"), only_node(tmp_path / "data"):
        pass
    with pytest.raises(BetzError, match="permissions: Others"):
        check_permissions(Settings(storage=Storage(tmp_path / "data")))


def test_a_folder_that_others_can_look_into_is_closed(tmp_path, capfd):
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    with pytest.raises(BetzError, match="chmod go="):
        check_permissions(Settings(storage=Storage(tmp_path / "data")))
    secure(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700 and "storage_closed" in capfd.readouterr().err
    assert "only this user" in check_permissions(Settings(storage=Storage(tmp_path / "data")))


def test_settings_that_others_can_write_and_keys_that_they_can_read_are_named(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "betz.toml").write_text("[storage]\nfolder = 'data'\n")
    (tmp_path / "betz.toml").chmod(0o666)
    with pytest.raises(BetzError, match=r"betz.toml, which decides"):
        check_permissions(read_settings(tmp_path / "betz.toml"))
    (tmp_path / "key.pem").write_text("")
    (tmp_path / "key.pem").chmod(0o644)
    with pytest.raises(BetzError, match=r"others can read .*key.pem"):
        check_permissions(Settings(storage=Storage(tmp_path / "data"), audit=Audit(key=tmp_path / "key.pem")))


def test_a_node_says_at_its_start_what_is_open_to_others(tmp_path, capfd):
    (tmp_path / "betz.toml").write_text("[listener]\nport = 0\n[storage]\nfolder = 'data'\nminimum_free_gib = 0\n")
    (tmp_path / "betz.toml").chmod(0o666)
    stop = threading.Event()
    serve(read_settings(tmp_path / "betz.toml"), stop, lambda port: stop.set())
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert ["chmod go-w" in one["reason"] for one in said if one["event"] == "permissions_wrong"] == [True]


def test_nothing_that_a_node_writes_can_be_read_by_others(tmp_path, mr):
    """A whole study, its answer and every command, under the laxest umask; then every file and folder is looked at."""
    config, data = tmp_path / "betz.toml", tmp_path / "data"
    config.write_text("[listener]\nport = 0\n[storage]\nfolder = 'data'\nminimum_free_gib = 0\n[study]\nquiet_s = 0\n")
    command = [sys.executable, "-m", "node.command"]
    with subprocess.Popen([*command, "serve", "--config", config], stderr=subprocess.PIPE, text=True, umask=0) as process:
        port = json.loads(process.stderr.readline())["port"]
        ae = AE("SCANNER")
        ae.add_requested_context(mr().SOPClassUID, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", port, ae_title="BETZ")
        assert [association.send_c_store(one).Status for one in (mr(number=1), mr(number=1, seed=2))] == [0, 0]
        association.release()
        deadline = time.monotonic() + LIMIT_S
        while not list(data.glob("outbox/*/*/report.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        subprocess.run([*command, "status", "--config", config], check=True, stdout=subprocess.DEVNULL, umask=0)
        process.terminate()
        process.stderr.read()
    written = [data, *data.rglob("*")]
    assert {"spool", "conflicts", "outbox", "log", "lock", "journal.sqlite", "report.json"} <= {path.name for path in written}
    assert [path for path in written if path.stat().st_mode & 0o077] == []
