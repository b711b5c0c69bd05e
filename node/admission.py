"""Who may open an association: the A-ASSOCIATE-RQ read from its bytes, and the answer of PS3.8 9.3.4 to one that is refused.

Calling AE title, called AE title, address and, where the settings bind a caller to one, certificate are judged together, before the library
sees a byte. A request that cannot be read is no
request; it is a ValueError, and its connection is aborted (PS3.8 table 9-10, state 2, action AA-1). pynetdicom 3.0.4
accepts any application context (seen), looks at no address, and starts three threads before it refuses a caller.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.certificates import Identity
from node.settings import Listener
from node.web_address import is_loopback

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
REQUEST_AT_MOST = 2**18  # bytes of an A-ASSOCIATE-RQ; 128 presentation contexts with 30 transfer syntaxes each need half of it
_ITEMS_FROM = 74  # PS3.8 table 9-11: type, length, version, titles, reserved
_APPLICATION_CONTEXT_ITEM, _PRESENTATION_CONTEXT_ITEM = 0x10, 0x20
_ABSTRACT_SYNTAX_ITEM, _TRANSFER_SYNTAX_ITEM = 0x30, 0x40
ABORTED_BY_USER = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"  # A-ABORT, source 0: service user (PS3.8 9.3.8)


@dataclass(frozen=True)
class Request:
    """What an A-ASSOCIATE-RQ says of its sender. `version_1`: protocol version 1 is among those offered."""

    calling: str
    called: str
    version_1: bool
    application_context: str


@dataclass(frozen=True)
class Rejection:
    """Why an association is refused: result, source and diagnostic of PS3.8 table 9-21, and a sentence for the log."""

    result: int
    source: int
    diagnostic: int
    reason: str

    @property
    def pdu(self) -> bytes:
        """The A-ASSOCIATE-RJ."""
        return bytes((3, 0, 0, 0, 0, 4, 0, self.result, self.source, self.diagnostic))


UNKNOWN_CALLER = Rejection(1, 1, 3, "not on the list of accepted callers")
WITHOUT_CERTIFICATE = Rejection(1, 1, 3, "this caller is bound to a certificate, and called without TLS")
OTHER_CERTIFICATE = Rejection(1, 1, 3, "this caller is bound to another certificate than the one that it showed")
UNKNOWN_CALLED = Rejection(1, 1, 7, "the called AE title is not the title of this node")
UNKNOWN_CONTEXT = Rejection(1, 1, 2, "the application context is not that of DICOM")
UNKNOWN_VERSION = Rejection(1, 2, 2, "the protocol version is not 1")
TOO_MANY = Rejection(2, 3, 2, "as many associations as allowed are open")
TOO_MANY_OF_ADDRESS = Rejection(2, 3, 2, "as many associations as allowed are open from this address")
ABOUT_IDENTITY = (  # who asks is not who may; the others are about how, or how much, is asked
    UNKNOWN_CALLER, UNKNOWN_CALLED, WITHOUT_CERTIFICATE, OTHER_CERTIFICATE,
)  # fmt: skip


def request_of(pdu: bytes) -> Request:
    """Read a whole A-ASSOCIATE-RQ. ValueError where it is none: too short, or items that do not add up."""
    if len(pdu) < _ITEMS_FROM:
        raise ValueError("the association request is too short")
    found = _items(pdu, _ITEMS_FROM)
    for content in (content for kind, content in found if kind == _PRESENTATION_CONTEXT_ITEM):
        _check_context(content)
    items = dict(reversed(found))  # the first of a kind counts
    return Request(
        calling=_title(pdu[26:42]), called=_title(pdu[10:26]), version_1=bool(pdu[7] & 1),  # PS3.8 9.3.2: only bit 0 is tested
        application_context=items.get(_APPLICATION_CONTEXT_ITEM, b"").decode("ascii", "replace").rstrip("\0 "),
    )


def _check_context(content: bytes) -> None:
    """PS3.8 9.3.2.2: an odd number, an abstract syntax and transfer syntaxes; without them the library's threads fail (seen)."""
    kinds = [kind for kind, value in _items(content, 4) if value.strip(b"\0 ")]
    if not content[:1] or not content[0] & 1 or not {_ABSTRACT_SYNTAX_ITEM, _TRANSFER_SYNTAX_ITEM} <= set(kinds):
        raise ValueError("a presentation context of the association request is not whole")


def _items(pdu: bytes, place: int) -> list[tuple[int, bytes]]:
    found = []
    while place < len(pdu):
        end = place + 4 + int.from_bytes(pdu[place + 2:place + 4], "big")
        if end > len(pdu) or place + 4 > len(pdu):
            raise ValueError("the items of the association request do not add up")
        found.append((pdu[place], pdu[place + 4:end]))
        place = end
    return found


def _title(raw: bytes) -> str:
    """PS3.8 9.3.2: sixteen characters of ISO 646; spaces at the ends say nothing."""
    return raw.decode("ascii", "replace").strip(" \0")


def rejection_of(request: Request, address: str, rules: Listener, identity: Identity | None = None) -> Rejection | None:
    """Why this caller is refused; None where it may come in. Who asks without being known learns nothing but that.

    `identity`: whose certificate it showed; None without TLS.
    """
    if not request.version_1:
        return UNKNOWN_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return UNKNOWN_CONTEXT
    if stranger := _stranger(request.calling, address, rules, identity):
        return stranger
    return None if request.called == rules.ae_title else UNKNOWN_CALLED


def _stranger(title: str, address: str, rules: Listener, identity: Identity | None) -> Rejection | None:
    if not rules.accept:
        return None if is_loopback(rules.host) else UNKNOWN_CALLER
    listed = [one for one in rules.accept if one.allows(title, address)]
    if not listed:
        return UNKNOWN_CALLER
    if any(not one.certificate or (identity and identity.has(one.certificate)) for one in listed):
        return None
    return OTHER_CERTIFICATE if identity else WITHOUT_CERTIFICATE
