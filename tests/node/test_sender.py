from __future__ import annotations

import time
from collections import Counter

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from node.association import VERIFICATION, associated, echo
from node.delivery import wait_s
from node.errors import BetzError, DeliveryError, RefusedError
from node.records import ANSWERED, DELIVERED, PARKED, PENDING, UNSUPPORTED
from node.settings import Destination
from node.settings import Sender as Rules
from node.storage import deliver, send_folder

MR, SECONDARY, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.66.4"
STUDY = "1.2.3.4"


def test_the_kept_bytes_are_what_arrives(site, pacs, encoded, mr):
    peer, received = pacs()
    site.answer(peer)
    site.sender(peer).step()
    assert site.states() == {"a.dcm": DELIVERED, "b.dcm": DELIVERED} and site.journal.study(STUDY).state == DELIVERED
    assert {uid: data for uid, _, data in received}[mr(number=7).SOPInstanceUID] == encoded(mr(number=7))
    assert site.sender(peer).step() == 0


def test_a_refused_class_costs_its_own_objects_only(site, pacs):
    peer, received = pacs(classes=(MR,))
    site.answer(peer)
    site.sender(peer).step()
    assert site.states() == {"a.dcm": DELIVERED, "b.dcm": PARKED} and len(received) == 1
    assert "does not accept Secondary Capture" in site.reason(PARKED) and site.journal.study(STUDY).state == PARKED


def test_a_peer_that_accepts_no_class_at_all(site, pacs):
    peer, _ = pacs(classes=(SEGMENTATION,))
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {PARKED}


def test_a_peer_that_takes_implicit_only_gets_it(site, pacs, encoded, mr):
    peer, received = pacs(syntaxes=(ImplicitVRLittleEndian,))
    site.answer(peer)
    site.sender(peer).step()
    assert {syntax for _, syntax, _ in received} == {ImplicitVRLittleEndian} and set(site.states().values()) == {DELIVERED}


def test_out_of_resources_is_tried_again_twice_as_late_each_time(site, pacs):
    peer, _ = pacs(statuses=(0xA700, 0xA701, 0x0000))
    site.answer(peer)
    sender = site.sender(peer, retry_first_s=10.0)
    sender.step()
    assert site.states() == {"a.dcm": PENDING, "b.dcm": PENDING} and "A700" in site.reason(PENDING)
    assert sender.step() == 0
    site.now += 10
    assert sender.step() == 2 and Counter(site.states().values()) == {DELIVERED: 2}
    assert [wait_s(sender.rules, attempts, 0.0) for attempts in (0, 1, 2, 3, 100)] == [10.0, 20.0, 40.0, 80.0, 3600.0]


def test_waits_are_shortened_by_chance():
    assert wait_s(Rules(), 0, 1.0) == 2.5 and wait_s(Rules(), 100, 0.5) == 2700.0


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC123, 0x0122])
def test_a_refusal_for_good_is_parked_with_its_reason_and_sent_again_when_asked(site, pacs, status):
    peer, _ = pacs(statuses=(status, status))
    site.answer(peer)
    sender = site.sender(peer)
    sender.step()
    assert set(site.states().values()) == {PARKED} and f"{status:04X}" in site.reason(PARKED) and sender.step() == 0
    assert site.journal.resend(STUDY) == 2
    sender.step()
    assert set(site.states().values()) == {DELIVERED} and site.journal.study(STUDY).state == DELIVERED


STATUSES = {  # PS3.4 table B.2-1, PS3.7 annex C: what each class of status makes of an object
    0x0000: DELIVERED, 0x0001: DELIVERED, 0x0107: DELIVERED, 0x0111: DELIVERED, 0x0116: DELIVERED,
    0xB000: DELIVERED, 0xB006: DELIVERED, 0xB007: DELIVERED, 0xB123: DELIVERED,
    0xA700: PENDING, 0xA701: PENDING, 0xA7FF: PENDING, 0x0110: PENDING, 0x0213: PENDING, 0xFE00: PENDING,
    0xA900: PARKED, 0xA9FF: PARKED, 0xC000: PARKED, 0xC123: PARKED, 0xCFFF: PARKED, 0x0105: PARKED, 0x0106: PARKED, 0x0112: PARKED,
    0x0117: PARKED, 0x0122: UNSUPPORTED, 0x0124: PARKED, 0x0210: PARKED, 0x0211: PARKED, 0x0212: PARKED,
}  # fmt: skip


def test_every_class_of_status_has_its_meaning(site, pacs, mr):
    """One object for each status; what may pass is tried again, and nothing else."""
    peer, received = pacs(statuses=sorted(STATUSES))
    site.answer(peer, objects={f"{status:04X}": mr(number=status) for status in STATUSES})
    site.sender(peer).step()
    assert site.states() == {f"{status:04X}.dcm": state for status, state in STATUSES.items()} and received == []
    assert all(row.file[:4] in row.reason for row in site.journal.results_of(STUDY) if row.file != "0000.dcm")
    site.now += 3600.0
    assert site.sender(peer).step() == len(received) == Counter(STATUSES.values())[PENDING]
    assert site.states()["0122.dcm"] == PARKED, "nothing stands for it, now that all else is decided"


def test_a_warning_is_delivered(site, pacs):
    peer, _ = pacs(statuses=(0xB000, 0xB006))
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {DELIVERED} and "B000" in site.reason(DELIVERED)


def test_one_that_is_down_holds_no_other_and_is_given_up_in_the_end(site, pacs):
    peer, _ = pacs()
    down = Destination("archive", "ARCHIVE", "127.0.0.1", 9)
    site.answer(peer, down)
    site.sender(down, give_up_h=1.0).step()
    site.sender(peer).step()
    assert set(site.states().values()) == {DELIVERED} and set(site.states("archive").values()) == {PENDING}
    assert "cannot be reached" in site.reason(PENDING) and site.journal.study(STUDY).state == ANSWERED
    site.now += 3601
    site.sender(down, give_up_h=1.0).step()
    assert set(site.states("archive").values()) == {PARKED} and "given up after 1 hours" in site.reason(PARKED)


def test_a_rejected_association_is_parked(site, pacs):
    peer, _ = pacs(title="OTHER")
    wrong = Destination("pacs", "PACS", peer.host, peer.port)
    site.answer(wrong)
    site.sender(wrong).step()
    assert set(site.states().values()) == {PARKED} and "called ae title not recognised" in site.reason(PARKED).lower()


def test_a_result_of_another_patient_never_leaves(site, pacs, mr):
    peer, received = pacs()
    site.answer(peer, objects={"a": mr(number=7), "b": mr(number=8, PatientID="OTHER", PatientName="Some^Body")})
    site.sender(peer).step()
    assert site.states() == {"a.dcm": DELIVERED, "b.dcm": PARKED} and len(received) == 1
    assert "PatientID, PatientName" in site.reason(PARKED) and "Some^Body" not in site.reason(PARKED)


def test_an_object_that_is_gone_is_parked(site, pacs):
    peer, _ = pacs()
    kept = site.answer(peer)
    site.outbox.path_of(STUDY, kept.name, "a.dcm").unlink()
    site.sender(peer).step()
    assert site.states() == {"a.dcm": PARKED, "b.dcm": DELIVERED} and "gone" in site.reason(PARKED)


def test_what_the_peer_comments_is_said_unless_it_names_the_patient(site, pacs):
    statuses = [Dataset(), Dataset()]
    statuses[0].Status = statuses[1].Status = 0xA900
    statuses[0].ErrorComment, statuses[1].ErrorComment = "wrong study of secret1", "wrong study"
    peer, _ = pacs(statuses=statuses)
    site.answer(peer)
    site.sender(peer).step()
    first, second = (row.reason for row in site.journal.results_of(STUDY, PARKED))
    assert first.endswith("(its comment names the patient and is left out)") and second.endswith("(wrong study)")
    assert all("A900, data set does not match sop class" in reason for reason in (first, second))


def test_no_patient_data_in_the_log(site, pacs, capsys):
    peer, _ = pacs(statuses=(0xC000,))
    site.answer(peer)
    site.sender(peer).step()
    written = "".join(capsys.readouterr())
    assert "result_parked" in written and "result_delivered" in written and "SECRET" not in written.upper()


def test_no_answer_is_lost_to_the_thread_of_the_association(pacs, monkeypatch):
    """The library marks that thread as awake a moment after it was woken; here that moment lasts until an answer has come."""
    get = DIMSEServiceProvider.get_msg

    def late(dimse, block=False):
        time.sleep(0.1 if block else 0.0)
        return get(dimse, block)

    def mark(association, is_paused):
        until = time.monotonic() + 0.1
        while not is_paused and association.dimse.msg_queue.empty() and time.monotonic() < until:
            time.sleep(0.001)
        association.__dict__["_is_paused"] = is_paused

    paused = property(lambda association: association.__dict__.get("_is_paused", False), mark)
    monkeypatch.setattr(Association, "_is_paused", paused, raising=False)
    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", late)
    peer, _ = pacs()
    with associated(peer, "BETZ", [(VERIFICATION, ImplicitVRLittleEndian)], 1.0) as association:
        assert [association.send_c_echo().get("Status") for _ in range(3)] == [0x0000] * 3


def test_an_association_that_ended_is_told_at_once(pacs):
    peer, _ = pacs()
    with associated(peer, "BETZ", [(VERIFICATION, ImplicitVRLittleEndian)], 5.0) as association:
        association.abort()
        with pytest.raises(RuntimeError):
            association.send_c_echo()


def test_more_classes_than_one_association_holds(tmp_path, pacs, mr):
    peer, _ = pacs()
    paths = []
    for number in range(70):
        mr(number=number, SOPClassUID=f"1.2.826.0.1.{number}").save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        paths.append(tmp_path / f"{number}.dcm")
    sent = dict(deliver(peer, "BETZ", paths, 5.0))
    assert len(sent) == 70 and all(isinstance(one.error, RefusedError) for one in sent.values())


def test_a_folder_is_sent_and_what_is_refused_is_named(tmp_path, pacs, mr):
    peer, received = pacs(classes=(MR,))
    mr().save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "readme.txt").write_text("no DICOM")
    assert send_folder(tmp_path, peer, "BETZ", 5.0, print) == 1 and len(received) == 1
    mr(number=2, SOPClassUID=SECONDARY).save_as(tmp_path / "b.dcm", enforce_file_format=True)
    said = []
    with pytest.raises(BetzError, match="1 of 2 objects did not reach PACS"):
        send_folder(tmp_path, peer, "BETZ", 5.0, said.append)
    assert "not sent: readme.txt" in said[0] and "b.dcm" in said[1]


def test_an_empty_folder_is_a_sentence(tmp_path, pacs):
    with pytest.raises(BetzError, match="holds no DICOM file"):
        send_folder(tmp_path, pacs()[0], "BETZ", 5.0, print)


def test_echo(pacs):
    peer, _ = pacs()
    echo(peer, "BETZ", 5.0)
    with pytest.raises(DeliveryError, match="cannot be reached"):
        echo(Destination("x", "X", "127.0.0.1", 9), "BETZ", 5.0)
