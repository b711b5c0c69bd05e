"""Whom the settings trust: what is wrong with what they say about TLS, and how they name a certificate.

TLS is all or nothing: certificate, key and authorities together; nothing that needs them is taken without them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.settings import Settings


def fingerprint_in(binding: str) -> str | None:
    """The SHA-256 fingerprint, 64 small hexadecimal digits, where a text is one; None where it is a name."""
    digits = binding.strip().lower().removeprefix("sha256:").replace(":", "")
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else None


def trust_problem(settings: Settings) -> str | None:
    """A sentence that says what about TLS cannot be; None where nothing is wrong."""
    tls, rules = settings.tls, settings.listener
    missing = [name for name in ("certificate", "key", "authorities") if getattr(tls, name) is None]
    if 0 < len(missing) < 3:
        return f"[tls] needs certificate, key and authorities; there is no {' and no '.join(missing)}."
    if not tls.is_on and rules.plain_port:
        return "[listener] plain_port is a port without TLS beside one with it; without [tls] every port is plain: give port alone."
    if tls.is_on and rules.plain_port and rules.plain_port == rules.port:
        return "[listener] port and plain_port are the same; the one with TLS and the one without need a number each."
    for one in rules.accept:
        if one.certificate and not tls.is_on:
            return f"[[listener.accept]] binds {one.ae_title!r} to a certificate, but nobody shows one without [tls]."
    for peer in settings.destination:
        if peer.url and (peer.tls or peer.certificate):
            return f"the destination {peer.name!r} has a url: https says that it is TLS; leave out tls and certificate."
        if peer.tls and not tls.is_on:
            return f"the destination {peer.name!r} is to be called over TLS, but [tls] names no certificate of this node."
        if peer.certificate and not peer.tls:
            return f"the destination {peer.name!r} must have a certificate, but is called without TLS; add: tls = true."
    return None
