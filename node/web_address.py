"""What a destination in the settings must say so that it can be called: over DIMSE or over DICOMweb, never both, and no secret in clear."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from node.settings import Destination

_DIMSE = ("ae_title", "host", "port")
_TLS = ("tls", "certificate")
_WEB = ("authorities", "client_certificate", "client_key", "token_file", "user", "password_file")


def address_problem(peer: Destination) -> str | None:
    """A sentence that says what is wrong with how a destination is to be called; None where nothing is."""
    dimse, web = ([key for key in keys if getattr(peer, key)] for keys in ((*_DIMSE, *_TLS), _WEB))
    if not peer.url:
        if web:
            return f"{web[0]} is for DICOMweb, and the destination {peer.name!r} has no url."
        if peer.ae_title and peer.host and not peer.port:
            return "port is 0 or missing; it must be the port on which the peer listens."
        missing = next((key for key in _DIMSE if key not in dimse), None)
        return missing and f"needs the key {missing!r}, or a url where it is a DICOMweb service."
    if dimse:
        return f"{peer.name!r} has a url and {dimse[0]}: it is called over DICOMweb (url) or over DIMSE ({', '.join(_DIMSE)}), not both."
    if peer.commitment:
        return f"{peer.name!r} has a url: there is no storage commitment over DICOMweb; write query = true for a proof."
    return _url_problem(peer) or _secret_problem(peer)


def _url_problem(peer: Destination) -> str | None:
    example = "write, for example, https://archive.example.org/dicom-web"
    try:
        parts = urlsplit(peer.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"url of {peer.name!r} is no address; {example}."
    if parts.scheme not in ("http", "https") or not host:
        return f"url of {peer.name!r} is no address of a web service; {example}."
    if parts.username is not None or parts.query or parts.fragment:
        return f"url of {peer.name!r} must hold no user, password, ? or #; a secret goes into token_file or password_file."
    return f"url of {peer.name!r} must name its host; an IPv6 address cannot stand there." if ":" in host else None


def _secret_problem(peer: Destination) -> str | None:
    if peer.token_file and (peer.user or peer.password_file):
        return f"{peer.name!r} has a token_file and a user or password_file; the service takes one of them."
    if bool(peer.user) != bool(peer.password_file):
        return f"{peer.name!r} needs user and password_file together."
    if peer.client_key and not peer.client_certificate:
        return f"{peer.name!r} has a client_key, but no client_certificate."
    parts = urlsplit(peer.url)
    if parts.scheme == "http" and not is_loopback(str(parts.hostname)) and (peer.token_file or peer.password_file):
        return f"{peer.name!r} would get its secret in clear over http; the url must begin with https."
    return None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
