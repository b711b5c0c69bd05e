"""The node as a service: listener, worker, readiness and senders in one process, on one storage folder.

It ends on SIGTERM and SIGINT: open associations get a moment, a running analysis is ended and starts again with the next node. A lock
keeps a second node off the same folder. Every event is one JSON line on stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from node import audit_trail, permissions
from node.audit_transport import sending
from node.clock_jumps import ClockJumps
from node.commitment import services
from node.copies import Copies
from node.errors import BetzError
from node.isolation import why_not
from node.journal import Journal
from node.listener import listen
from node.lock import is_held
from node.log import log
from node.memory import keep_for_good, one_heap
from node.outbox import Outbox
from node.priors import PriorStage
from node.purge import Purge
from node.readiness import Readiness, look_in_child
from node.sender import Sender
from node.settings import Settings
from node.spool import Spool
from node.worker import Worker, in_child

JOURNAL = "journal.sqlite"


def serve(settings: Settings, stop: threading.Event | None = None, started: Callable[[int], None] = lambda port: None) -> None:
    """Run until `stop` is set or a signal comes. `started` hears the port once the node listens."""
    warnings.simplefilter("ignore")  # libraries warn with the values of elements, which may be patient data
    one_heap()
    stop = stop or threading.Event()
    with only_node(settings.storage.folder), _signals(stop), sending(settings):
        audit_trail.node_ran()
        audit_trail.settings_compared(settings)
        journal, spool, outbox = open_storage(settings)
        with _writing(settings.storage.folder):
            swept = spool.sweep()
        if swept:
            log("swept", objects=swept, reason="half received when an earlier node ended; their senders never heard success")
        readiness = Readiness(settings, journal, spool, outbox, look_in_child())
        copies = Copies(settings.storage.folder, settings.storage.minimum_free_gib)
        copies.sweep()
        copies.expect_nothing()
        executor = in_child(settings, settings.storage.folder / "log", readiness.missing, PriorStage(settings, copies))
        worker = Worker(settings, journal, spool, outbox, *executor, allows=readiness.allows)
        jumps = ClockJumps(journal)
        senders = [Sender(settings, peer, journal, spool, outbox, follow=jumps.follow) for peer in settings.destination]
        worker.sweep()
        worker.recover()
        reports = services(lambda report, title: any(sender.hear(report, title) for sender in senders))
        moved = any(peer.name == settings.priors.archive and not peer.url and peer.retrieve != "get" for peer in settings.destination)
        listener = listen(settings, spool, journal.stored, reports, copies if moved else None)
        served = (worker, readiness, Purge(settings, journal, spool, outbox), *senders)
        threads = [threading.Thread(target=one.serve, args=(stop,), name=type(one).__name__) for one in served]
        for thread in threads:
            thread.start()
        rules = settings.listener
        doors = {"tls": settings.tls.profile, "plain_port": rules.plain_port} if settings.tls.is_on else {"tls": "off"}
        log("node_started", ae_title=rules.ae_title, host=rules.host, port=listener.port, **doors, storage=settings.storage.folder,
            destinations=[peer.name for peer in settings.destination])
        permissions.told(settings)
        if why := why_not():
            log("analyses_not_isolated", reason=f"they can open network connections: {why}")
        audit_trail.node_started()
        keep_for_good()
        started(listener.port)
        stop.wait()
        listener.stop()
        for thread in threads:
            thread.join()
        journal.close()
        log("node_stopped")
        audit_trail.node_stopped()


def open_storage(settings: Settings) -> tuple[Journal, Spool, Outbox]:
    """Journal, spool and outbox of the storage folder, made where they are not there yet."""
    folder = settings.storage.folder
    _make(folder)
    with _writing(folder):
        return Journal(folder / JOURNAL), Spool(folder, settings.storage.minimum_free_gib), Outbox(folder)


def _make(folder: Path) -> None:
    """Patient data lies there: other users of the machine may not look."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "lock").touch()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BetzError(f"The storage folder {folder} cannot be written: {error.strerror or error}. Make room or make it writable, or name "
                        "another under [storage] folder.") from error


@contextlib.contextmanager
def only_node(folder: Path) -> Iterator[None]:
    """Hold the lock of the storage folder; BetzError where another node holds it."""
    _make(folder)
    permissions.secure(folder)
    with open(folder / "lock", "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = file.read().strip() or "unknown"
            raise BetzError(f"Another node (process {owner}) already works on {folder}; stop it, or name another folder.") from None
        with contextlib.suppress(OSError):  # for people only; on a full disk the lock holds without it
            os.pwrite(file.fileno(), f"{os.getpid():<20}".encode(), 0)
        yield


def is_running(folder: Path) -> bool:
    """True where a node holds the lock of that folder."""
    return is_held(folder / "lock")


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; elsewhere than in the main thread Python allows no handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
