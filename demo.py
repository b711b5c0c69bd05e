"""`make demo`: a phantom study goes in by C-STORE, the answer comes back to an archive; what was measured stands beside what was planted.

Everything is real and on loopback: `betz serve` as a process of its own with an empty store, a small archive in this one, free ports.
Status 0 only if every measurement agrees with the truth of the phantom within the tolerance shown, and what was planted shows.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE / "demo-output"
BETZ = [sys.executable, "-m", "node.command"]
SEED, SEVERITY = 3, 1.0
PLANTED = (
    "cst_degeneration:left", "cst_hyperintensity:right", "motor_band_sign:right", "motor_cortex_atrophy:left", "brainstem_atrophy",
    "white_matter_lesions",
)  # fmt: skip
NO_NORM = ("cst_degeneration", "brainstem_atrophy")  # findings that need the site's own norms
WAIT_S = 900
# How far a measurement may lie from the truth: a share of the truth, or in its unit. The markers' Trust lines say what is usual.
TOLERANCE = {
    "intracranial_volume": ("share", 0.05), "brain_volume": ("share", 0.02), "grey_matter_volume": ("share", 0.03),
    "white_matter_volume": ("share", 0.03), "csf_volume": ("share", 0.2), "cst_fa": ("unit", 0.04), "cst_fa_asymmetry": ("unit", 4.0),
    "midbrain_volume": ("share", 0.25), "pons_volume": ("share", 0.12), "medulla_volume": ("share", 0.15),
    "precentral_thickness": ("unit", 0.45), "postcentral_thickness": ("unit", 0.35), "precentral_postcentral_ratio": ("unit", 0.15),
    "cst_flair_contrast": ("unit", 1.5), "motor_band_contrast": ("unit", 0.12), "motor_band_score": ("unit", 1.0),
}  # fmt: skip


def say(text: str = "") -> None:
    print(text, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_archive(folder: Path):
    """A C-STORE server that keeps what it gets as files; the server and its port."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    def keep(event) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        ds.save_as(folder / f"{ds.SeriesNumber}_{ds.Modality}_{str(ds.SOPInstanceUID)[-8:]}.dcm", enforce_file_format=True)
        return 0x0000

    archive = AE("ARCHIVE")
    archive.supported_contexts = AllStoragePresentationContexts
    return archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])


def start_node(folder: Path, archive_port: int) -> tuple[subprocess.Popen, int]:
    """`betz serve` with settings and a store of its own in a folder; the process and its port."""
    port = free_port()
    settings = folder / "betz.toml"
    settings.write_text(
        f'[listener]\nport = {port}\n[study]\nquiet_s = 3\n[storage]\nfolder = "store"\nminimum_free_gib = 0.5\n'
        f'[[destination]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive_port}\n'
    )
    log = (folder / "node.log").open("w")
    node = subprocess.Popen([*BETZ, "serve", "--config", str(settings)], stderr=log, stdout=log, cwd=HERE, start_new_session=True)
    end = time.monotonic() + 60
    while time.monotonic() < end and node.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return node, port
        time.sleep(0.2)
    raise SystemExit(f"The node did not start; {folder / 'node.log'} says why.")


def run(*arguments: str) -> None:
    done = subprocess.run([*BETZ, *arguments], cwd=HERE)
    if done.returncode:
        raise SystemExit(f"betz {arguments[0]} failed.")


def stop(node: subprocess.Popen) -> None:
    os.killpg(node.pid, signal.SIGTERM)
    node.wait(30)


def wait_for_answer(archive: Path, node: subprocess.Popen) -> Path:
    """The folder of the answer, once the archive has every object of it."""
    start, shown = time.monotonic(), -15.0
    while time.monotonic() - start < WAIT_S and node.poll() is None:
        reports = sorted((OUT / "store").glob("**/report.json"))
        if reports:
            answer = json.loads(reports[-1].read_text())
            if len(list(archive.glob("*.dcm"))) >= len(answer["objects"]):
                return reports[-1].parent
        if time.monotonic() - shown - start >= 15:
            shown = time.monotonic() - start
            say(f"  {shown:4.0f} s  {'the answer is on its way to the archive' if reports else 'the node is measuring'}")
        time.sleep(0.5)
    raise SystemExit(f"No answer came; {OUT / 'node.log'} says why.")


def compare(truth: dict, answer: dict) -> bool:
    """Show planted beside measured; whether all agree."""
    agree = True
    say(f"\n{'measurement':<44}{'true':>10}{'measured':>10}   agrees (allowed)")
    for marker, values in truth["measurements"].items():
        found = {(m["name"], m["side"], m["level"]): m["value"] for m in answer["markers"].get(marker, {}).get("measurements", [])}
        for entry in values:
            key = (entry["name"], entry["side"], entry["level"])
            if marker in answer["markers"] and entry["name"] in TOLERANCE:
                agree &= show(key, entry["value"], found.get(key))
    return agree


def show(key: tuple, true: float, measured: float | None) -> bool:
    kind, allowed = TOLERANCE[key[0]]
    words = " ".join(part.replace("_", " ") for part in key if part)
    if measured is None:
        say(f"{words:<44}{true:>10.3f}{'none':>10}   NO")
        return False
    error = abs(measured - true) / (abs(true) if kind == "share" else 1.0)
    limit = f"{100 * allowed:.0f} %" if kind == "share" else f"{allowed:g}"
    say(f"{words:<44}{true:>10.3f}{measured:>10.3f}   {'yes' if error <= allowed else 'NO'} ({limit})")
    return error <= allowed


def findings_agree(truth: dict, answer: dict) -> bool:
    """Show what was planted beside what was found; whether nothing was missed and nothing invented."""
    found = {(f["name"], f["side"]): f["value"] for outcome in answer["markers"].values() for f in outcome["findings"]}
    agree = True
    say(f"\nPlanted: {', '.join(truth['findings'])}, severity {truth['severity']:g}\n")
    say(f"{'finding':<44}{'planted':>10}{'found':>16}   agrees")
    for one in truth["findings_expected"]:
        value = found.get((one["name"], one["side"]), found.get((one["name"], None)))
        if value is None:
            continue
        right = (
            value != "present" if one["value"] == "absent" else value == "present" or (one["name"] in NO_NORM and value == "not assessed")
        )
        agree &= right
        name = f"{one['name'].replace('_', ' ')} {one['side'] or ''}"
        say(f"{name:<44}{one['value']:>10}{value:>16}   {'yes' if right else 'NO'}")
    unseen = sorted({f["name"] for f in truth["findings_expected"]} - {name for name, _ in found})
    if unseen:
        say(f"This version has no marker yet for: {', '.join(unseen)}.")
    return agree & tract_shows(answer)


def tract_shows(answer: dict) -> bool:
    """The planted loss of anisotropy on the left is found on the left."""
    value = next((m["value"] for m in answer["markers"]["cst_diffusion"]["measurements"] if m["name"] == "cst_fa_asymmetry"), None)
    found = value is not None and value > 8.0
    seen = f"right is {value:.0f} % higher than left" if value is not None else "no asymmetry was measured"
    say(f"Lower anisotropy of the left corticospinal tract: {'found' if found else 'NOT FOUND'}, {seen}.")
    return found


def main() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    archive_folder = OUT / "archive"
    archive_folder.mkdir(parents=True)
    say("Making a phantom study with known findings ...")
    run("phantom", "--out", str(OUT / "phantom"), "--findings", ",".join(PLANTED), "--severity", str(SEVERITY), "--seed", str(SEED))
    archive = start_archive(archive_folder)
    node, port = start_node(OUT, archive.server_address[1])
    try:
        say(f"The node listens on 127.0.0.1:{port}; sending the study by C-STORE ...")
        run("send", str(OUT / "phantom" / "dicom"), "--to", f"BETZ@127.0.0.1:{port}")
        say("Sent. The node waits for 3 s of quiet, then measures (two to five minutes on two cores) ...")
        folder = wait_for_answer(archive_folder, node)
    finally:
        stop(node)
        archive.shutdown()
    truth, answer = (json.loads(path.read_text()) for path in (OUT / "phantom" / "truth.json", folder / "report.json"))
    agree = compare(truth, answer) & findings_agree(truth, answer)
    say("\n" + "\n".join(answer["summary"]))
    say("\nWhat came back to the archive:")
    for entry in sorted(archive_folder.glob("*.dcm")):
        say(f"  {entry.relative_to(HERE)}  {entry.stat().st_size / 1024:.0f} KiB")
    say(f"The answer as JSON: {(folder / 'report.json').relative_to(HERE)}")
    say("\nThe demo agrees with the phantom's truth." if agree else "\nThe demo does NOT agree with the phantom's truth.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
