from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from node.association import echo
from node.certificates import certificates_in, first_in, identity_of, verdicts
from node.check import checks
from node.command import main
from node.errors import CertificateError
from node.service import only_node
from node.settings import Accept, Audit, Destination, Listener, Settings, Storage
from node.settings_file import read_settings

NOW = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC)


@pytest.fixture
def said(certified):
    """What the check says of a certificate that ends in so many days, with something harmed before."""
    def check(days=400.0, harm=lambda tls: None, begun=-1.0, **more):
        tls = certified(not_before=_in(begun), not_after=_in(days))
        harm(tls)
        return list(verdicts(Settings(tls=tls, **more), NOW))
    return check


def _in(days: float) -> datetime.datetime:
    return NOW + datetime.timedelta(days=days)


def test_good_certificates_are_three_lines(said):
    (own, first), (key, second), (others, third) = said()
    assert (own, key, others) == (True, True, True)
    assert first == "tls: the certificate betz ends on 2031-07-06, in 400 days"
    assert "others cannot read it" in second and third.startswith("tls: the authority ")


@pytest.mark.parametrize(("days", "right", "words"), [
    (30.1, True, "in 30 days"), (29.9, None, "in 29 days; see to a new one"), (0.5, None, "in 0 days"),
    (-0.1, False, "ended on 2030-05-31"),
])
def test_a_certificate_that_ends_is_named_in_time(said, days, right, words):
    verdict, sentence = said(days, begun=-90)[0]
    assert verdict is right and words in sentence


def test_when_to_warn_is_a_setting(certified):
    tls = replace(certified(not_before=_in(-1), not_after=_in(40)), warn_days=60.0)
    assert next(verdicts(Settings(tls=tls), NOW))[0] is None


@pytest.mark.parametrize(("harm", "line", "words"), [
    (lambda tls: tls.key.chmod(0o604), 1, "chmod 600"),
    (lambda tls: tls.key.write_bytes(trustme.CA().private_key_pem.bytes()), 1, "is not the key of the certificate"),
    (lambda tls: tls.key.write_text("x"), 1, "holds no private key"),
    (lambda tls: tls.key.unlink(), 1, "cannot be read: No such file"),
    (lambda tls: tls.certificate.write_text("x"), 0, "holds no certificate"),
    (lambda tls: tls.authorities.unlink(), 2, "cannot be read: No such file"),
])
def test_what_is_wrong_is_one_line(said, harm, line, words):
    verdict, sentence = said(harm=harm)[line]
    assert verdict is False and words in sentence and "\n" not in sentence


def test_a_key_that_a_group_may_read_is_right(said):
    assert said(harm=lambda tls: tls.key.chmod(0o640))[1][0] is True


def test_a_certificate_of_the_future_asks_for_the_clock(said):
    verdict, sentence = said(begun=1.0)[0]
    assert verdict is False and "is the clock right?" in sentence


def test_one_authority_that_ended_beside_others_is_a_warning(said, certified, authority):
    def add(tls):
        old = certified("old", not_before=_in(-20), not_after=_in(-10))
        tls.authorities.write_bytes(authority.cert_pem.bytes() + old.certificate.read_bytes())
    verdict, sentence = said(harm=add)[2]
    assert verdict is None and "the authority old ended on 2030-05-22" in sentence

    def replace_all(tls):
        tls.authorities.write_bytes(certified("old", not_before=_in(-20), not_after=_in(-10)).certificate.read_bytes())
    assert said(harm=replace_all)[2][0] is False


def test_certificates_for_audit_and_for_web_services_are_looked_at_too(said, certified):
    old = certified("old", not_before=_in(-20), not_after=_in(5))
    audit = Audit(host="h", ca=old.authorities, certificate=old.certificate, key=old.key)
    web = Destination("web", url="https://h", client_certificate=old.certificate, client_key=old.key)
    sentences = [sentence for verdict, sentence in said(audit=audit, destination=(web,)) if verdict is None]
    assert [one.split(" old ")[0] for one in sentences] == ["audit: the certificate", "destination web: the certificate"]


def test_who_a_certificate_is(certified):
    tls = certified("MR 3")
    found = first_in(tls.certificate)
    assert found.names == ("mr 3", "localhost", "127.0.0.1") and found.has(" mr 3 ") and found.has("LOCALHOST") and not found.has("mr")
    digits = found.fingerprint.upper()
    assert found.has(digits) and found.has("sha256:" + ":".join(digits[place:place + 2] for place in range(0, 64, 2)))
    assert not found.has("0" * 64) and found.fingerprint in str(found)
    assert identity_of(b"no certificate").names == () and len(certificates_in(tls.certificate)) == 1
    with pytest.raises(CertificateError, match="holds no certificate"):
        certificates_in(tls.key)


# --- betz check


@pytest.mark.parametrize(("given", "words"), [
    ({}, "answers C-ECHO over TLS on 127.0.0.1"), ({"accept": (Accept("SCANNER", "127.0.0.1"),)}, "accepts listed callers only"),
])
def test_the_check_asks_a_node_that_runs_over_tls(node, certified, tmp_path, given, words):
    tls = certified()
    listener = node(tls=tls, **given)
    with only_node(tmp_path):
        [(right, sentence)] = checks(Settings(Listener(port=listener.port), tls, storage=Storage(tmp_path, 0.0)), only_listener=True)
    assert right and words in sentence


def test_a_node_that_does_not_accept_its_own_certificate_is_well(node, certified, tmp_path):
    tls = certified(ca=trustme.CA())
    listener = node(tls=tls)
    with only_node(tmp_path):
        [(right, sentence)] = checks(Settings(Listener(port=listener.port), tls, storage=Storage(tmp_path, 0.0)), only_listener=True)
    assert right and "speaks TLS" in sentence


def test_a_warning_is_no_failure(certified, tmp_path, capsys):
    tls = certified(not_after=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=9.5))
    site = tmp_path / "site.toml"
    site.write_text(f"[listener]\nport = 0\n[storage]\nfolder = 'store'\nminimum_free_gib = 0\n[tls]\ncertificate = '{tls.certificate}'\n"
                    f"key = '{tls.key}'\nauthorities = '{tls.authorities}'\n")
    assert main(["check", "--config", str(site)]) == 0
    assert "warn  tls: the certificate betz ends on " in capsys.readouterr().out
    tls.key.chmod(0o644)
    assert main(["check", "--config", str(site)]) == 1
    assert "FAIL  tls: every user of this machine can read the key" in capsys.readouterr().out


# --- betz send


def test_a_folder_is_sent_over_tls(node, certified, tmp_path, mr, capsys):
    tls, folder = certified(), tmp_path / "folder"
    folder.mkdir()
    mr().save_as(folder / "one.dcm", enforce_file_format=True)
    listener, site = node(tls=certified("pacs")), tmp_path / "site.toml"
    site.write_text(f"[tls]\ncertificate = '{tls.certificate}'\nkey = '{tls.key}'\nauthorities = '{tls.authorities}'\n")
    send = ["send", str(folder), "--to", f"BETZ@127.0.0.1:{listener.port}"]
    assert main([*send, "--tls"]) == 1 and "under [tls] in the settings" in capsys.readouterr().err
    assert main([*send, "--certificate", "pacs"]) == 1 and "add --tls" in capsys.readouterr().err
    send += ["--config", str(site)]
    assert main([*send, "--tls"]) == 0 and main([*send, "--tls", "--certificate", "pacs"]) == 0
    assert main([*send, "--tls", "--certificate", "other"]) == 1 and main(send) == 1
    assert len(listener.spool.instances("1.2.3.4")) == 1


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_the_commands_of_the_readme_make_certificates_that_work(node, tmp_path):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    [commands], [example] = (re.findall(rf"```{begin}.*?)```", text, re.DOTALL) for begin in (r"\n(openssl ", r"toml\n(\[tls\]"))
    (tmp_path / "site.toml").write_text(example)
    said = subprocess.run(["bash", "-ec", commands], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    tls = read_settings(tmp_path / "site.toml").tls
    assert all(right for right, _ in verdicts(Settings(tls=tls), datetime.datetime.now(datetime.UTC)))
    assert first_in(tls.certificate).has(said.strip().partition("=")[2])
    assert first_in(tls.certificate).names == ("betz.hospital.example", "192.0.2.30")
    port = node(tls=tls).port
    echo(Destination("pacs", "BETZ", "127.0.0.1", port, tls=True, certificate="betz.hospital.example", shown=tls), "SCANNER", 10.0)
