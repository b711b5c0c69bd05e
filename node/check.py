"""`betz check`: what must be right before a node can work, one line each: settings, folder, disk, the listener, the audit repository,
every destination."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from node import audit_transport, isolation
from node.association import echo
from node.certificates import first_in, identity_of, verdicts
from node.channel import channel_to
from node.dicomweb import check_secrets
from node.errors import BetzError, DeliveryError, RefusedError
from node.machine import memory_gib, places_of, sentence_of
from node.permissions import check_permissions
from node.query import images_of
from node.retrieval import archive_to
from node.service import is_running
from node.settings import Destination, Settings

_NO_STUDY = "2.25.0"  # nobody has it; to ask for it discloses nothing
ECHO_TIMEOUT_S = 5.0


def checks(settings: Settings, only_listener: bool = False) -> Iterator[tuple[bool | None, str]]:
    """Whether each thing is right (None: it is, but not for long), and a sentence about it.

    `only_listener`: is there a node, and does it answer?
    """
    if only_listener:
        yield _checked(lambda: _listener(settings, must_run=True))
        return
    yield True, f"settings: {settings.source or 'the defaults, no file'}"
    yield _checked(lambda: _folder(settings))
    yield _checked(lambda: check_permissions(settings))
    yield _checked(lambda: _disk(settings))
    yield True, sentence_of(settings.worker, places_of(settings.worker, memory_gib()))
    yield True, isolation.sentence()
    yield _checked(lambda: keeping(settings))
    if not settings.tls.is_on:
        yield True, "tls: no certificate is configured under [tls]; what goes over the network is not encrypted"
    yield from verdicts(settings, datetime.now(UTC))
    yield _checked(lambda: _listener(settings, must_run=False))
    if not settings.destination:
        yield True, "destinations: none is configured; answers stay in the outbox"
    yield _checked(lambda: audit_transport.check(settings))
    for peer in settings.destination:
        yield _checked(lambda peer=peer: _destination(settings, peer))


def _checked(check: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, check()
    except (BetzError, OSError) as error:
        return False, str(error)


def _folder(settings: Settings) -> str:
    """Write, sync, and give a second name: what the spool does."""
    folder = settings.storage.folder
    first, second = folder / f"check.{os.getpid()}.a", folder / f"check.{os.getpid()}.b"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(first, "xb") as file:
            file.write(b"betz")
            os.fsync(file.fileno())
        os.link(first, second)
    except OSError as error:
        raise BetzError(f"storage: {folder} cannot be used ({error.strerror}); it must be writable and allow hard links") from None
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
    return f"storage: {folder} is writable"


def _disk(settings: Settings) -> str:
    free_gib, least_gib = shutil.disk_usage(settings.storage.folder).free / 2**30, settings.storage.minimum_free_gib
    if free_gib < least_gib:
        raise BetzError(f"disk: {free_gib:.1f} GiB are free, {least_gib:g} are needed; make room, or run: betz purge")
    return f"disk: {free_gib:.1f} GiB are free"


def _listener(settings: Settings, must_run: bool) -> str:
    rules = settings.listener
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(rules.host, rules.host)
    if not is_running(settings.storage.folder):
        if must_run:
            raise BetzError("listener: the node is not running; start it with: betz serve")
        ports = [rules.port, rules.plain_port] if rules.plain_port else [rules.port]
        for port in ports:
            _port_is_free(rules.host, port)
        return f"listener: the node is not running; port {' and '.join(map(str, ports))} on {rules.host} is free for it"
    try:
        echo(_itself(settings, host), rules.ae_title, ECHO_TIMEOUT_S)
    except RefusedError:
        return f"listener: answers on {host}, port {rules.port} (and, as it should, accepts listed callers only)"
    except DeliveryError as error:
        if _shows_certificate(settings, host):
            return f"listener: speaks TLS on {host}, port {rules.port} (and does not accept its own certificate, so it is asked no more)"
        raise BetzError(f"listener: the node runs but does not answer: {error}") from None
    return f"listener: answers C-ECHO {'over TLS ' if settings.tls.is_on else ''}on {host}, port {rules.port}"


def _itself(settings: Settings, host: str) -> Destination:
    """The node as it would call itself."""
    rules, tls = settings.listener, settings.tls
    if not tls.is_on:
        return Destination("self", rules.ae_title, host, rules.port)
    return Destination("self", rules.ae_title, host, rules.port, tls=True, certificate=first_in(tls.certificate).fingerprint, shown=tls)


def _shows_certificate(settings: Settings, host: str) -> bool:
    """Over TLS 1.3 a caller sees the certificate before its own is judged."""
    try:
        shown = ssl.get_server_certificate((host, settings.listener.port), timeout=ECHO_TIMEOUT_S)
        return settings.tls.is_on and identity_of(ssl.PEM_cert_to_DER_cert(shown)) == first_in(settings.tls.certificate)
    except OSError:
        return False


def _port_is_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise BetzError(f"listener: port {port} on {host} cannot be used: {error.strerror}") from None


def keeping(settings: Settings) -> str:
    """What `keep_days` will do."""
    days, silent = settings.storage.keep_days, [peer.name for peer in settings.destination if not peer.is_to_prove]
    if days and (silent or not settings.destination):
        who = ", ".join(silent) or "no destination"
        raise BetzError(f"storage: keep_days = {days:g} removes nothing, as {who} {'is asked for no' if silent else 'gives a'} proof; "
                        "write commitment = true or query = true there, or remove by hand: betz purge")
    return f"storage: a study is kept {f'{days:g} days after its answer is proven everywhere' if days else 'until betz purge'}"


def _destination(settings: Settings, peer: Destination) -> str:
    try:
        check_secrets(peer)
        channel_to(peer, settings.listener.ae_title, ECHO_TIMEOUT_S).check()
    except DeliveryError as error:
        raise BetzError(f"destination {peer.name}: {error}") from None
    more = _priors(settings, peer) if peer.name == settings.priors.archive else ""
    if peer.url:
        return f"destination {peer.name}: answers at {peer.url}{more}"
    known = settings.listener.accept
    if peer.commitment and known and peer.ae_title not in {one.ae_title for one in known}:
        raise BetzError(f"destination {peer.name}: it is asked for storage commitment, but may not call the node to report; "
                        f"list {peer.ae_title} under [[listener.accept]]")
    if peer.name != settings.study.ask:
        return f"destination {peer.name}: answers C-ECHO{more}"
    try:
        images_of(peer, settings.listener.ae_title, _NO_STUDY, ECHO_TIMEOUT_S)
    except DeliveryError as error:
        raise BetzError(f"destination {peer.name}: [study] ask names it, and it cannot be asked for images: {error}") from None
    return f"destination {peer.name}: answers C-ECHO, and can be asked for images{more}"


def _priors(settings: Settings, peer: Destination) -> str:
    """Whether it can be asked for earlier examinations; nothing is asked that would disclose a patient."""
    try:
        archive_to(peer, settings.listener.ae_title, ECHO_TIMEOUT_S).check_offer(_NO_STUDY)
    except DeliveryError as error:
        what = "[priors] archive names it, and it cannot be asked for earlier examinations"
        raise BetzError(f"destination {peer.name}: {what}: {error}") from None
    known = settings.listener.accept
    if peer.retrieve == "move" and known and peer.ae_title not in {one.ae_title for one in known}:
        raise BetzError(f"destination {peer.name}: [priors] archive names it, but it may not call the node to send by C-MOVE; "
                        f"list {peer.ae_title} under [[listener.accept]]")
    return ", and can be asked for earlier examinations"
