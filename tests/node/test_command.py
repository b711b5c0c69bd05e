from __future__ import annotations

import subprocess
import sys

import pytest

from node import __version__
from node.command import main

COMMANDS = ("serve", "process", "phantom", "send", "status", "why", "retry", "resend", "cancel", "purge", "check", "norms", "markers")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("BETZ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_help_names_every_command_and_no_other(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0 and all(f"\n    {name} " in shown for name in COMMANDS)


def test_the_help_imports_nothing_heavy():
    code = "import sys, node.command; print({'pydicom', 'pynetdicom', 'sqlalchemy', 'numpy', 'highdicom'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"betz {__version__}\n"


@pytest.mark.parametrize("line", [
    [], ["unknown"], ["process"], ["process", "folder"], ["send", "folder", "--to", "nowhere"], ["send", "folder", "--to", "A@h:99999"],
    ["status", "--port", "1"], ["phantom", "--out", "x", "--severity", "much"], ["why"],
])
def test_a_wrong_command_line_ends_with_2(line, capsys):
    with pytest.raises(SystemExit) as end:
        main(line)
    assert end.value.code == 2 and "usage: betz" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "words"), [
    (["process", "/nowhere", "--out", "x"], "is not a folder"),
    (["send", "/nowhere", "--to", "A@127.0.0.1:11112"], "is not a folder"),
    (["serve", "--config", "/nowhere.toml"], "cannot be read"),
    (["why", "1.2.3"], "No study"),
    (["phantom", "--out", "x", "--severity", "7"], "between 0 and 1"),
])
def test_what_cannot_be_done_is_one_sentence_and_ends_with_1(line, words, capsys):
    assert main(line) == 1
    said = capsys.readouterr()
    assert words in said.err and said.err.startswith("betz: ") and said.err.count("\n") == 1 and said.out == ""


def test_what_is_unforeseen_is_a_sentence_too(capsys, monkeypatch):
    def fails(path):
        raise RuntimeError("the header says Secret^Patient")
    monkeypatch.setattr("node.settings_file.read_settings", fails)
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "RuntimeError in " in said and ", line " in said and "Traceback" not in said
    assert "Secret" not in said  # the sentence goes to logs
    monkeypatch.setenv("BETZ_TRACEBACK", "1")
    assert main(["status"]) == 1 and "Traceback" in capsys.readouterr().err


def test_an_unknown_setting_is_named(tmp_path, capsys):
    (tmp_path / "site.toml").write_text("[worker]\ntime_limt_s = 5\n")
    assert main(["status", "--config", str(tmp_path / "site.toml")]) == 1
    assert "time_limt_s" in (said := capsys.readouterr().err) and "'time_limit_s'" in said


def test_an_empty_folder_is_a_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["process", str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 1
    assert "no DICOM" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_status_of_a_new_node(capsys, home):
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "is not running" in shown and str(home) in shown and "0 studies so far." in shown


def test_the_check_ends_with_1_when_one_fails(capsys, tmp_path):
    (tmp_path / "site.toml").write_text("[storage]\nminimum_free_gib = 100000\n[listener]\nport = 0\n")
    assert main(["check", "--config", str(tmp_path / "site.toml")]) == 1
    shown = capsys.readouterr().out.splitlines()
    told = {line[6:].split(":")[0]: line[:4] for line in shown}
    assert {"settings", "storage", "disk", "memory", "listener", "destinations"} <= set(told)
    assert [name for name, right in told.items() if right != "ok  "] == ["disk"] and told["disk"] == "FAIL"


def test_the_markers_are_listed_with_their_trust(capsys):
    assert main(["markers"]) == 0
    shown = capsys.readouterr().out
    assert "brain_volumes (version " in shown and "cst_diffusion (version " in shown
    assert shown.count("\n  trust  ") == shown.count("\n  needs  ") >= 2


def test_the_module_runs_as_the_command_does():
    run = subprocess.run([sys.executable, "-m", "node.command", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"betz {__version__}\n"
