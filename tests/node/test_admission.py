from __future__ import annotations

import pytest

from node.admission import UNKNOWN_CALLED, UNKNOWN_CALLER, UNKNOWN_CONTEXT, UNKNOWN_VERSION, rejection_of, request_of
from node.settings import Accept, Listener

LISTED = Listener(host="0.0.0.0", accept=(Accept("SCANNER", "192.0.2.0/24"), Accept("PACS", "192.0.2.9")))


@pytest.fixture
def request_bytes(raw_peer):
    return raw_peer.module.request


def test_a_request_is_read(request_bytes):
    request = request_of(request_bytes(" SCANNER", "BETZ"))
    assert (request.calling, request.called, request.version_1) == ("SCANNER", "BETZ", True)
    assert request.application_context == "1.2.840.10008.3.1.1.1"


def test_no_part_of_a_request_is_a_request(request_bytes):
    """Cut anywhere but between two items, it is refused; cut between two, it lacks what the library asks for next."""
    whole = request_bytes()
    read = [length for length in range(len(whole)) if _is_read(whole[:length])]
    assert len(read) == 4 and all(length >= 74 for length in read)


def _is_read(part: bytes) -> bool:
    try:
        return bool(request_of(part))
    except ValueError:
        return False


@pytest.mark.parametrize(("given", "address", "expected", "codes"), [
    ({}, "192.0.2.7", None, None),
    ({"calling": "PACS"}, "192.0.2.9", None, None),
    ({"calling": "PACS"}, "192.0.2.7", UNKNOWN_CALLER, (1, 1, 3)),
    ({}, "198.51.100.1", UNKNOWN_CALLER, (1, 1, 3)),
    ({"calling": "scanner"}, "192.0.2.7", UNKNOWN_CALLER, (1, 1, 3)),
    ({"called": "OTHER"}, "192.0.2.7", UNKNOWN_CALLED, (1, 1, 7)),
    ({"called": "OTHER"}, "198.51.100.1", UNKNOWN_CALLER, (1, 1, 3)),
    ({"application": "1.2.3"}, "192.0.2.7", UNKNOWN_CONTEXT, (1, 1, 2)),
    ({"version": 2}, "192.0.2.7", UNKNOWN_VERSION, (1, 2, 2)),
    ({"version": 3}, "192.0.2.7", None, None),
])
def test_titles_and_address_are_judged_together(request_bytes, given, address, expected, codes):
    rejection = rejection_of(request_of(request_bytes(**given)), address, LISTED)
    assert rejection is expected
    if expected:
        assert rejection.pdu == bytes((3, 0, 0, 0, 0, 4, 0, *codes))
