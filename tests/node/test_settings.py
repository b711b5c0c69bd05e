from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from node.errors import SettingsError
from node.settings import Accept, Settings
from node.settings_file import _LISTS, _TABLES, read_settings
from node.tls_settings import fingerprint_in

EXAMPLE = Path(__file__).parents[2] / "config" / "betz.toml"

TLS = "[tls]\ncertificate='a.pem'\nkey='a.key'\nauthorities='all.pem'\n"
DESTINATION = "[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\n"


@pytest.fixture
def settings_of(tmp_path):
    def read(text: str) -> Settings:
        (tmp_path / "site.toml").write_text(text)
        return read_settings(tmp_path / "site.toml")
    return read


def _uncommented() -> str:
    return re.sub(r"^# (\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)


def test_without_a_file_the_defaults_hold(monkeypatch, tmp_path):
    monkeypatch.setenv("BETZ_HOME", str(tmp_path))
    settings = read_settings()
    assert (settings.listener.port, settings.listener.host, settings.listener.ae_title) == (11112, "127.0.0.1", "BETZ")
    assert settings.storage.folder == tmp_path and settings.destination == ()


def test_without_a_home_the_users_data_folder_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("BETZ_HOME", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert read_settings().storage.folder == tmp_path / "betz"


def test_every_setting_is_in_the_example():
    text = EXAMPLE.read_text()
    for name, kind in {**_TABLES, **_LISTS}.items():
        sections = re.findall(rf"^#? ?\[+{re.escape(name)}\]+$(.*?)(?=^#? ?\[|\Z)", text, re.MULTILINE | re.DOTALL)
        assert sections, f"config/betz.toml does not show [{name}]"
        shown = set(re.findall(r"^# (\w+) = ", "".join(sections), re.MULTILINE))
        assert shown == {field.name for field in fields(kind)} - {"accept", "shown"}, name


def test_the_example_shows_the_defaults(settings_of, monkeypatch):
    monkeypatch.setenv("BETZ_HOME", "/var/lib/betz")
    shown = settings_of(_uncommented())
    default = read_settings()
    assert shown.listener.accept == (Accept("SCANNER", "192.0.2.10"),)
    assert [one.name for one in shown.destination] == ["pacs", "archive", "second archive"]
    assert {**vars(shown.tls), "certificate": None, "key": None, "authorities": None} == vars(default.tls)
    for name in ("study", "worker", "sender", "storage"):
        assert getattr(shown, name) == getattr(default, name)
    assert {**vars(shown.results), "treatments": None} == vars(default.results)
    assert {**vars(shown.listener), "accept": ()} == vars(default.listener)


def test_the_commented_example_is_the_default(monkeypatch):
    monkeypatch.setenv("BETZ_HOME", "/var/lib/betz")
    read = read_settings(EXAMPLE)
    assert {**vars(read), "source": None} == vars(read_settings())


@pytest.mark.parametrize(("text", "words"), [
    ("[listener]\nprot = 1", ["prot", "listener", "'port'", "site.toml"]),
    ("[listner]\nport = 1", ["listner", "'listener'"]),
    ("[listener]\nport = '11112'", ["port", "a whole number"]),
    ("[listener]\nport = true", ["port", "a whole number"]),
    ("[results]\ntractography = 1", ["tractography", "true or false"]),
    ("[results]\ntractography = 'yes'", ["tractography", "true or false"]),
    ("[results]\nlanguage = 'xx'", ["language", "'en'", "'de'"]),
    ("[listener]\nport = 70000", ["port", "65535"]),
    ("[study]\nexpect = 't1'", ["expect", "a list of texts"]),
    ("[study]\nexpect = ['t1', 'swi or t2sar']", ["expect", "'t2sar'", "'t2star'"]),
    ("[study]\nexpect = [1]", ["expect", "a text in quotes"]),
    ("[study]\nask = 'archive'", ["ask", "[[destination]]"]),
    ("[listener]\nae_title = 'A TITLE THAT IS TOO LONG'", ["ae_title", "16 characters"]),
    ("[listener]\nhost = '0.0.0.0'", ["nobody is listed", "[[listener.accept]]"]),
    ("[[listener.accept]]\nae_title = 'A'", ["listener.accept", "'address'"]),
    ("[[listener.accept]]\nae_title = 'A'\naddress = 'scanner7'", ["address", "IP address"]),
    ("[[destination]]\nname = 'pacs'", ["destination", "'ae_title'"]),
    ("listener = 1", ["[listener]"]),
    ("[destination]\nname = 'pacs'", ["[[destination]]"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\nport=104", ["url and port", "not both"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\ntls=true", ["url and tls", "not both"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\ncommitment=true", ["no storage commitment", "query = true"]),
    ("[[destination]]\nname='a'\nurl='ftp://h/w'", ["no address of a web service"]),
    ("[[destination]]\nname='a'\nurl='https://h:x/w'", ["no address"]),
    ("[[destination]]\nname='a'\nurl='https://me:secret@h/w'", ["must hold no user, password"]),
    ("[[destination]]\nname='a'\nurl='https://[::1]/w'", ["IPv6"]),
    ("[[destination]]\nname='a'\nurl='http://h/w'\ntoken_file='t'", ["in clear", "https"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\nuser='me'", ["user and password_file together"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\ntoken_file='t'\nuser='me'\npassword_file='p'", ["one of them"]),
    ("[[destination]]\nname='a'\nurl='https://h/w'\nclient_key='k'", ["no client_certificate"]),
    ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\ntoken_file='t'", ["token_file is for DICOMweb"]),
    ("[worker", ["not TOML"]),
    ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=1\n" * 2, ["two destinations", "'a'"]),
    ("[[destination]]\nname='a'\nae_title='A'\nhost='h'\nport=0", ["port is 0"]),
    ("[tls]\ncertificate = 'a.pem'", ["[tls]", "no key and no authorities"]),
    (TLS + "profile = 'b.1'", ["profile", "b.12", "b.13"]),
    ("[listener]\nplain_port = 104", ["plain_port", "port alone"]),
    (TLS + "[listener]\nport = 104\nplain_port = 104", ["the same"]),
    (TLS + "[[listener.accept]]\nae_title='A'\naddress='192.0.2.1'\ncertificate='AA:BB:CC:DD:EE:FF:00:11:22'", ["64 hexadecimal"]),
    ("[[listener.accept]]\nae_title='A'\naddress='192.0.2.1'\ncertificate='mr3'", ["'A'", "[tls]"]),
    (DESTINATION + "tls = true", ["'a'", "[tls] names no certificate"]),
    (TLS + DESTINATION + "certificate = 'pacs'", ["'a'", "without TLS"]),
    (TLS + DESTINATION + "shown = 1", ["destination", "'shown'"]),
])
def test_what_is_wrong_is_named(settings_of, text, words):
    with pytest.raises(SettingsError) as error:
        settings_of(text)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")


def test_an_accepted_caller_matches_in_title_and_address():
    one, network = Accept("SCANNER", "192.0.2.10"), Accept("MR", "192.0.2.0/24")
    assert one.allows("SCANNER ", "192.0.2.10") and one.allows("SCANNER", "::ffff:192.0.2.10")
    assert not one.allows("SCANNER", "192.0.2.11") and not one.allows("OTHER", "192.0.2.10")
    assert network.allows("MR", "192.0.2.77") and not network.allows("MR", "192.0.3.1")


def test_a_switch_is_off_or_on(settings_of):
    assert not settings_of("").results.tractography and settings_of("[results]\ntractography = true").results.tractography


def test_a_relative_folder_is_relative_to_the_file(settings_of, tmp_path):
    assert settings_of("[storage]\nfolder = 'data'").storage.folder == tmp_path / "data"


def test_certificates_are_relative_to_the_file_and_go_with_the_destinations_that_need_them(settings_of, tmp_path):
    fingerprint = ":".join(["AB"] * 32)
    settings = settings_of(TLS + DESTINATION + f"tls = true\ncertificate = '{fingerprint}'")
    assert settings.tls.is_on and settings.tls.key == tmp_path / "a.key"
    assert settings.destination[0].shown == settings.tls and fingerprint_in(settings.destination[0].certificate) == "ab" * 32
    assert settings_of(TLS + DESTINATION).destination[0].shown is None and fingerprint_in("mr3.example.org") is None
