"""Has DCMTK's storescp take an answer, but not every class of it. A program of its own, which `test_archives` runs.

    python refusing_exchange.py ANSWER WORK

storescp takes Comprehensive SR, Basic Text SR, Secondary Capture and Encapsulated PDF. What became of each object is printed as JSON; what
it stored lies in WORK/archive.
"""

import json
import sys
from pathlib import Path

from archive_exchange import ANSWER_S, PEER, raise_loopback, running, wait_for
from commitment_exchange import Node

from node.records import PENDING, UNSUPPORTED

CLASSES = ("VerificationSOPClass", "ComprehensiveSRStorage", "BasicTextSRStorage", "SecondaryCaptureImageStorage", "EncapsulatedPDFStorage")
PROFILE = "[[TransferSyntaxes]]\n[Plain]\nTransferSyntax1 = LittleEndianExplicit\nTransferSyntax2 = LittleEndianImplicit\n" \
    "[[PresentationContexts]]\n[Some]\n{}\n[[Profiles]]\n[Few]\nPresentationContexts = Some\n"


def main(answer: Path, work: Path) -> None:
    raise_loopback()
    store = work / "archive"
    store.mkdir(parents=True)
    contexts = "\n".join(f"PresentationContext{number} = {name}\\Plain" for number, name in enumerate(CLASSES, 1))
    (work / "storescp.cfg").write_text(PROFILE.format(contexts))
    command = ["storescp", "-xf", work / "storescp.cfg", "Few", "--output-directory", store, "--unique-filenames", str(PEER.port)]
    with running(command, work) as archive, Node(answer, work, PEER) as node:
        wait_for(archive)
        for _ in range(10):
            node.sender.step()
            node.ahead_s += ANSWER_S
            rows = node.journal.results_of(node.study)
            if not {row.state for row in rows} & {PENDING, UNSUPPORTED}:
                break
        print(json.dumps({"rows": {row.file: (row.state, row.reason) for row in rows}, "state": node.journal.study(node.study).state}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
