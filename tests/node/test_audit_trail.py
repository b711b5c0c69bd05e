"""The audit trail: kept in order through crashes, full disks and a repository that is away, and delivered whole over TLS syslog."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from node import audit, audit_trail
from node.arrivals import EVERY_S, Arrivals
from node.audit import Node, Peer
from node.audit_spool import AuditSpool
from node.audit_transport import AuditTransport, check, connect, rules_of
from node.errors import BetzError
from node.service import serve
from node.settings import Accept, Audit, Listener, Settings, Storage, Tls
from node.spool import Placed, Spool, Stored
from node.status import purge

ROOT = Path(__file__).parents[2]


@pytest.fixture
def soon(soon):
    """On a busy machine a disk may take its time to sync."""
    return lambda true: soon(true, 60.0)


@pytest.fixture
def sending(tmp_path):
    """A transport at work beside the test; it is stopped."""
    stop, threads = threading.Event(), []

    def start(rules: Audit) -> AuditTransport:
        transport = AuditTransport(rules, AuditSpool(tmp_path), settle_s=0.05, pauses_s=(0.05, 0.2))
        threads.append(threading.Thread(target=transport.serve, args=(stop,), daemon=True))
        threads[-1].start()
        return transport

    yield start
    stop.set()
    for thread in threads:
        thread.join(10)


def _refuse(*reasons: str) -> None:
    for reason in reasons:
        audit_trail.refused("192.0.2.66", reason, "STRANGER")


def _alerts(said) -> list[str]:
    return [text for one in said for text in one.alerts]


def test_nothing_is_kept_where_nobody_asked_for_it(trail, tmp_path):
    trail(Audit())
    _refuse("unknown")
    audit_trail.end()
    assert not (tmp_path / "audit").exists()


def test_messages_stay_in_their_order_and_only_for_the_eyes_of_the_node(trail, kept, tmp_path):
    trail()
    audit_trail.node_ran()
    audit_trail.settings_compared(Settings(storage=Storage(tmp_path, 0.0)))
    _refuse(*(str(number) for number in range(50)))
    audit_trail.end()
    assert _alerts(kept()) == [str(number) for number in range(50)]
    AuditSpool(tmp_path).mark_sent(AuditSpool(tmp_path).unsent())
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "audit", *(tmp_path / "audit").iterdir()])


def test_they_arrive_whole_and_in_order_and_leave_the_disk(trail, repository, sending, kept, soon, tmp_path):
    there = repository()
    trail(there.settings())
    sending(there.settings())
    _refuse("one", "two", "three ü日本 <&>")
    soon(lambda: len(there.said) == 3)
    assert _alerts(there.said) == ["one", "two", "three ü日本 <&>"]
    assert {(one.pri, one.id) for one in there.said} == {(84, "DICOM+RFC3881")}
    soon(lambda: AuditSpool(tmp_path).waiting()[0] == 0)
    audit_trail.end()
    AuditSpool(tmp_path).sweep()
    assert kept() == []


def test_a_repository_that_is_away_gets_everything_when_it_is_back(trail, repository, sending, events, soon):
    there = repository()
    trail(there.settings())
    sending(there.settings())
    _refuse("before")
    soon(lambda: _alerts(there.said) == ["before"])
    there.leave()
    _refuse("meanwhile 1", "meanwhile 2")
    soon(lambda: events("audit_repository_away"))
    there.come()
    soon(lambda: events("audit_repository_back"))
    assert list(dict.fromkeys(_alerts(there.said))) == ["before", "meanwhile 1", "meanwhile 2"]
    assert len(events("audit_repository_away")) == 1


def test_a_connection_that_breaks_in_the_middle_of_a_message_costs_none(trail, repository, sending, soon):
    there = repository()
    there.cut_after = 300
    trail(there.settings())
    _refuse("one", "two", "three")
    sending(there.settings())
    soon(lambda: len(there.said) >= 3)
    assert list(dict.fromkeys(_alerts(there.said))) == ["one", "two", "three"]


def test_a_restart_sends_what_waited_and_not_again_what_was_sent(trail, repository, soon, tmp_path):
    there = repository()
    trail(there.settings())
    _refuse("one")
    audit_trail.end()
    AuditTransport(there.settings(), AuditSpool(tmp_path), settle_s=0.05).step()
    trail(there.settings())
    _refuse("two")
    audit_trail.end()
    AuditTransport(there.settings(), AuditSpool(tmp_path), settle_s=0.05).step()
    soon(lambda: len(there.said) == 2)
    assert _alerts(there.said) == ["one", "two"]


def test_a_process_that_is_killed_loses_nothing_that_lay_on_the_disk(trail, kept, tmp_path):
    script = """
        import itertools, sys
        from pathlib import Path
        from node import audit
        from node.audit_spool import AuditSpool
        from node.audit_trail import framed
        node, spool = audit.Node("BETZ"), AuditSpool(Path(sys.argv[1]))
        for number in itertools.count():
            spool.append([framed(node, audit.now(), audit.alert(node, audit.now(), [audit.RESTRICTED_FUNCTION], str(number)))])
            print(number, flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    said = [child.stdout.readline() for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    last = int([*said, *child.stdout.read().splitlines()][-1])
    child.wait()
    found = [int(text) for text in _alerts(kept())]
    assert found == list(range(len(found))) and len(found) > last
    trail()
    _refuse("after")
    audit_trail.end()
    assert _alerts(kept())[-1] == "after"


@pytest.mark.parametrize("cut", [1, 3, 100, 700])
def test_half_a_message_at_the_end_of_a_file_is_passed_over(trail, kept, tmp_path, cut):
    trail()
    _refuse("one", "two")
    audit_trail.end()
    [path] = AuditSpool(tmp_path).files()
    os.truncate(path, path.stat().st_size - cut)
    trail()
    _refuse("three")
    audit_trail.end()
    assert _alerts(kept()) == ["one", "three"]


def test_a_repository_that_is_not_trusted_hears_nothing(trail, repository, tmp_path):
    there = repository()
    with pytest.raises(BetzError, match="is not trusted"):
        connect(replace(there.settings(), ca=None))
    with pytest.raises(BetzError, match="cannot be used"):
        connect(replace(there.settings(), ca=tmp_path / "none.pem"))


def test_a_repository_may_ask_for_the_certificate_of_the_node(trail, repository, sending, soon, tmp_path):
    there = repository(asks_for_certificate=True)
    mine = repository.authority.issue_cert("node.example.org")
    mine.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    trail(there.settings())
    _refuse("one")
    audit_trail.end()
    AuditTransport(there.settings(), AuditSpool(tmp_path), settle_s=0.3).step()
    soon(lambda: there.errors)
    assert AuditSpool(tmp_path).waiting()[0] == 1 and not there.said
    sending(there.settings(certificate=tmp_path / "node.pem"))
    soon(lambda: _alerts(there.said) == ["one"])


def test_a_trail_that_is_full_says_so_and_says_how_many_are_missing(trail, repository, kept, events, soon, tmp_path):
    there = repository()
    rules = there.settings(maximum_gib=20e3 / 2**30)
    trail(rules)
    _refuse(*(str(number) for number in range(100)))
    soon(lambda: events("audit_full"))
    audit_trail.end()
    alerts, kinds = _alerts(kept()), [one.kinds for one in kept()]
    assert alerts[-1] == "there is no room for more audit messages" and kinds[-1] == ["110133"]
    assert alerts[:-1] == [str(number) for number in range(len(alerts) - 1)]


def test_a_gap_begins_where_the_room_ends_however_many_came_at_once(tmp_path, kept):
    spool = AuditSpool(tmp_path, at_most_bytes=20_000)
    trail = audit_trail.Trail(Node("BETZ"), spool)
    messages = [audit_trail.framed(trail.node, audit.now(), audit.alert(trail.node, audit.now(), [audit.RESTRICTED_FUNCTION], str(number)))
                for number in range(100)]
    trail._write(messages[:1])
    trail._write(messages[1:99])
    trail._write(messages[99:])
    trail.close()
    alerts = _alerts(kept())
    assert len(alerts) > 10 and alerts == [*(str(number) for number in range(len(alerts) - 1)), "there is no room for more audit messages"]


def test_room_again_ends_the_gap(tmp_path, kept, soon, events):
    spool = AuditSpool(tmp_path, at_most_bytes=4000)
    trail = audit_trail.Trail(Node("BETZ"), spool)

    def say(text):
        trail.keep(lambda: audit.alert(trail.node, audit.now(), [audit.RESTRICTED_FUNCTION], text), audit.now())

    for number in range(20):
        say(str(number))
    soon(lambda: events("audit_full"))
    spool.at_most_bytes = 10**6
    say("after")
    trail.close()
    alerts = _alerts(kept())
    lost = next(text for text in alerts if text.endswith("audit messages were lost"))
    written = [text for text in alerts if text.isdigit()]
    assert int(lost.split()[0]) + len(written) == 20 and alerts[-1] == "after"


def test_a_file_that_was_just_begun_is_not_swept(tmp_path):
    (tmp_path / "audit").mkdir()
    new, old, cut = (tmp_path / "audit" / f"{number:020d}.1.frames" for number in (1, 2, 3))
    for path in (new, old):
        path.touch()
    cut.write_bytes(b"300 half a mess")
    os.utime(old, (0, 0))
    AuditSpool(tmp_path).sweep()
    assert AuditSpool(tmp_path).files() == [new]


def test_a_clock_that_is_put_back_changes_no_order(tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / f"{2**62:020d}.1.frames").write_bytes(b"3 one")
    spool = AuditSpool(tmp_path)
    assert spool.append([b"two"])
    assert [frame for _, _, frame in spool.unsent()] == [b"3 one", b"3 two"]
    spool.close()


def test_what_was_sent_makes_room_and_what_was_not_stays(tmp_path):
    spool = AuditSpool(tmp_path, at_most_bytes=100)
    assert spool.append([b"a" * 60])
    assert not spool.append([b"b" * 60])
    spool.mark_sent(spool.unsent())
    spool.close()
    assert spool.append([b"b" * 60])
    assert [frame for _, _, frame in spool.unsent()] == [b"60 " + b"b" * 60]


def test_a_disk_that_takes_nothing_is_asked_again(tmp_path, kept, soon, events):
    (tmp_path / "audit").write_text("a file where the folder should be")
    trail = audit_trail.Trail(Node("BETZ"), AuditSpool(tmp_path))
    trail.keep(lambda: audit.activity(trail.node, audit.now(), audit.APPLICATION_START), audit.now())
    soon(lambda: events("audit_failed"))
    (tmp_path / "audit").unlink()
    soon(kept)
    trail.close()
    assert [one.event for one in kept()] == ["110100"] and events("audit_works_again")


def test_a_message_that_cannot_be_made_costs_no_other(trail, kept, events):
    trail()
    audit_trail._trail.keep(lambda: 1 / 0, audit.now())
    _refuse("one")
    audit_trail.end()
    assert _alerts(kept()) == ["one"] and "ZeroDivisionError" in events("audit_failed")[0]["reason"]


def test_old_messages_go_when_the_days_are_over(trail, kept, tmp_path):
    trail()
    _refuse("one")
    audit_trail.end()
    spool = AuditSpool(tmp_path, keep_days=1.0, is_sent=False)
    spool.sweep()
    assert len(kept()) == 1
    for path in spool.files():
        os.utime(path, (0, 0))
    AuditSpool(tmp_path, keep_days=1.0, is_sent=True).sweep()
    assert len(kept()) == 1, "it was not sent yet"
    spool.sweep()
    assert kept() == []


# what is told

def test_an_association_is_told_by_study_and_by_what_became_of_it(trail, kept, node, call, mr):
    trail()
    listener = node()
    association = call(listener)
    for ds in (mr("1.2.3", 1), mr("1.2.3", 2), mr("1.2.4", 1, PatientID="OTHER"), mr("1.2.3", 1), mr("1.2.3", 1, seed=1)):
        assert association.send_c_store(ds).Status == 0
    association.release()
    listener.stop()
    audit_trail.end()
    told = {(one.objects["110180"], one.action, one.outcome): (one.objects["2"], sum(one.classes.values())) for one in kept()}
    assert told == {("1.2.3", "C", "0"): ("SECRET1", 2), ("1.2.4", "C", "0"): ("OTHER", 1), ("1.2.3", "R", "0"): ("SECRET1", 1),
                    ("1.2.3", "C", "4"): ("SECRET1", 1)}
    assert all("Secret" not in str(one) and "19600101" not in str(one) for one in kept())


def test_refused_callers_are_alerts_with_the_reason(trail, kept, node, call):
    trail()
    listener = node(associations_at_once=1)
    assert call(listener, title="OTHER").is_rejected
    first = call(listener)
    assert call(listener).is_rejected
    first.release()
    listener.stop()
    audit_trail.end()
    told = {(one.kinds[0], one.alerts[0].split(" (")[0], one.objects["110182"]) for one in kept() if one.event == "110113"}
    assert told == {("110126", "the called AE title is not the title of this node", "127.0.0.1"),
                    ("110132", "as many associations as allowed are open", "127.0.0.1")}


def test_a_certificate_that_is_not_believed_is_an_alert_about_who_asks_and_a_port_scan_is_none(trail, kept, node, certified, raw_peer):
    trail()
    listener, context = node(tls=certified(), accept=(Accept("SCANNER", "127.0.0.1", "scanner"),)), ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw_peer(listener.port).socket.close()
    peer = raw_peer(listener.port)
    peer.socket = context.wrap_socket(peer.socket)
    with contextlib.suppress(OSError):
        peer.send(b"x").answer()
    other = certified("other")
    context.load_cert_chain(other.certificate, other.key)
    peer = raw_peer(listener.port)
    peer.socket = context.wrap_socket(peer.socket)
    assert peer.send(raw_peer.module.request()).answer()[0] == 3
    listener.stop()
    audit_trail.end()
    told = [(one.kinds[0], one.alerts[0].split(" (")[0]) for one in kept() if one.event == "110113"]
    assert told == [("110126", "no TLS: it showed no certificate"),
                    ("110126", "this caller is bound to another certificate than the one that it showed")]


def test_results_are_told_by_study_and_destination(trail, kept, site, pacs):
    peer, _ = pacs(statuses=[0xC000])
    trail()
    site.answer(peer)
    site.sender(peer).step()
    audit_trail.end()
    assert all((one.roles["110152"].get("AlternativeUserID"), one.objects["2"]) == ("AETITLES=PACS", "SECRET1") for one in kept())
    told = [(one.event, one.outcome, sum(one.classes.values())) for one in kept()]
    assert told == [("110102", "0", 2), ("110104", "8", 1), ("110104", "0", 1)]
    site.journal.close()


def test_a_long_association_is_told_every_minute(trail, kept, tmp_path):
    now = [0.0]
    trail()
    arrivals = Arrivals(Peer("SCANNER", "127.0.0.1"), Spool(tmp_path), lambda: now[0])
    for number in range(10):
        now[0] += EVERY_S / 4
        arrivals.add(Stored("1.2.3", f"1.2.3.{number}", Placed.NEW), "1.2")
    arrivals.tell()
    arrivals.tell()
    audit_trail.end()
    assert [sum(one.classes.values()) for one in kept()] == [4, 4, 2]


def test_a_node_that_was_killed_says_so_in_the_trail(trail, kept):
    for ends_well in (True, False, True):
        trail()
        audit_trail.node_ran()
        if ends_well:
            audit_trail.node_stopped()
    audit_trail.end()
    assert [(one.event, one.kinds) for one in kept()] == [("110100", ["110121"]), ("110113", ["110134"]), ("110100", ["110121"])]


def test_settings_that_changed_are_told_by_table(trail, kept, tmp_path):
    settings = replace(trail(), source=tmp_path / "betz.toml")
    audit_trail.settings_compared(settings)
    audit_trail.settings_compared(settings)
    audit_trail.settings_compared(replace(settings, listener=Listener(port=4711), study=replace(settings.study, quiet_s=5.0)))
    audit_trail.end()
    [one] = kept()
    assert one.alerts == ["the settings differ from those of the last start in: listener, study"]
    assert one.kinds == ["110128", "110131"] and one.objects["12"].endswith("/betz.toml") and "4711" not in one.alerts[0]


def test_an_example_that_cannot_be_read_still_counts(trail, kept, tmp_path):
    trail()
    audit_trail.arrived("SCANNER", "127.0.0.1", "1.2.3", audit.CREATE, {"1.2": 1}, tmp_path / "gone.dcm")
    audit_trail.end()
    assert kept()[0].objects == {"110180": "1.2.3", "2": "<none>"}


def test_a_conflict_whose_file_was_removed_meanwhile_is_told_all_the_same(trail, kept, tmp_path):
    trail()
    arrivals = Arrivals(Peer("SCANNER", "127.0.0.1"), Spool(tmp_path))
    arrivals.add(Stored("1.2.3", "1.2.3.4", Placed.CONFLICT), "1.2")
    arrivals.tell()
    audit_trail.end()
    assert (kept()[0].outcome, kept()[0].objects["2"]) == ("4", "<none>")


def test_a_person_who_removes_a_study_is_told(trail, kept, site, tmp_path):
    settings = trail()
    site.answer()
    site.journal.move("1.2.3.4", ("answered",), "delivered")
    audit_trail.end()
    assert purge(settings, 0)[0].startswith("1 studies removed")
    [one] = kept()
    assert (one.event, one.action, one.objects) == ("110105", "D", {"110180": "1.2.3.4", "2": "SECRET1"})
    site.journal.close()


def test_a_node_tells_when_it_starts_and_stops_and_the_repository_hears_both(repository, soon, tmp_path):
    there, stop, started = repository(), threading.Event(), threading.Event()
    settings = Settings(audit=there.settings(), storage=Storage(tmp_path, 0.0), listener=Listener(port=0))
    thread = threading.Thread(target=serve, args=(settings, stop, lambda port: started.set()))
    thread.start()
    assert started.wait(30)
    soon(lambda: [one.kinds for one in there.said] == [["110120"]])
    stop.set()
    thread.join(30)
    assert [one.kinds for one in there.said] == [["110120"], ["110121"]] and AuditSpool(tmp_path).waiting()[0] == 0


def test_the_check_says_what_waits_and_whether_the_repository_can_be_trusted(trail, repository, tmp_path):
    there = repository()
    settings = trail(there.settings())
    _refuse("one", "two")
    audit_trail.end()
    assert "answers and is trusted; 2 messages wait for it" in check(settings)
    full = replace(settings, audit=there.settings(maximum_gib=3e3 / 2**30))
    with pytest.raises(BetzError, match="there is room for"):
        check(full)
    with pytest.raises(BetzError, match=r"is not trusted: .*; 2 messages wait"):
        check(replace(settings, audit=replace(there.settings(), ca=None)))
    there.leave()
    with pytest.raises(BetzError, match="cannot be reached"):
        check(settings)
    assert "no repository is configured" in check(replace(settings, audit=Audit()))
    assert "for 30 days" in check(replace(settings, audit=Audit(keep_days=30)))


def test_the_certificates_of_the_node_serve_here_too_unless_others_are_named(repository, tmp_path):
    there = repository(asks_for_certificate=True)
    repository.authority.issue_cert("node.example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    tls = Tls(tmp_path / "node.pem", tmp_path / "node.pem", tmp_path / "ca.pem")
    settings = Settings(audit=Audit(host="127.0.0.1", port=there.port), tls=tls, storage=Storage(tmp_path, 0.0))
    assert "answers and is trusted" in check(settings)
    named = replace(settings, audit=replace(settings.audit, ca=tmp_path / "other.pem", certificate=tmp_path / "own.pem"))
    assert rules_of(named) == named.audit
