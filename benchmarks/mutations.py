"""Structure-aware mutations of what a peer may send: association requests, PDUs, command sets, data sets and files.

What is mutated is first taken apart (items, elements, sequences, fragments), changed where it hurts (lengths that lie, kinds that do not
fit, values that are no values, parts lost, doubled, swapped and nested), and put together again, so that most inputs get past the first
check of a reader. Every fifth input is also changed byte by byte. The same seed gives the same inputs.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

LENGTHS = (0, 1, 2, 3, 7, 8, 0x7F, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
TEXTS = (
    b"", b" ", b"\0", b"\\", b"\\\\\\\\", b"../../../../elsewhere/x", b"/elsewhere/x", b"..", b"1.2.3/../../4", b"1..2", b".", b"1" * 64,
    b"1" * 65, b"9" * 5000, b"nan", b"inf", b"-inf", b"1e999", b"-0", b"0", b"1e-320", b"-1", b"1\\2\\3", b"1\\x", b"99999999999999999999",
    b"abc",
    b"\xff\xfe\xfd", "ä€漢".encode(), b"%s%n", b"ORIGINAL\\PRIMARY\\M\\ND", b"DERIVED\\SECONDARY\\ADC", b"20201399", b"000D", b"120Y",
    b"M", b"\x1b$B",
)
KINDS = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"PN",
    b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US", b"UT", b"UV", b"ZZ", b"\0\0",
)
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
TAGS = (
    (0x0002, 0x0010), (0x0008, 0x0005), (0x0008, 0x0008), (0x0008, 0x0016), (0x0008, 0x0018), (0x0008, 0x0060), (0x0010, 0x0010),
    (0x0018, 0x0023), (0x0018, 0x0050), (0x0018, 0x0080), (0x0018, 0x0081), (0x0018, 0x0082), (0x0018, 0x9087), (0x0018, 0x9089),
    (0x0019, 0x100C), (0x0019, 0x100E), (0x0020, 0x000D), (0x0020, 0x000E), (0x0020, 0x0013), (0x0020, 0x0032), (0x0020, 0x0037),
    (0x0028, 0x0008), (0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0030), (0x0028, 0x0100), (0x0028, 0x1052), (0x0028, 0x1053),
    (0x0029, 0x1010), (0x5200, 0x9229), (0x5200, 0x9230), (0x7FE0, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD),
)
SYNTAXES = (
    b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.5",
    b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90", b"1.2.3",
)
COMMAND_ELEMENTS = (0, 2, 0x100, 0x110, 0x120, 0x800, 0x900, 0x1000, 0x1001)
COMMAND_NUMBERS = (0, 1, 0x20, 0x21, 0x30, 0x110, 0x130, 0x140, 0x150, 0x8001, 0xFFFF, 0x0FFF)
NUMBERS = (struct.pack("<d", float("nan")), struct.pack("<f", float("inf")), b"\0\0", b"\xff\xff", bytes(8), b"12345")

Part = list
"""[tag, kind, value]: value is bytes, or a list of items, each a list of parts. `kind` is the VR."""


def bytes_changed(content: bytes, chance: random.Random) -> bytes:
    """A few bytes flipped, lost, doubled or put in."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(changed) + 1)
        act = chance.randrange(6)
        if act == 0 and place < len(changed):
            changed[place] ^= 1 << chance.randrange(8)
        elif act == 1 and place < len(changed):
            changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif act == 2:
            del changed[place:place + chance.choice((1, 2, 4, 100))]
        elif act == 3:
            changed[place:place] = chance.randbytes(chance.choice((1, 2, 4, 100)))
        elif act == 4:
            changed[place:place] = changed[place:place + 64]
        else:
            width = chance.choice((2, 4))
            changed[place:place + width] = (chance.choice(LENGTHS) & (256**width - 1)).to_bytes(width, chance.choice(("little", "big")))
    return bytes(changed)


def listed(parts: list, chance: random.Random) -> None:
    """Lose, double, swap or move a part."""
    if not parts:
        return
    place, other = chance.randrange(len(parts)), chance.randrange(len(parts))
    act = chance.randrange(4)
    if act == 0:
        del parts[place]
    elif act == 1:
        parts.insert(other, parts[place])
    elif act == 2:
        parts[place], parts[other] = parts[other], parts[place]
    else:
        parts.insert(other, parts.pop(place))


# --- PDUs: items of (kind, content or items)


def request(chance: random.Random, calling: bytes = b"SCANNER", called: bytes = b"BETZ") -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2), changed in its items."""
    contexts = [[0x20, [[None, bytes((number * 2 + 1, 0, 0, 0))], [0x30, abstract], [0x40, chance.choice(SYNTAXES)]]]
                for number, abstract in enumerate((b"1.2.840.10008.1.1", b"1.2.840.10008.5.1.4.1.1.4"))]
    user = [[0x51, struct.pack(">L", 16384)], [0x52, b"1.2.3"], [0x55, b"X"], [0x53, b"\0\1\0\1"],
            [0x54, b"\0\x11" + b"1.2.840.10008.1.1" + b"\1\1"], [0x56, b"\0\5" + b"1.2.3" + b"\0\0"], [0x58, b"\1\1\0\1u\0\1p"]]
    items: list = [[0x10, b"1.2.840.10008.3.1.1.1"], *contexts, [0x50, user[:chance.randrange(2, len(user) + 1)]]]
    for _ in range(chance.randrange(4)):
        holder = chance.choice([items, *(item[1] for item in items if isinstance(item[1], list))])
        _item_changed(holder, chance)
    titles = [title if chance.random() < 0.9 else chance.choice(TEXTS) for title in (called, calling)]
    version = 1 if chance.random() < 0.9 else chance.randrange(65536)
    head = struct.pack(">H2x16s16s32x", version, *(title[:16].ljust(16) for title in titles))
    return pdu(1, head + b"".join(_packed(item, chance) for item in items), chance)


def request_for(contexts: dict[int, bytes]) -> bytes:
    """A sound A-ASSOCIATE-RQ for these presentation contexts, in Explicit VR Little Endian."""
    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content
    asked = b"".join(item(0x20, bytes((number, 0, 0, 0)) + item(0x30, one) + item(0x40, SYNTAXES[0])) for number, one in contexts.items())
    body = item(0x10, b"1.2.840.10008.3.1.1.1") + asked + item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"))
    head = struct.pack(">H2x16s16s32x", 1, b"BETZ".ljust(16), b"SCANNER".ljust(16))
    return struct.pack(">BxL", 1, len(head + body)) + head + body


def _item_changed(items: list, chance: random.Random) -> None:
    act = chance.randrange(4)
    item = chance.choice(items) if items else None
    if item is None or act == 0:
        listed(items, chance)
    elif act == 1:
        item[0] = chance.randrange(256)
    elif act == 2:
        item[1] = chance.choice((*TEXTS, chance.randbytes(chance.randrange(40))))
    else:
        items.append([chance.choice((0x20, 0x30, 0x40, 0x50, 0x51, 0x55, 0x58)), [item] if chance.random() < 0.5 else b"\0" * 9])


def _packed(item: list, chance: random.Random, depth: int = 0) -> bytes:
    kind, content = item
    if isinstance(content, list):
        content = b"".join(_packed(one, chance, depth + 1) for one in content) if depth < 20 else b""
    if kind is None:
        return content
    length = len(content) if chance.random() < 0.97 else chance.choice(LENGTHS)
    return struct.pack(">BxH", kind, length & 0xFFFF) + content


def pdu(kind: int, content: bytes, chance: random.Random, lie: float = 0.03) -> bytes:
    length = len(content) if chance.random() >= lie else chance.choice(LENGTHS)
    return struct.pack(">BxL", kind, length & 0xFFFFFFFF) + content


def command(chance: random.Random, field: int, sop_class: bytes, instance: bytes, with_data: bool) -> bytes:
    """A command set (PS3.7 E), changed in its elements."""
    elements = [[(0, 2), sop_class], [(0, 0x100), struct.pack("<H", field)], [(0, 0x110), b"\1\0"], [(0, 0x700), b"\0\0"],
                [(0, 0x800), b"\1\0" if with_data else b"\1\1"], [(0, 0x1000), instance]]
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        act = chance.randrange(3)
        if act == 0:
            listed(elements, chance)
        elif elements and act == 1:
            chance.choice(elements)[0] = (chance.choice((0, 2, 8)), chance.choice(COMMAND_ELEMENTS))
        elif elements:
            chance.choice(elements)[1] = chance.choice((*TEXTS, *(struct.pack("<H", number) for number in COMMAND_NUMBERS)))
    body = b"".join(struct.pack("<HHL", *tag, len(value) + len(value) % 2 if chance.random() < 0.98 else chance.choice(LENGTHS)) + value
                    + b"\0" * (len(value) % 2) for tag, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def data(chance: random.Random, content: bytes, context: int, is_command: bool) -> bytes:
    """P-DATA-TF PDUs with the fragments of one message (PS3.8 9.3.5), some with headers that lie."""
    size = chance.choice((1 << 14, 1 << 14, 100, 7))
    pieces = [content[place:place + size] for place in range(0, len(content), size)][:400] or [b""]
    made = []
    for number, piece in enumerate(pieces, start=1):
        control = is_command | (number == len(pieces)) << 1
        if chance.random() < 0.01:
            control, context = chance.randrange(256), chance.randrange(256)
        length = len(piece) + 2 if chance.random() < 0.99 else chance.choice(LENGTHS)
        made.append(pdu(4, struct.pack(">LBB", length, context, control) + piece, chance, 0.01))
    if chance.random() < 0.05:
        listed(made, chance)
    return b"".join(made)


# --- data sets


def taken_apart(content: bytes) -> list[Part]:
    """The parts of a data set in Explicit VR Little Endian, as our own writer makes it; sequences have lengths."""
    parts, at = [], 0
    while at < len(content):
        tag, kind = struct.unpack_from("<HH", content, at), content[at + 4:at + 6]
        start = at + (12 if kind in LONG else 8)
        length = struct.unpack_from("<L" if kind in LONG else "<H", content, start - (4 if kind in LONG else 2))[0]
        value = content[start:start + length]
        parts.append([tag, kind, _items(value) if kind == b"SQ" else value])
        at = start + length
    return parts


def _items(content: bytes) -> list[list[Part]]:
    items, at = [], 0
    while at < len(content):
        length = struct.unpack_from("<L", content, at + 4)[0]
        items.append(taken_apart(content[at + 8:at + 8 + length]))
        at += 8 + length
    return items


def data_set_changed(parts: Sequence[Part], chance: random.Random, implicit: bool = False) -> bytes:
    """A data set with some parts changed, put together again."""
    parts = _copied(parts)
    holders = list(_holders(parts))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        _part_changed(chance.choice(holders), chance)
    lies = chance.random() < 0.2
    return _joined(parts, _chance_of(chance, 0.02 if lies else 0.0), chance, implicit)


def _copied(parts: Sequence[Part]) -> list[Part]:
    return [[tag, kind, [_copied(item) for item in value] if isinstance(value, list) else value] for tag, kind, value in parts]


def _holders(parts: list[Part]):
    yield parts
    for _, _, value in parts:
        if isinstance(value, list):
            for item in value:
                yield from _holders(item)


def _part_changed(parts: list[Part], chance: random.Random) -> None:
    if not parts:
        return
    part, act = chance.choice(parts), chance.randrange(9)
    if act == 0:
        listed(parts, chance)
    elif act == 1:
        part[1] = chance.choice(KINDS)
    elif act == 2:
        part[0] = chance.choice(TAGS)
    elif act in (3, 4, 5):
        part[2] = chance.choice(TEXTS)
    elif act == 6:
        part[2] = chance.choice(NUMBERS)
    elif act == 7:
        parts.append([(0x0008, 0x1140), b"SQ", _nested(chance.choice((1, 3, 31, 40, 400)))])
    elif isinstance(part[2], list):
        part[2] = part[2] * 2 if chance.random() < 0.5 else []
    elif part[2]:
        part[2] = part[2][:chance.randrange(len(part[2]))] if chance.random() < 0.5 else part[2] * 2


def _nested(depth: int) -> bytes:
    """The value of a sequence with sequences in it, so deep."""
    inner = b""
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner
        inner = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, len(item)) + item
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(inner)) + inner


def _chance_of(chance: random.Random, share: float) -> Callable[[], bool]:
    return lambda: share > 0 and chance.random() < share


def _joined(parts: Sequence[Part], lies: Callable[[], bool], chance: random.Random, implicit: bool) -> bytes:
    made = bytearray()
    for tag, kind, value in parts:
        undefined = isinstance(value, list) and chance.random() < 0.3
        if isinstance(value, list):
            value = b"".join(_item(item, lies, chance, implicit) for item in value) + (b"\xfe\xff\xdd\xe0\0\0\0\0" if undefined else b"")
        length = 0xFFFFFFFF if undefined else len(value) if not lies() else chance.choice(LENGTHS)
        made += struct.pack("<HH", *tag)
        if implicit:
            made += struct.pack("<L", length)
        elif kind in LONG:
            made += kind + struct.pack("<HL", 0, length)
        else:
            made += kind + struct.pack("<H", length & 0xFFFF)
        made += value
    return bytes(made)


def _item(parts: Sequence[Part], lies: Callable[[], bool], chance: random.Random, implicit: bool) -> bytes:
    content = _joined(parts, lies, chance, implicit)
    if chance.random() < 0.3:
        return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + content + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(content) if not lies() else chance.choice(LENGTHS)) + content


def file_of(data_set: bytes, chance: random.Random, syntax: bytes = SYNTAXES[0]) -> bytes:
    """A DICOM file (PS3.10 7.1), sometimes with file meta information that is wrong."""
    if chance.random() < 0.1:
        syntax = chance.choice((*SYNTAXES, *TEXTS))
    parts: list[Part] = [[(2, 1), b"OB", b"\0\1"], [(2, 2), b"UI", b"1.2.840.10008.5.1.4.1.1.4\0"], [(2, 3), b"UI", b"1.2"],
                         [(2, 0x10), b"UI", syntax + b"\0" * (len(syntax) % 2)], [(2, 0x12), b"UI", b"1.2.3\0"]]
    if chance.random() < 0.1:
        _part_changed(parts, chance)
    meta = _joined(parts, _chance_of(chance, 0.02), chance, implicit=False)
    length = len(meta) if chance.random() < 0.95 else chance.choice(LENGTHS)
    preamble = b"\0" * 128 + b"DICM" if chance.random() < 0.95 else chance.choice((b"", b"DICM", b"\0" * 128 + b"DICX"))
    return preamble + struct.pack("<HH2sHL", 2, 0, b"UL", 4, length) + meta + data_set
