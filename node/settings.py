"""The site's settings: where, who and which; never how much. One TOML file, or none.

Every key has a default but the destinations. `config/betz.toml` shows every key with its default and its purpose; `settings_file` reads
such a file.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Accept:
    """A caller that may send: its AE title, and the IP address or network (192.0.2.0/24) that it calls from.

    `certificate`: the name or the SHA-256 fingerprint of the one certificate that it must show; empty where any will do.
    """

    ae_title: str
    address: str
    certificate: str = ""

    def allows(self, ae_title: str, address: str) -> bool:
        return ae_title.strip() == self.ae_title and _ip(address) in ipaddress.ip_network(self.address, strict=False)


@dataclass(frozen=True)
class Listener:
    """Who may send to the node, where it listens, and what one peer may take of it.

    A connection is any TCP connection; it becomes an association when its request was whole in time and was accepted. With certificates
    under [tls] `port` is for TLS only; `plain_port` is then a second one without, 0 for none.
    """

    ae_title: str = "BETZ"
    host: str = "127.0.0.1"
    port: int = 11112
    plain_port: int = 0
    max_pdu: int = 131072
    maximum_object_gib: float = 4.0
    associations_at_once: int = 64
    associations_per_address: int = 32
    connections_at_once: int = 512
    connections_per_address: int = 128
    request_timeout_s: float = 10.0
    pdu_timeout_s: float = 30.0
    idle_timeout_s: float = 60.0
    accept: tuple[Accept, ...] = ()


@dataclass(frozen=True)
class Tls:
    """What the node shows of itself, and whom it believes (PS3.15 B.12, B.13). Without a certificate nothing is encrypted.

    `certificate`: a PEM file with the node's own, and those between it and its authority. `authorities`: whose certificates are accepted.
    """

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    profile: str = "b.12"
    warn_days: float = 30.0

    @property
    def is_on(self) -> bool:
        return self.certificate is not None


@dataclass(frozen=True)
class StudyRules:
    """When a study is ready: no new instance for `quiet_s`, and nothing missing or `deadline_s` over.

    `expect`: roles that every study of the site has; "swi or t2star" is met by either. `ask`: the name of a destination that is asked by
    C-FIND how many images there are, "" for none.
    """

    quiet_s: float = 30.0
    deadline_s: float = 1800.0
    expect: tuple[str, ...] = ()
    ask: str = ""


@dataclass(frozen=True)
class Priors:
    """Where the node looks for earlier examinations of a patient, before it analyses a new one.

    `archive`: the name of a destination that is asked, "" for none: then none is looked for. Asked for are our own reports of the last
    `years_back`, the latest `most` of them; with `analyse_unread` also the images of MR studies that have no such report. All of it ends
    after `wait_s`. Copies of what came are removed when they were not used for `keep_days`, 0 for never.
    """

    archive: str = ""
    years_back: float = 10.0
    most: int = 8
    wait_s: float = 60.0
    analyse_unread: bool = False
    keep_days: float = 30.0


@dataclass(frozen=True)
class Worker:
    """What one analysis may use."""

    studies_at_once: int = 1
    time_limit_s: float = 1800.0
    memory_limit_gib: float = 8.0


@dataclass(frozen=True)
class Sender:
    """How results are sent again after a failure that may pass."""

    retry_first_s: float = 5.0
    retry_maximum_s: float = 3600.0
    give_up_h: float = 72.0
    timeout_s: float = 60.0
    proof_wait_s: float = 600.0


def home() -> Path:
    """`$BETZ_HOME`, or the user's data folder (XDG base directory specification)."""
    if named := os.environ.get("BETZ_HOME"):
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).absolute() / "betz"


@dataclass(frozen=True)
class Storage:
    """Where everything is kept, how much of the disk is left alone, and for how long what is proven to be elsewhere is kept; 0 for ever."""

    folder: Path = field(default_factory=home)
    minimum_free_gib: float = 2.0
    keep_days: float = 0.0


@dataclass(frozen=True)
class Results:
    """What an answer holds beside the report, the masks and the maps, and how it speaks.

    `language`: that of the readable results, "en" or "de". `patient_page`: a page in plain language for the physician to hand over.
    `treatments`: a CSV of the site, what was given to whom and when, for the plots over time.
    `final`: reports say FINAL, not PRELIMINARY, for information systems that take no other. `institution` stands on objects and pages.
    """

    language: str = "en"
    institution: str = ""
    patient_page: bool = False
    treatments: Path | None = None
    final: bool = False
    tractography: bool = False


@dataclass(frozen=True)
class Audit:
    """Where audit messages go (PS3.15 A.5, A.6), and how long they stay here. No `host` and no `keep_days`: there are none.

    `ca`: who vouches for the repository; `certificate` and `key`: those of the node, where it asks. None: those of [tls], or of the system.
    """

    host: str = ""
    port: int = 6514
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    maximum_gib: float = 1.0
    keep_days: float = 0.0


@dataclass(frozen=True)
class Destination:
    """A peer that gets every result.

    `commitment`: it is asked to commit itself to keep them (PS3.4 J). `query`: a C-FIND that finds them is the proof, alone, or where the
    peer does not offer storage commitment. With `url` it is a DICOMweb service (PS3.18) instead, and what follows it is for that alone.
    `tls`: it is called over TLS; `certificate` is the name or the SHA-256 fingerprint that its certificate must have, empty for the name of
    `host`. `shown`: what the node shows of itself, from [tls]. `retrieve`: how earlier examinations come from it, "get" (C-GET), "move"
    (C-MOVE to the node), or "" for the first of the two that it offers; a DICOMweb service gives them by WADO-RS.
    """

    name: str
    ae_title: str = ""
    host: str = ""
    port: int = 0
    commitment: bool = False
    query: bool = False
    tls: bool = False
    certificate: str = ""
    shown: Tls | None = field(default=None, metadata={"is_no_key": True})
    retrieve: str = ""
    url: str = ""
    authorities: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    token_file: Path | None = None
    user: str = ""
    password_file: Path | None = None

    @property
    def is_to_prove(self) -> bool:
        return self.commitment or self.query


@dataclass(frozen=True)
class Task:
    """What a person does in functional series whose protocol name fits `series` ("*finger*": * is anything, capitals do not matter).

    `moves`: the hand, "left", "right" or "both"; "none" is rest. Rest and task take turns, `first` ("rest" or "task") first; or the blocks
    stand in `onsets_s` and `durations_s`, from the first volume that is sent.
    """

    series: str
    moves: str
    rest_s: float = 30.0
    task_s: float = 30.0
    first: str = "rest"
    onsets_s: tuple[float, ...] = ()
    durations_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Settings:
    """All of it. `source` is the file, None where the defaults hold."""

    listener: Listener = Listener()
    tls: Tls = Tls()
    study: StudyRules = StudyRules()
    priors: Priors = Priors()
    worker: Worker = Worker()
    sender: Sender = Sender()
    storage: Storage = field(default_factory=Storage)
    results: Results = Results()
    audit: Audit = Audit()
    destination: tuple[Destination, ...] = ()
    task: tuple[Task, ...] = ()
    source: Path | None = None


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found
