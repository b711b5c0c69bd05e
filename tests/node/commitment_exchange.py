"""Has archives of another project prove what they got. A program of its own: `test_archives` runs it, as it does `archive_exchange`.

    python commitment_exchange.py Orthanc|Orthanc-TLS|dcmqrscp ANSWER WORK

The sender of a node sends ANSWER, a folder of objects of one study. Orthanc is asked for storage commitment and reports over an association
that it opens to the node's listener (with TLS each of both is bound to its certificate); dcmqrscp offers none, and is asked by C-FIND. One
object is never sent: the archive has to say so, and gets it. What became of each object is printed as JSON.
"""

import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pydicom
import trustme
from archive_exchange import ANSWER_S, PEER, dcmqrscp, orthanc, raise_loopback, running, wait_for

from node.commitment import services
from node.journal import Journal
from node.listener import listen
from node.outbox import Outbox
from node.records import PROVEN, READY, RECEIVING, STORED
from node.sender import Sender
from node.settings import Accept, Destination, Listener, Settings, Storage, Tls
from node.settings import Sender as Rules
from node.spool import Spool

PORT, AUTHORITY = 11112, trustme.CA()


class Node:
    """Listener and sender of a node whose only study is the folder; its clock can be put forward."""

    def __init__(self, answer: Path, work: Path, peer: Destination) -> None:
        rules = Listener(port=PORT, accept=(Accept(peer.ae_title, peer.host, peer.certificate),) if peer.tls else ())
        settings = Settings(rules, peer.shown or Tls(), sender=Rules(timeout_s=ANSWER_S), storage=Storage(work, 0.0), destination=(peer,))
        self.ahead_s, self.spool, self.outbox = 0.0, Spool(work), Outbox(work)
        self.journal = Journal(work / "journal.sqlite", self.now)
        self.study = self._keep(answer, work)
        self.sender = Sender(settings, peer, self.journal, self.spool, self.outbox, self.now)
        self.listener = listen(settings, self.spool, self.journal.stored, services(self.sender.hear))

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.stop()

    def now(self) -> float:
        return time.time() + self.ahead_s

    def _keep(self, answer: Path, work: Path) -> str:
        source = sorted(answer.glob("*.dcm"))[0]
        study = str(pydicom.dcmread(source, stop_before_pixels=True).StudyInstanceUID)
        (self.spool.studies_folder / study).mkdir()
        shutil.copy(source, self.spool.studies_folder / study / "1.dcm")
        shutil.copytree(answer, work / "out")
        kept = self.outbox.keep(study, work / "out")
        self.journal.stored(study)
        self.journal.move(study, (RECEIVING,), READY)
        self.journal.start(study)
        self.journal.answer(study, self.spool.version(study), kept.name, kept.files, [PEER.name])
        return study

    def until_proven(self) -> list[tuple[str, str, str]]:
        """Step as the service does, until everything is proven or it takes too long."""
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end and {row.state for row in self.journal.results_of(self.study)} != {PROVEN}:
            self.sender.step()
            self.ahead_s += 5.0
            time.sleep(0.1)
        return [(row.file, row.state, row.reason) for row in self.journal.results_of(self.study)]


def certified(work: Path, name: str) -> Tls:
    """The files of somebody with a certificate that the authority in the work folder vouches for. DCMTK 3.6.7 takes RSA alone."""
    issued = AUTHORITY.issue_cert("127.0.0.1", common_name=name, key_type=trustme.KeyType.RSA)
    tls = Tls(work / f"{name}.pem", work / f"{name}.key", work / "authorities.pem")
    issued.cert_chain_pems[0].write_to_path(tls.certificate)
    issued.private_key_pem.write_to_path(tls.key)
    AUTHORITY.cert_pem.write_to_path(tls.authorities)
    return tls


def over_tls(work: Path) -> dict[str, object]:
    tls = certified(work, "orthanc")
    return {"DicomTlsEnabled": True, "DicomTlsCertificate": str(tls.certificate), "DicomTlsPrivateKey": str(tls.key),
            "DicomTlsTrustedCertificates": str(tls.authorities), "DicomTlsRemoteCertificateRequired": True}


def main(kind: str, answer: Path, work: Path) -> None:
    raise_loopback()
    store = work / "archive"
    store.mkdir(parents=True)
    node_of = {"AET": "BETZ", "Host": "127.0.0.1", "Port": PORT, "AllowStorageCommitment": True}
    modalities = {"DicomModalities": {"betz": node_of}, "DicomAlwaysAllowFind": True}
    peer = replace(PEER, commitment=True, query=kind == "dcmqrscp")
    if kind == "Orthanc-TLS":
        modalities |= over_tls(work)
        node_of["UseDicomTls"] = True
        peer = replace(peer, tls=True, certificate="orthanc", shown=certified(work, "betz"))
    command = dcmqrscp(store) if kind == "dcmqrscp" else orthanc(store, **modalities)
    with running(command, work) as archive, Node(answer, work, peer) as node:
        wait_for(archive, peer)
        never_sent = node.journal.due(PEER.name)[-1]
        node.journal.sent(never_sent, STORED, "taken for stored")
        print(json.dumps({"never_sent": never_sent.file, "rows": node.until_proven(), "requests": len(
            node.journal.proofs_of(node.study, never_sent.answer, PEER.name)), "state": node.journal.study(node.study).state}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
