"""A destination over DICOMweb (PS3.18): results go by STOW-RS, one object in a request, with the bytes of the outbox; QIDO-RS finds them.

What is known of an object is what the answer says of it; its Failure Reason (Failed SOP Sequence) is read as a C-STORE status is. An
answer about the service and not the object (credentials refused, no such address, gateway, overload, no connection) says nothing about
the object: it waits, and the circuit counts it. Retries are the sender's; those of the library are off. So are redirects, proxies and
credentials from the environment: results go where the settings say, and nowhere else. Secrets are read from their files for every
connection, and stand in no log; neither does what a server says in words, which may name a patient. Every query is told to the audit
trail (`audit_query`), with its address as it was sent.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from node.audit import Query
from node.audit_query import Tell, asking, told
from node.errors import BetzError, DeliveryError, RefusedError, UnreachableError
from node.settings import Destination
from node.storage import Sent, verdict

ANSWER_AT_MOST_BYTES = 2**22
_LOST_AT_MOST = 2
_MEDIA = 'multipart/related; type="application/dicom"; boundary="0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"'
_CREDENTIALS = "does not accept the credentials in the settings"
_GATEWAY = "is behind a gateway that cannot reach it"
_SERVICE = {
    401: _CREDENTIALS, 403: _CREDENTIALS, 404: "has no such address", 405: "does not take this request", 407: "wants a proxy's credentials",
    408: "timed out", 425: "is not ready", 429: "is asked too often", 502: _GATEWAY, 503: "is not available", 504: _GATEWAY,
}  # fmt: skip
_NO_QUERY = (405, 501)


class Web:
    """The channel to one destination that has a `url`, for one thread. `tell` hears of its queries."""

    query = "QIDO-RS"

    def __init__(self, peer: Destination, timeout_s: float, tell: Tell = told) -> None:
        self.peer, self.timeout_s, self.tell = peer, timeout_s, tell
        self._leaves: Callable[[Query], None] | None = None  # while a query is under way

    def reach(self) -> None:
        """Whether the service answers; UnreachableError with the reason where not. One that only stores may have no address to search."""
        self._search((204, 400, 404))

    def check(self) -> None:
        """As `reach`, but an address that the service does not know is most likely a mistake in the settings."""
        self._search((204, 400))

    def _search(self, none: Sequence[int]) -> None:
        with self._client() as client, contextlib.suppress(RefusedError):
            self._matches(lambda: client.search_for_studies(limit=1, search_filters={"StudyInstanceUID": "2.25.0"}), none)

    def deliver(self, paths: Sequence[Path], offer: Callable[[Path], None] = lambda path: None) -> Iterator[tuple[Path, Sent]]:
        """Store files; say of each what became of it. `offer` hears of each just before it goes.

        After the second that got no answer the others are not tried."""
        left, lost = list(paths), 0
        while left:
            try:
                with self._client() as client:
                    while left:
                        offer(left[0])
                        yield left[0], self._store(client, left[0])
                        left.pop(0)
            except UnreachableError as error:
                lost += 1
                failed = left[:1] if lost < _LOST_AT_MOST else left[:]
                left = left[len(failed):]
                yield from ((path, Sent(error)) for path in failed)

    def find(self, study: str, objects: Iterable[tuple[str, str]]) -> set[str]:
        """SOP Instance UIDs of those of the (series, object) pairs that the service finds."""
        with self._client() as client:
            return {uid for series, uid in objects if self._is_there(client, study, series, uid)}

    def _is_there(self, client, study: str, series: str, uid: str) -> bool:
        """Asked by its UID: an answer that names one object is never cut short by the service."""
        found = self._matches(lambda: client.search_for_instances(study, series, search_filters={"SOPInstanceUID": uid}), (204, 404))
        return any(uid in (match.get("00080018") or {}).get("Value", ()) for match in found)

    def _matches(self, ask: Callable[[], list], none: Sequence[int]) -> list[dict]:
        """What a query finds; the statuses in `none` say that there is nothing. Every query goes through here."""
        with asking(self.peer, self.tell) as self._leaves:
            try:
                return self._answered(ask, none)
            finally:
                self._leaves = None

    def _hear(self, address: str) -> None:
        """A request leaves: a query, or what stores or fetches an object."""
        if self._leaves:
            self._leaves(Query(address.partition("?")[0], address.encode()))

    def _answered(self, ask: Callable[[], list], none: Sequence[int]) -> list[dict]:
        import requests

        with _connection(self.peer):
            try:
                status, found = 200, ask()
            except requests.HTTPError as error:
                status, found = error.response.status_code, []
        if status == 200 or status in none:
            return [match for match in found if isinstance(match, dict)]
        if status in _NO_QUERY:
            raise RefusedError(f"{self.peer.url} does not offer QIDO-RS (HTTP {status})")
        _about_the_object(self.peer, status)
        raise DeliveryError(f"{self.peer.url} did not answer the query (HTTP {status})")

    def _store(self, client, path: Path) -> Sent:
        import requests

        try:
            data = path.read_bytes()
        except OSError:
            return Sent(RefusedError(f"{path.name} is gone."))
        with _connection(self.peer):
            try:
                response = _store_encoded(client, data)
            except requests.HTTPError as error:
                response = error.response
        _about_the_object(self.peer, response.status_code)
        return outcome(response.status_code, _data_set(response), self.peer)

    @contextlib.contextmanager
    def _client(self, at_most: int = ANSWER_AT_MOST_BYTES) -> Iterator:
        import requests
        from dicomweb_client.api import DICOMwebClient

        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL + 1)
        for file in (self.peer.authorities, self.peer.client_certificate, self.peer.client_key):
            if file and not os.access(file, os.R_OK):
                raise UnreachableError(f"The file {file} cannot be read.")
        with requests.Session() as session:
            session.trust_env, session.max_redirects = False, 0
            session.headers["Accept"] = "application/dicom+json"
            session.verify = str(self.peer.authorities) if self.peer.authorities else True
            session.cert = tuple(str(file) for file in (self.peer.client_certificate, self.peer.client_key) if file) or None
            session.auth = _Credentials(self.peer, self._hear)
            client = DICOMwebClient(self.peer.url.rstrip("/"), session, timeout=self.timeout_s, callback=_bounded(self.timeout_s, at_most))
            client.set_http_retry_params(False)
            yield client


class _Credentials:
    """Bearer token or basic credentials, from the files in the settings. `hear` hears the address of every request just before it goes."""

    def __init__(self, peer: Destination, hear: Callable[[str], None]) -> None:
        self.peer, self.hear = peer, hear

    def __call__(self, request: Any) -> Any:
        from requests.auth import HTTPBasicAuth

        if self.peer.token_file:
            request.headers["Authorization"] = f"Bearer {secret(self.peer.token_file)}"
        elif self.peer.password_file:
            HTTPBasicAuth(self.peer.user.encode(), secret(self.peer.password_file).encode())(request)
        self.hear(request.url)
        return request


def secret(file: Path) -> str:
    """The first line of a file; UnreachableError where there is none that can be sent."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UnreachableError(f"The secret in {file} cannot be read.") from None
    if not lines or not lines[0].strip() or not lines[0].strip().isprintable():
        raise UnreachableError(f"The first line of {file} holds no secret.")
    return lines[0].strip()


def check_secrets(peer: Destination) -> None:
    """BetzError where a secret of a destination cannot be read, or others of this machine can read it."""
    for file in (peer.token_file, peer.password_file, peer.client_key or peer.client_certificate):
        if file is None:
            continue
        try:
            mode = file.stat().st_mode
        except OSError as error:
            raise BetzError(f"destination {peer.name}: {file} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise BetzError(f"destination {peer.name}: {file} must be a file that its owner alone may read; run: chmod 600 {file}")
        if file in (peer.token_file, peer.password_file):
            secret(file)


def outcome(status: int, said: Any, peer: Destination) -> Sent:
    """What an HTTP status and the answer's data set mean for the one object that was sent (PS3.18 10.5.3). `said` is None if unreadable."""
    failed = [item for keyword in ("FailedSOPSequence", "OtherFailuresSequence") for item in (said or {}).get(keyword) or ()]
    if failed:
        return verdict(_number(failed[0], "FailureReason", 0x0110))
    stored = list((said or {}).get("ReferencedSOPSequence") or ())
    if said is None and status in (200, 202):
        return Sent(warning="the answer cannot be read") if peer.query else Sent(DeliveryError(
            f"the service answers HTTP {status} with something that is no DICOM JSON or XML: is there a page to log in before it?"))
    if status == 200 or (status == 202 and stored):
        warning = _number(stored[0], "WarningReason", 0) if stored else 0
        return Sent(warning=f"status {warning:04X}" if warning else "" if stored else "the answer does not name the object")
    if status == 202:
        return Sent(warning="accepted, to be stored later") if peer.query else Sent(DeliveryError(
            "the service answers that it may store the object later, and the settings do not ask for a proof (query = true)"))
    if status >= 500:
        return Sent(DeliveryError(f"the service failed for now (HTTP {status})"))
    if 200 <= status < 300:
        return Sent(DeliveryError(f"the service answers HTTP {status}, which does not say that the object is stored"))
    return Sent(RefusedError(f"the service refused the object (HTTP {status})"))


def _number(item: Any, keyword: str, default: int) -> int:
    try:
        return int(item.get(keyword) or default)
    except (TypeError, ValueError):
        return default


def _store_encoded(client, data: bytes) -> Any:
    """STOW-RS of one file as it is. The library's public way takes data sets, and encodes them anew."""
    from dicomweb_client.web import _Transaction

    content = client._encode_multipart_message([data], _MEDIA)
    return client._http_post(client._get_studies_url(_Transaction.STORE), content, {"Content-Type": _MEDIA})


def _bounded(limit_s: float, at_most: int) -> Callable:
    """A hook that reads the body of a response, within a time and a size."""
    import requests

    def read(response: Any, *_: object, **__: object) -> Any:
        end, body = time.monotonic() + limit_s, bytearray()
        while part := response.raw.read1(2**16, decode_content=True):
            body += part
            if time.monotonic() > end or len(body) > at_most:
                response.close()
                raise requests.exceptions.ReadTimeout("the answer has no end")
        if response.raw.length_remaining:
            raise requests.exceptions.ChunkedEncodingError("the answer was cut off")
        response._content, response._content_consumed = bytes(body), True
        return response
    return read


def _data_set(response: Any) -> Any:
    """The data set of an answer to STOW-RS, empty where that is, or None where it cannot be read."""
    from xml.etree.ElementTree import fromstring

    from dicomweb_client.web import _load_xml_dataset
    from pydicom import Dataset

    with contextlib.suppress(Exception):  # whatever a server writes there
        if not response.content:
            return Dataset()
        if response.content.lstrip()[:1] == b"<":
            return _load_xml_dataset(fromstring(response.content))
        said = json.loads(response.content)
        return Dataset.from_json(said[0] if isinstance(said, list) else said)
    return None


def _about_the_object(peer: Destination, status: int) -> None:
    """UnreachableError where an HTTP status speaks of the service, and so says nothing about an object."""
    if status in _SERVICE:
        raise UnreachableError(f"{peer.url} {_SERVICE[status]} (HTTP {status}).")


@contextlib.contextmanager
def _connection(peer: Destination) -> Iterator[None]:
    """What the library raises where there is no answer, as an UnreachableError. An HTTPError is an answer, and goes through."""
    import requests
    import urllib3

    try:
        yield
    except requests.HTTPError:
        raise
    except requests.TooManyRedirects:
        raise UnreachableError(f"{peer.url} sends on to another address; put that one into the settings.") from None
    except requests.exceptions.SSLError as error:
        raise UnreachableError(f"{peer.url} and the node do not trust each other: {_of_tls(error)}.") from None
    except requests.Timeout:
        raise UnreachableError(f"{peer.url} does not answer in time.") from None
    except requests.JSONDecodeError:
        raise DeliveryError(f"{peer.url} answers with something that is no JSON") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise UnreachableError(f"{peer.url} cannot be reached, or ended the connection ({type(error).__name__}).") from None


def _of_tls(error: BaseException) -> str:
    text = str(error)
    for sign, words in (("doesn't match", "the certificate of the service is for another host"),
                        ("Hostname mismatch", "the certificate of the service is for another host"),
                        ("IP address mismatch", "the certificate of the service is for another host"),
                        ("CERTIFICATE_VERIFY_FAILED", "the authority in the settings does not vouch for the certificate of the service"),
                        ("ALERT", "the service does not take the certificate of the node, or wants one")):
        if sign.lower() in text.lower():
            return words
    return "the TLS handshake failed"
