from __future__ import annotations

import random
from io import BytesIO

import pytest
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE

from node.command_set import StoreRequest, store_request, store_response

MR_IMAGE, INSTANCE = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.45"
HEADERS = 12  # bytes: of the PDU and of its only value


@pytest.fixture
def by_library():
    """A PDU of the library with the command set of a C-STORE: the request, or the response where there is a status."""
    def encode(instance=INSTANCE, status=None, with_data=True, message=7):
        primitive = C_STORE()
        primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = MR_IMAGE, instance
        if status is None:
            primitive.MessageID, primitive.Priority, kind = message, 2, C_STORE_RQ()
            primitive.DataSet = BytesIO(b"data") if with_data else None
        else:
            primitive.MessageIDBeingRespondedTo, primitive.Status, kind = message, status, C_STORE_RSP()
        kind.primitive_to_message(primitive)
        return next(iter(kind.encode_msg(3, 16384))).presentation_data_value_list[0][1]
    return encode


def test_a_request_is_read(by_library):
    assert store_request(by_library()[1:]) == StoreRequest(MR_IMAGE, INSTANCE, b"\x07\x00")


@pytest.mark.parametrize("status", [0x0000, 0xA700, 0xC000])
@pytest.mark.parametrize("instance", [INSTANCE, INSTANCE + "6"])
def test_a_response_is_what_the_library_would_say(by_library, instance, status):
    said = store_response(3, StoreRequest(MR_IMAGE, instance, b"\x07\x00"), status)
    assert said[HEADERS - 1:] == by_library(instance, status)
    assert said[0] == 4 and int.from_bytes(said[2:6], "big") == len(said) - 6 and int.from_bytes(said[6:10], "big") == len(said) - 10
    assert said[10] == 3


def test_what_is_odd_about_a_request_is_not_read_here(by_library):
    whole = by_library()[1:]
    assert store_request(by_library(with_data=False)[1:]) is None
    assert store_request(whole.replace(INSTANCE.encode(), b"../../ab")) is None
    assert store_request(whole.replace(b"\x00\x01\x02\x00\x00\x00\x01\x00", b"\x00\x01\x02\x00\x00\x00\x30\x00")) is None
    assert [end for end in range(len(whole)) if store_request(whole[:end])] == []
    assert store_request(whole + b"\0") is None and store_request(whole + b"\x08\x00\x00\x00\x00\x00\x00\x00") is None


def test_no_bytes_break_the_reading(by_library):
    whole, chance = by_library()[1:], random.Random(6)
    for _ in range(3000):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        read = store_request(bytes(broken[:chance.choice((len(broken), chance.randrange(len(broken))))]))
        assert read is None or len(read.message_id) == 2
