"""Proof of delivery against real peers: storage commitment over the same and another association, C-FIND, and what purge makes of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from node.association import IMPLICIT, associated
from node.commitment import SOP_CLASS, SOP_INSTANCE, STRANGE_AT_MOST, request, services
from node.journal import Journal
from node.listener import listen
from node.query import STUDY_ROOT_FIND
from node.records import ANSWERED, ARRIVED, DELIVERED, PARKED, PENDING, PROVEN, STORED
from node.service import JOURNAL, serve
from node.settings import Destination, Listener, Settings, Storage
from node.status import purge, status_lines, why_lines

STUDY, MR, SECONDARY = "1.2.3.4", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"


class Archive:
    """A peer that takes objects and can be told what to say of them. `requests` are the N-ACTION data sets that came."""

    def __init__(self, start, reports=True, commitment=True, find=False):
        self.received, self.requests, self.failures, self.hidden, self.action_status = [], [], {}, set(), 0x0000
        self.reports, self.answers, self.asked = reports, [], threading.Event()
        ae = AE("PACS")
        for sop_class in ("1.2.840.10008.1.1", MR, SECONDARY, *[SOP_CLASS][:commitment], *[STUDY_ROOT_FIND][:find]):
            ae.add_supported_context(sop_class)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._asked), (evt.EVT_DIMSE_SENT, self._sent),
                    (evt.EVT_C_FIND, self._find)]
        self.server = start(ae, handlers=handlers)
        self.peer = Destination("pacs", "PACS", "127.0.0.1", self.server.server_address[1], commitment=commitment, query=find)

    def stop(self):
        if self.server.ae._servers:
            self.server.shutdown()

    def _store(self, event):
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def _asked(self, event):
        assert (event.request.RequestedSOPInstanceUID, event.action_type) == (SOP_INSTANCE, 1)
        self.requests.append(event.action_information)
        self.asked.set()
        return self.action_status, None

    def _sent(self, event):
        if self.reports and self.action_status == 0x0000 and type(event.message).__name__ == "N_ACTION_RSP":
            threading.Thread(target=self._report_over, args=(event.assoc,)).start()

    def _report_over(self, association):
        report = self.report()
        kind = 2 if "FailedSOPSequence" in report else 1
        status, _ = association.send_n_event_report(report, kind, SOP_CLASS, SOP_INSTANCE)
        self.answers.append(status.get("Status"))

    def report(self, request=-1):
        """What the archive says of the objects of that request."""
        asked, report = self.requests[request], Dataset()
        report.TransactionUID, report.ReferencedSOPSequence, failed = asked.TransactionUID, [], []
        for item in asked.ReferencedSOPSequence:
            if failure := self.failures.get(item.ReferencedSOPInstanceUID):
                item.FailureReason = failure
                failed.append(item)
            else:
                report.ReferencedSOPSequence.append(item)
        if failed:
            report.FailedSOPSequence = failed
        return report

    def call(self, port, report, title="PACS", role=True):
        """Report over an association of its own; the status that the node answers."""
        ae = AE(title)
        ae.add_requested_context(SOP_CLASS)
        roles = [build_role(SOP_CLASS, scp_role=True)] if role else []
        association = ae.associate("127.0.0.1", port, ae_title="BETZ", ext_neg=roles)
        assert association.is_established and association.accepted_contexts
        if not role:  # as peers do that forget to negotiate
            association.accepted_contexts[0]._as_scp = True
        status, _ = association.send_n_event_report(report, 1, SOP_CLASS, SOP_INSTANCE)
        association.release()
        return status.Status

    def _find(self, event):
        wanted = event.identifier
        assert (wanted.QueryRetrieveLevel, wanted.StudyInstanceUID) == ("IMAGE", STUDY)
        for uid in self.received:
            if uid not in self.hidden:
                match = Dataset()
                match.SOPInstanceUID, match.QueryRetrieveLevel = uid, "IMAGE"
                yield 0xFF00, match


@pytest.fixture
def archive(peer_server):
    started = []

    def start(**how):
        started.append(Archive(peer_server, **how))
        return started[-1]
    yield start
    for one in started:
        one.stop()


@pytest.fixture
def listening(site, tmp_path):
    """The node's own listener, which hears reports for a sender."""
    open_ones = []

    def start(sender):
        settings = Settings(listener=Listener(port=0), storage=Storage(tmp_path, 0.0))
        open_ones.append(listen(settings, site.spool, site.journal.stored, services(sender.hear)))
        return open_ones[-1].port
    yield start
    for one in open_ones:
        one.stop()


def test_a_report_over_the_same_association_proves_the_answer(site, archive, mr):
    pacs = archive()
    site.answer(pacs.peer)
    site.sender(pacs.peer, patience_s=10.0).step()
    assert set(site.states().values()) == {PROVEN} and "committed" in site.reason(PROVEN) and pacs.answers == [0x0000]
    assert site.journal.study(STUDY).state == DELIVERED
    asked = {(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in pacs.requests[0].ReferencedSOPSequence}
    assert asked == {(MR, mr(number=7).SOPInstanceUID), (SECONDARY, mr(number=8).SOPInstanceUID)} and len(pacs.requests) == 1


def test_a_report_is_answered_before_the_association_is_released(archive, soon):
    """Whoever waits for the report sees it while it is still being served."""
    pacs, is_heard, heard = archive(), threading.Event(), []

    def hear(report, title):
        heard.append((report.transaction, title))
        is_heard.set()
        time.sleep(0.5)
        return True

    request(pacs.peer, "BETZ", "1.2.3", [(MR, "1.2.3.8")], hear, 10.0, 10.0, is_heard.is_set)
    soon(lambda: pacs.answers == [0x0000])
    assert heard == [("1.2.3", "PACS")]


def test_a_turn_comes_though_a_report_is_being_served(archive, soon):
    """The library serves it in a thread of its own, which says at its end that nobody sleeps: a sender would wait for ever."""
    pacs, begun, goes_on = archive(), threading.Event(), threading.Event()

    def hear(event):
        begun.set()
        goes_on.wait(10.0)
        return 0x0000, None

    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = "1.2.3", [Dataset()]
    asked.ReferencedSOPSequence[0].ReferencedSOPClassUID, asked.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = MR, "1.2.3.8"
    with associated(pacs.peer, "BETZ", [(SOP_CLASS, IMPLICIT)], 10.0, [(evt.EVT_N_EVENT_REPORT, hear)]) as association:
        association.send_n_action(asked, 1, SOP_CLASS, SOP_INSTANCE)
        assert begun.wait(10.0)
        turn = threading.Thread(target=association._reactor_checkpoint.clear)
        turn.start()
        turn.join(0.3)  # it must wait
        goes_on.set()
        turn.join(10.0)
        soon(lambda: pacs.answers == [0x0000])
        time.sleep(0.2)  # the library says it after the answer
        assert association._is_paused
        association._reactor_checkpoint.set()


@pytest.mark.parametrize("role", [True, False], ids=["with role selection", "without"])
def test_a_report_over_an_association_that_the_archive_opens(site, archive, listening, role):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    assert set(site.states().values()) == {STORED} and site.journal.study(STUDY).state == ANSWERED
    assert "2 objects are stored at pacs, which has not yet proven" in " ".join(status_lines(site.settings(pacs.peer)))
    assert "its proof was asked for 1 times" in " ".join(why_lines(site.settings(pacs.peer), STUDY))
    assert purge(site.settings(pacs.peer), 0)[0].startswith("0 studies removed")
    port = listening(sender)
    assert pacs.call(port, pacs.report(), role=role) == 0x0000
    assert set(site.states().values()) == {PROVEN} and site.journal.study(STUDY).state == DELIVERED
    assert pacs.call(port, pacs.report()) == 0x0000, "the same report again changes nothing"
    assert purge(site.settings(pacs.peer), 0)[0].startswith("1 studies removed")


def test_the_service_asks_and_hears(site, archive):
    """The whole node: its sender asks, its listener hears the report."""
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    stop, started, ports = threading.Event(), threading.Event(), []
    settings = replace(site.settings(pacs.peer), listener=Listener(port=0))
    thread = threading.Thread(target=serve, args=(settings, stop, lambda port: (ports.append(port), started.set())))
    thread.start()
    try:
        assert started.wait(20) and pacs.asked.wait(20)
        assert pacs.call(ports[0], pacs.report()) == 0x0000
    finally:
        stop.set()
        thread.join(20)
    assert set(site.states().values()) == {PROVEN} and site.journal.study(STUDY).state == DELIVERED


def test_a_report_that_was_not_asked_for_proves_nothing(site, archive, listening):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    port, report = listening(sender), pacs.report()
    assert pacs.call(port, report, title="STRANGER") == 0x0110
    report.TransactionUID = "1.2.3"
    assert pacs.call(port, report) == 0x0110
    del report.TransactionUID
    assert pacs.call(port, report) == 0x0110 and set(site.states().values()) == {STORED}


def test_an_association_that_brings_only_strange_reports_is_ended(site, archive, listening, events, soon):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    report = pacs.report()
    report.TransactionUID = "1.2.3"
    ae = AE("PACS")
    ae.dimse_timeout = 5
    ae.add_requested_context(SOP_CLASS)
    port = listening(sender)
    association = ae.associate("127.0.0.1", port, ae_title="BETZ", ext_neg=[build_role(SOP_CLASS, scp_role=True)])
    answers = [association.send_n_event_report(report, 1, SOP_CLASS, SOP_INSTANCE)[0].get("Status") for _ in range(STRANGE_AT_MOST)]
    assert answers[:-1] == [0x0110] * (STRANGE_AT_MOST - 1) and answers[-1] in (0x0110, None)
    soon(lambda: not association.is_established)
    assert len(events("commitment_unknown")) == STRANGE_AT_MOST and "20 of its reports" in events("association_aborted")[0]["reason"]
    assert pacs.call(port, pacs.report()) == 0x0000 and set(site.states().values()) == {PROVEN}, "the right one is still heard"


def test_only_what_is_named_as_committed_is_proven(site, archive, listening):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    report = pacs.report()
    report.ReferencedSOPSequence = report.ReferencedSOPSequence[:1]
    assert pacs.call(listening(sender), report) == 0x0000
    assert sorted(site.states().values()) == [PROVEN, STORED]
    site.now += 10.0
    sender.step()
    assert len(pacs.requests) == 2 and len(pacs.requests[1].ReferencedSOPSequence) == 1, "the other is asked for again"


def test_what_is_not_committed_is_sent_again_and_only_that(site, archive, mr):
    pacs = archive()
    lost = mr(number=8).SOPInstanceUID
    pacs.failures = {lost: 0x0112}
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer, patience_s=10.0)
    sender.step()
    assert site.states() == {"a.dcm": PROVEN, "b.dcm": PENDING} and "no such object there (0112)" in site.reason(PENDING)
    assert sender.step() == 0, "not at once"
    pacs.failures = {}
    site.now += 60.0
    sender.step()
    assert set(site.states().values()) == {PROVEN} and pacs.received.count(lost) == 2 and len(pacs.received) == 3
    assert len(pacs.requests) == 2 and pacs.requests[0].TransactionUID != pacs.requests[1].TransactionUID


def test_what_will_never_be_committed_is_parked(site, archive, mr):
    pacs = archive()
    pacs.failures = {mr(number=8).SOPInstanceUID: 0x0122}
    site.answer(pacs.peer)
    site.sender(pacs.peer, patience_s=10.0).step()
    assert site.states() == {"a.dcm": PROVEN, "b.dcm": PARKED} and site.journal.study(STUDY).state == PARKED
    assert "does not commit itself: SOP class not supported (0122)" in " ".join(why_lines(site.settings(pacs.peer), STUDY))


def test_without_a_report_it_is_asked_again_and_a_late_one_counts(site, archive, listening):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer, proof_wait_s=100.0)
    sender.step()
    site.now += 99.0
    sender.step()
    assert len(pacs.requests) == 1
    site.now += 1.0
    sender.step()
    assert len(pacs.requests) == 2
    assert pacs.call(listening(sender), pacs.report(request=0)) == 0x0000, "the report on the first request"
    assert set(site.states().values()) == {PROVEN}


def test_a_request_by_a_clock_that_was_ahead_is_made_again(site, archive):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    site.now += 365 * 86400.0
    site.sender(pacs.peer).step()
    site.now = 2000.0
    for _ in range(3):
        site.sender(pacs.peer).step()
    assert len(pacs.requests) == 2, "once, not at every step"
    site.now, pacs.reports = 3000.0, True
    site.sender(pacs.peer, patience_s=10.0).step()
    assert set(site.states().values()) == {PROVEN}


def test_a_node_that_was_restarted_meanwhile_hears_the_report(site, archive, listening, tmp_path):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    site.sender(pacs.peer).step()
    site.journal.close()
    site.journal = Journal(tmp_path / JOURNAL, lambda: site.now)
    after = site.sender(pacs.peer)
    after.step()
    assert len(pacs.requests) == 1, "the request that is under way is known"
    assert pacs.call(listening(after), pacs.report()) == 0x0000 and set(site.states().values()) == {PROVEN}


def test_without_any_report_it_is_parked_in_the_end_and_resend_begins_anew(site, archive):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer, give_up_h=1.0)
    sender.step()
    site.now += 3601.0
    sender.step()
    assert set(site.states().values()) == {PARKED} and "not proven in 1 hours" in site.reason(PARKED)
    assert site.journal.resend(STUDY) == 2
    sender.step()
    assert set(site.states().values()) == {STORED} and len(pacs.requests) == 2 and len(pacs.received) == 4


def test_a_request_that_is_refused_for_now_is_made_again(site, archive):
    pacs = archive()
    pacs.action_status = 0x0213
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    assert "status 0213" in " ".join(why_lines(site.settings(pacs.peer), STUDY)) and set(site.states().values()) == {STORED}
    pacs.action_status, sender.patience_s = 0x0000, 10.0
    site.now += 5.0
    sender.step()
    assert set(site.states().values()) == {PROVEN}


def test_nothing_is_asked_before_every_object_is_stored(site, archive, mr):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    late = site.journal.due("pacs")[1]
    site.journal.sent(late, PENDING, "out of resources", site.now + 50.0)
    sender = site.sender(pacs.peer)
    sender.step()
    assert sorted(site.states().values()) == [PENDING, STORED] and pacs.requests == []
    site.now += 50.0
    sender.step()
    assert len(pacs.requests) == 1 and len(pacs.requests[0].ReferencedSOPSequence) == 2


def test_where_commitment_is_not_offered_c_find_is_the_proof_or_nothing(site, archive):
    pacs = archive(commitment=False, find=True)
    asking = replace(pacs.peer, commitment=True, query=False)
    site.answer(asking)
    site.sender(asking).step()
    assert set(site.states().values()) == {PARKED} and "does not offer storage commitment" in site.reason(PARKED)
    site.journal.resend(STUDY)
    site.sender(replace(asking, query=True)).step()
    assert set(site.states().values()) == {PROVEN} and "found by C-FIND" in site.reason(PROVEN)


def test_what_c_find_does_not_find_is_looked_for_again_then_sent_again(site, archive, mr):
    pacs = archive(commitment=False, find=True)
    lost = mr(number=8).SOPInstanceUID
    pacs.hidden = {lost}
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer)
    sender.step()
    assert site.states() == {"a.dcm": PROVEN, "b.dcm": STORED}
    assert "does not find 1 of 2" in " ".join(why_lines(site.settings(pacs.peer), STUDY))
    for _ in range(2):
        site.now += 60.0
        sender.step()
    assert site.states()["b.dcm"] == PENDING and "C-FIND does not find it" in site.reason(PENDING)
    pacs.hidden = set()
    site.now += 60.0
    sender.step()
    assert set(site.states().values()) == {PROVEN} and pacs.received.count(lost) == 2


def test_a_peer_that_goes_away_before_the_proof_is_asked_when_it_is_back(site, archive):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    sender = site.sender(pacs.peer, proof_wait_s=10.0)
    sender.step()
    pacs.stop()
    for _ in range(4):
        site.now += 4000.0
        sender.step()
    assert "pacs is away" in " ".join(status_lines(site.settings(pacs.peer))) and set(site.states().values()) == {STORED}
    back = archive()
    site.now += 4000.0
    site.sender(back.peer, patience_s=10.0).step()
    assert set(site.states().values()) == {PROVEN} and "pacs is away" not in " ".join(status_lines(site.settings(back.peer)))


def test_a_study_that_was_delivered_before_a_proof_was_asked_for_is_not_purged(site, archive):
    pacs = archive()
    plain = replace(pacs.peer, commitment=False)
    site.answer(plain)
    site.sender(plain).step()
    assert set(site.states().values()) == {DELIVERED}
    said = purge(site.settings(pacs.peer), 0)
    assert said[0].startswith("0 studies removed") and "before a proof was asked for" in said[-1]
    assert purge(site.settings(plain), 0)[0].startswith("1 studies removed")


def test_where_a_proof_is_no_longer_asked_for_what_is_stored_is_delivered(site, archive):
    pacs = archive(reports=False)
    site.answer(pacs.peer)
    site.sender(pacs.peer).step()
    site.sender(replace(pacs.peer, commitment=False)).step()
    assert set(site.states().values()) == {DELIVERED} and site.journal.study(STUDY).state == DELIVERED


def test_no_patient_data_in_the_log(site, archive, mr, capsys):
    pacs = archive()
    pacs.failures = {mr(number=8).SOPInstanceUID: 0x0110}
    site.answer(pacs.peer)
    site.sender(pacs.peer, patience_s=10.0).step()
    written = "".join(capsys.readouterr())
    assert "commitment_asked" in written and "commitment_reported" in written and "result_proven" in written
    assert "SECRET" not in written.upper() and set(site.states().values()) <= {*ARRIVED, PENDING}
