"""Whether the bytes of a data set are all there, and what its header says: a walk over the elements that loads no pixels.

Every element's length is followed to the end of the file (PS3.5 7 and A.4), so an object that was cut anywhere is found, which a
reader that skips or pads does not see. Nothing is repaired. Memory stays flat: values are skipped, not read. A deflated data set is
inflated into a nameless file beside it first.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

IMPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_UNDEFINED, _DEEPEST, _LARGEST_INFLATED = 0xFFFFFFFF, 32, 8 << 30
_Bytes = bytes | bytearray | memoryview


class NotWhole(ValueError):
    """The bytes are not one whole data set; the message says where it breaks."""


def texts_of(path: str, offset: int, transfer_syntax: str, wanted: dict[tuple[int, int], str], head: bytes | bytearray = b"",
             ) -> dict[str, str]:
    """The values of the wanted elements of the outermost level, as text without padding; NotWhole where the data set breaks off.

    `offset` is where the data set begins in the file, `wanted` names tags. An element that is not there is not in the answer. `head`: the
    first bytes of the data set where they are at hand, which is enough for most, as they end with one long element.
    """
    if head and transfer_syntax != DEFLATED:
        with suppress(NotWhole, struct.error):
            return _texts(head, os.stat(path).st_size - offset, transfer_syntax, wanted)
    with _bytes_of(path, offset, transfer_syntax) as data:
        try:
            return _texts(data, len(data), transfer_syntax, wanted)
        except struct.error:
            raise NotWhole(f"it breaks off in the middle of an element, after {len(data)} bytes") from None


def _texts(data: _Bytes, size: int, transfer_syntax: str, wanted: dict[tuple[int, int], str]) -> dict[str, str]:
    """`data`: the whole of a data set of that size, or its beginning; struct.error where an element begins behind it."""
    walk = _Walk(data, size, explicit=transfer_syntax != IMPLICIT, order=">" if transfer_syntax == BIG_ENDIAN else "<", wanted=wanted)
    end = walk.elements(0, size, depth=0)
    if end != size or not size:
        raise NotWhole(f"it has {size} bytes, {size - end} of them outside any element")
    return walk.found


@contextmanager
def _bytes_of(path: str, offset: int, transfer_syntax: str) -> Iterator[memoryview]:
    with open(path, "rb") as file:
        if transfer_syntax == DEFLATED:
            with tempfile.TemporaryFile(dir=os.path.dirname(path)) as inflated:
                file.seek(offset)
                _inflate(file, inflated)
                with _mapped(inflated, 0) as data:
                    yield data
        else:
            with _mapped(file, offset) as data:
                yield data


@contextmanager
def _mapped(file, offset: int) -> Iterator[memoryview]:
    file.flush()
    if file.seek(0, 2) <= offset:
        raise NotWhole("it is empty")
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole, whole[offset:] as data:
        yield data


def _inflate(source, target) -> None:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    pending = source.read(1 << 20)
    while pending:
        try:
            target.write(stream.decompress(pending, 1 << 20))
        except zlib.error:
            raise NotWhole("its deflated bytes are damaged") from None
        if target.tell() > _LARGEST_INFLATED:
            raise NotWhole("it inflates to more than 8 GiB")
        pending = stream.unconsumed_tail or (b"" if stream.eof else source.read(1 << 20))
    if not stream.eof:
        raise NotWhole("its deflated bytes break off")


class _Walk:
    """One pass over a data set. `found` fills with the wanted texts of the outermost level."""

    def __init__(self, data: _Bytes, size: int, explicit: bool, order: str, wanted: dict[tuple[int, int], str]) -> None:
        self.data, self.size, self.explicit, self.wanted, self.found = data, size, explicit, wanted, {}
        self.tag, self.long = struct.Struct(order + "HH"), struct.Struct(order + "L")
        self.head = struct.Struct(order + "HH2sH")

    def elements(self, at: int, end: int, depth: int, explicit: bool | None = None) -> int:
        """Walk elements from `at` to `end`, or to the delimiter of an item of undefined length; return where the walk ended."""
        explicit = self.explicit if explicit is None else explicit
        read_head, data, wanted = self.head.unpack_from, self.data, () if depth else self.wanted
        while at < end:
            group, number, kind, length = read_head(data, at)
            start = at + 8
            if (group, number) == _ITEM_END:
                if not depth:
                    raise NotWhole("an item ends that never began")
                return start
            if not explicit or kind not in _SHORT:
                start, length, kind = self._long_head(at, explicit, kind)
            at = self._undefined((group, number), start, kind, depth, explicit) if length == _UNDEFINED else start + length
            if at > end:
                raise NotWhole(f"element ({group:04X},{number:04X}) claims {length} bytes, {at - end} more than there are")
            if (group, number) in wanted and length != _UNDEFINED:
                self.found[wanted[group, number]] = self._text(start, at)
        return at

    def _long_head(self, at: int, explicit: bool, kind: bytes) -> tuple[int, int, bytes]:
        """Where the value begins, its length in four bytes, and its VR (b"" where the syntax does not say it)."""
        if not explicit:
            return at + 8, self.long.unpack_from(self.data, at + 4)[0], b""
        if not (kind.isalpha() and kind.isupper()):
            raise NotWhole(f"there is no element where one should begin, {at} bytes from the start")
        return at + 12, self.long.unpack_from(self.data, at + 8)[0], kind

    def _text(self, start: int, end: int) -> str:
        if end > len(self.data):
            raise struct.error("behind the bytes that are at hand")
        return bytes(self.data[start:end][:1024]).decode("ascii", "replace").strip(" \0")

    def _undefined(self, tag: tuple[int, int], at: int, kind: bytes, depth: int, explicit: bool) -> int:
        """Walk the items of a sequence, or the fragments of encapsulated pixels, to their delimiter."""
        if depth >= _DEEPEST:
            raise NotWhole(f"its sequences are nested more than {_DEEPEST} deep")
        fragments = kind in (b"OB", b"OW")
        if kind not in (b"SQ", b"UN", b"OB", b"OW", b""):
            raise NotWhole(f"element ({tag[0]:04X},{tag[1]:04X}) has no length")
        inner = explicit and kind != b"UN"
        while (item := self.tag.unpack_from(self.data, at)) == _ITEM:
            length = self.long.unpack_from(self.data, at + 4)[0]
            if length == _UNDEFINED and not fragments:
                at = self._item(at + 8, depth + 1, inner)
            else:
                at += 8 + length
        if item != _SEQUENCE_END:
            raise NotWhole(f"the sequence ({tag[0]:04X},{tag[1]:04X}) has no end")
        return at + 8

    def _item(self, at: int, depth: int, explicit: bool) -> int:
        end = self.elements(at, self.size, depth, explicit)
        if self.tag.unpack_from(self.data, end - 8) != _ITEM_END:
            raise NotWhole("an item has no end")
        return end
