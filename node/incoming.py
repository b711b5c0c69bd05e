"""An object that is being received: a file in the folder of what is coming, with its file meta information, written as it comes."""

from __future__ import annotations

import contextlib
import functools
import os

_HEAD = 2**16  # bytes of an object that stay at hand until it is stored


class Part:
    """An object that is being received. A write that fails is remembered, not raised: the rest is thrown away and `commit` refuses."""

    def __init__(self, path: str, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> None:
        self.path, self.name, self.file = path, path, self
        self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid = sop_class_uid, sop_instance_uid, transfer_syntax_uid
        self.failed: str | None = None
        self.offset = 0
        self.head = bytearray()
        self._open = None

    def begin(self) -> None:
        try:
            self._open = open(self.path, "xb", buffering=0)  # noqa: SIM115 - open until the last chunk
            self.offset = self._open.write(_meta(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid))
        except OSError as error:
            self._fail(error)

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        if len(self.head) < _HEAD:
            self.head += rest[:_HEAD - len(self.head)]
        try:
            while rest and not self.failed:
                rest = rest[self._open.write(rest):]
        except OSError as error:
            self._fail(error)

    def sync(self) -> None:
        try:
            if not self.failed:
                os.fsync(self._open.fileno())
        except OSError as error:
            self._fail(error)

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """End the reception; the half file goes."""
        if self._open is not None:
            self._open.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _fail(self, error: OSError) -> None:
        self.failed = error.strerror or str(error)
        self.close()


def data_set_offset(path: str | os.PathLike[str]) -> int:
    """Where the data set begins: the file meta information group says its own length (PS3.10 7.1)."""
    with open(path, "rb") as file:
        head = file.read(144)
    return 144 + int.from_bytes(head[140:144], "little")


def _meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information (PS3.10 7.1)."""
    before, after = _about(sop_class_uid, transfer_syntax_uid)
    group = before + _text(0x03, b"UI", sop_instance_uid) + after
    return _PREAMBLE + _element(0x00, b"UL", len(group).to_bytes(4, "little")) + group


@functools.lru_cache(256)
def _about(sop_class_uid: str, transfer_syntax_uid: str) -> tuple[bytes, bytes]:
    """What stands before and after the UID of an instance."""
    from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

    writer = _text(0x12, b"UI", PYNETDICOM_IMPLEMENTATION_UID) + _text(0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION)
    return _VERSION + _text(0x02, b"UI", sop_class_uid), _text(0x10, b"UI", transfer_syntax_uid) + writer


def _element(number: int, kind: bytes, value: bytes) -> bytes:
    length = len(value).to_bytes(2, "little") if kind != b"OB" else b"\0\0" + len(value).to_bytes(4, "little")
    return b"\x02\x00" + number.to_bytes(2, "little") + kind + length + value


def _text(number: int, kind: bytes, value: str) -> bytes:
    encoded = value.encode("ascii", "replace")
    return _element(number, kind, encoded + (b"\0" if kind == b"UI" else b" ") * (len(encoded) % 2))


_PREAMBLE, _VERSION = b"\0" * 128 + b"DICM", _element(0x01, b"OB", b"\0\1")
