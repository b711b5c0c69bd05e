"""A peer that writes its bytes itself, and so can be late, wrong or silent where a library would not be (PS3.8 9.3, PS3.7 9.3)."""

from __future__ import annotations

import socket
import struct

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION, MR_IMAGE = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
RELEASE = b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00"
C_STORE, C_ECHO, C_FIND = 0x0001, 0x0030, 0x0020
ECHO_CONTEXT, MR_CONTEXT = 1, 3


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _context(number: int, sop_class: str) -> bytes:
    syntaxes = _item(0x30, sop_class.encode()) + _item(0x40, EXPLICIT_LITTLE.encode())
    return _item(0x20, bytes((number, 0, 0, 0)) + syntaxes)


def request(calling: str = "SCANNER", called: str = "BETZ", version: int = 1, application: str = APPLICATION_CONTEXT) -> bytes:
    """An A-ASSOCIATE-RQ for C-ECHO and C-STORE of MR images."""
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3"))
    items = _item(0x10, application.encode()) + _context(ECHO_CONTEXT, VERIFICATION) + _context(MR_CONTEXT, MR_IMAGE) + user
    return pdu(1, struct.pack(">H2x16s16s32x", version, called.encode().ljust(16), calling.encode().ljust(16)) + items)


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxL", kind, len(content)) + content


def data(content: bytes, context: int = MR_CONTEXT, command: bool = False, last: bool = True) -> bytes:
    """A P-DATA-TF with one fragment."""
    return pdu(4, struct.pack(">LBB", len(content) + 2, context, command | last << 1) + content)


def command(field: int, sop_class: str, instance: str = "", with_data: bool = False) -> bytes:
    """A P-DATA-TF with a whole command set."""
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value
    elements = element(0x0002, sop_class.encode()) + element(0x0100, struct.pack("<H", field)) + element(0x0110, b"\x01\0")
    elements += element(0x0700, b"\0\0") + element(0x0800, b"\x01\0" if with_data else b"\x01\x01")
    elements += element(0x1000, instance.encode()) if instance else b""
    whole = element(0x0000, struct.pack("<L", len(elements))) + elements
    return data(whole, ECHO_CONTEXT if sop_class == VERIFICATION else MR_CONTEXT, command=True)


ECHO = command(C_ECHO, VERIFICATION)


def store(content: bytes, instance: str) -> bytes:
    """A whole C-STORE request, in PDUs of at most 64 KiB."""
    pieces = [content[place:place + 65000] for place in range(0, len(content), 65000)]
    return command(C_STORE, MR_IMAGE, instance, with_data=True) + b"".join(
        data(piece, last=number == len(pieces)) for number, piece in enumerate(pieces, start=1))


class RawPeer:
    """A connection to a node, from any address of this machine."""

    def __init__(self, port: int, source: str = "127.0.0.1", sent: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15, source_address=(source, 0))
        self.send(sent)

    def send(self, content: bytes) -> RawPeer:
        self.socket.sendall(content)
        return self

    def answer(self) -> bytes:
        """The next PDU; nothing where the node hung up."""
        head = self._read(6)
        return head + self._read(int.from_bytes(head[2:6], "big")) if head else b""

    def status(self) -> int:
        """The status of the response that comes next."""
        content = self.answer()
        return struct.unpack_from("<H", content, content.index(b"\0\0\0\x09\x02\0\0\0") + 8)[0]

    def accepted(self) -> RawPeer:
        assert self.answer()[0] == 2
        return self

    def _read(self, count: int) -> bytes:
        content = b""
        try:
            while len(content) < count and (chunk := self.socket.recv(count - len(content))):
                content += chunk
        except ConnectionResetError:
            return b""
        return content
