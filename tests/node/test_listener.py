from __future__ import annotations

import random
import socket
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from node.errors import BetzError
from node.listener import SIEMENS_CSA_NON_IMAGE, SOP_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from node.settings import Accept


def _send(association, data: bytes, sop_instance: str, sop_class: str = SOP_CLASSES[0]) -> int:
    """C-STORE of any bytes."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID, request.DataSet = sop_class, sop_instance, BytesIO(data)
    context = next(cx for cx in association.accepted_contexts if cx.abstract_syntax == sop_class)
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        pass
    association.dimse.send_msg(request, context.context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return answer.Status


def test_shuffled_duplicated_and_late_instances(node, call, mr):
    listener = node()
    images = [mr(number=number, seed=number) for number in range(12)]
    order = images[:10] * 2
    random.Random(0).shuffle(order)
    association = call(listener)
    assert all(association.send_c_store(ds).Status == 0 for ds in order)
    association.release()
    late = call(listener)
    assert all(late.send_c_store(ds).Status == 0 for ds in images[10:])
    late.release()
    stored = {dcmread(path).SOPInstanceUID: dcmread(path).PixelData for path in listener.spool.instances("1.2.3.4")}
    assert stored == {ds.SOPInstanceUID: ds.PixelData for ds in images}
    assert listener.heard == ["1.2.3.4"] * 12


def test_two_associations_at_once(node, call, mr):
    listener = node()
    one, other = call(listener), call(listener)
    for number in range(5):
        assert one.send_c_store(mr("1.2.3", number)).Status == other.send_c_store(mr("1.2.4", number)).Status == 0
    assert [len(listener.spool.instances(study)) for study in listener.spool.studies()] == [5, 5]


def test_what_one_association_negotiates_changes_nothing_for_the_next(node, call, mr):
    listener = node()
    for syntax in (RLELossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless):
        accepted = {one.abstract_syntax: one for one in call(listener, syntaxes=(syntax,)).accepted_contexts}
        assert accepted.keys() == {VERIFICATION, SOP_CLASSES[0]} and accepted[SOP_CLASSES[0]].transfer_syntax == [syntax]
        assert all(one.as_scu and not one.as_scp for one in accepted.values())


def test_bad_objects_are_refused_and_good_ones_still_stored(node, call, mr, encoded):
    listener, ds = node(), mr()
    data = encoded(ds)
    association = call(listener)
    assert _send(association, data[:-1], ds.SOPInstanceUID) == 0xC000
    assert _send(association, b"no DICOM at all, but a letter to the hospital", "1.2.3") == 0xC000
    assert _send(association, data, "1.2.3.999") == 0xA900
    assert _send(association, data.replace(b"1.2.3.4\0", b"../../x\0", 1), ds.SOPInstanceUID) == 0xC000
    assert association.send_c_echo().Status == 0
    assert _send(association, data, ds.SOPInstanceUID) == 0
    assert len(listener.spool.instances("1.2.3.4")) == 1 and list(listener.spool.incoming.iterdir()) == []


def test_no_room_is_out_of_resources_and_echo_is_still_answered(node, call, mr):
    association = call(node(minimum_free_gib=2**30))
    assert association.send_c_store(mr()).Status == 0xA700
    assert association.send_c_echo().Status == 0


def test_a_journal_that_fails_does_not_cost_the_instance(node, call, mr):
    def fails(study):
        raise RuntimeError("disk")
    listener = node(on_stored=fails)
    assert call(listener).send_c_store(mr()).Status == 0 and len(listener.spool.instances("1.2.3.4")) == 1


def test_an_aborted_transfer_leaves_nothing(node, call, mr, encoded):
    listener = node()
    association = call(listener)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = SOP_CLASSES[0], "1.2.3"
    request.DataSet = BytesIO(encoded(mr(size=512)))
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    for pdata in list(message.encode_msg(association.accepted_contexts[1].context_id, 16384))[:4]:
        association.dul.send_pdu(pdata)
    association.abort()
    listener.stop()
    assert list(listener.spool.incoming.iterdir()) == [] and listener.spool.studies() == []


def test_every_class_and_lossless_syntax_is_accepted_and_no_lossy_one(node, call):
    listener = node()
    for sop_class in SOP_CLASSES:
        association = call(listener, [sop_class], TRANSFER_SYNTAXES)
        assert len(association.accepted_contexts) == 1 + len(TRANSFER_SYNTAXES), sop_class
        association.release()
    lossy = call(listener, syntaxes=["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"])
    assert len(lossy.accepted_contexts) == 1


def test_siemens_spectroscopy_of_older_software_is_stored(node, call, mr, encoded):
    ds = mr(SOPClassUID=SIEMENS_CSA_NON_IMAGE)
    association = call(node(), [SIEMENS_CSA_NON_IMAGE])
    assert _send(association, encoded(ds), ds.SOPInstanceUID, SIEMENS_CSA_NON_IMAGE) == 0


def test_a_wrong_called_title_is_rejected(node, call):
    association = call(node(), title="OTHER")
    assert association.is_rejected and association.acceptor.primitive.diagnostic == 7


@pytest.mark.parametrize(("calling", "address", "accepted"), [
    ("SCANNER", "127.0.0.1", True), ("SCANNER", "127.0.0.0/8", True), ("SCANNER", "192.0.2.1", False), ("OTHER", "127.0.0.1", False),
])
def test_only_listed_callers_are_accepted(node, call, mr, calling, address, accepted):
    association = call(node(accept=(Accept("SCANNER", address),)), calling=calling)
    assert association.is_established is accepted
    if accepted:
        assert association.send_c_store(mr()).Status == 0
    else:
        assert association.is_rejected and association.acceptor.primitive.diagnostic == 3


def test_a_port_in_use_is_a_sentence(node):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BetzError, match="in use by another program"):
        node(port=taken.getsockname()[1])


def test_no_patient_data_in_the_log(node, call, mr, encoded, capsys):
    listener, ds = node(), mr()
    association = call(listener)
    for data in (encoded(ds), encoded(ds)[:-1], encoded(mr(seed=3))):
        _send(association, data, ds.SOPInstanceUID)
    association.release()
    listener.stop()
    written = "".join(capsys.readouterr())
    assert "instance_refused" in written and "instance_conflicts" in written
    assert not any(secret in written for secret in ("Secret", "Patient^", "SECRET1", "19600101"))
