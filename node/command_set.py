"""The command sets of C-STORE (PS3.7 9.3.1), read and written from their bytes.

Only a request that is plainly whole and valid is read here; whatever is odd about another is for the library to find and to answer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from node.spool import is_uid

_ELEMENT = struct.Struct("<HHL")
_STORE_REQUEST, _STORE_RESPONSE, _NO_DATA_SET = b"\x01\x00", b"\x01\x80", b"\x01\x01"
_SOP_CLASS, _COMMAND_FIELD, _MESSAGE_ID, _ANSWERED_ID, _DATA_SET, _STATUS, _SOP_INSTANCE = 0x2, 0x100, 0x110, 0x120, 0x800, 0x900, 0x1000
_ORIGINATOR = 0x1030
_WHOLE_COMMAND = 3  # the message control header of a command set's only fragment (PS3.8 E.2)


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE-RQ that announces a data set. `message_id` as two bytes, little endian; `originator`: who asked for it by C-MOVE, or ""."""

    sop_class_uid: str
    sop_instance_uid: str
    message_id: bytes
    originator: str = ""


def store_request(command_set: bytes) -> StoreRequest | None:
    """Read a command set; None where it is no C-STORE-RQ, announces no data set, or is not as it should be."""
    elements, place = {}, 0
    while place + 8 <= len(command_set):
        group, number, length = _ELEMENT.unpack_from(command_set, place)
        place += 8 + length
        if group or place > len(command_set):
            return None
        elements[number] = command_set[place - length:place]
    if elements.get(_COMMAND_FIELD) != _STORE_REQUEST or elements.get(_DATA_SET, _NO_DATA_SET) == _NO_DATA_SET:
        return None
    sop_class, instance = (elements.get(one, b"").decode("ascii", "replace").rstrip("\0 ") for one in (_SOP_CLASS, _SOP_INSTANCE))
    message_id = elements.get(_MESSAGE_ID, b"")
    is_good = place == len(command_set) and len(message_id) == 2 and is_uid(sop_class) and is_uid(instance)
    originator = elements.get(_ORIGINATOR, b"").decode("ascii", "replace").strip("\0 ")
    return StoreRequest(sop_class, instance, message_id, originator) if is_good else None


def store_response(context: int, request: StoreRequest, status: int) -> bytes:
    """The P-DATA-TF with the C-STORE-RSP to a request (PS3.7 table 9.3-2)."""
    elements = b"".join((
        _element(_SOP_CLASS, request.sop_class_uid.encode()), _element(_COMMAND_FIELD, _STORE_RESPONSE),
        _element(_ANSWERED_ID, request.message_id), _element(_DATA_SET, _NO_DATA_SET), _element(_STATUS, status.to_bytes(2, "little")),
        _element(_SOP_INSTANCE, request.sop_instance_uid.encode()),
    ))
    whole = _element(0, len(elements).to_bytes(4, "little")) + elements
    return struct.pack(">BxLLBB", 4, len(whole) + 6, len(whole) + 2, context, _WHOLE_COMMAND) + whole


def _element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return _ELEMENT.pack(0, number, len(value)) + value
