"""The command line. Exit status: 0 done; 1 it could not be done, with a sentence that says why and what to do; 2 the command line is wrong.

No traceback reaches a person; BETZ_TRACEBACK=1 in the environment shows it to a developer. Everything heavy is imported by the command
that needs it, so that `betz --help` is instant.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from analysis.words import unpacked
from node import __version__
from node.child import die_with_parent, is_child
from node.disk import REFUSED, refusal
from node.errors import BetzError
from node.log import quiet, unforeseen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    if arguments is None:
        quiet()  # the process is ours
        os.umask(os.umask(0o777) | (0o007 if options.run in (_process, _phantom) else 0o077))  # patient data is not for others
    try:
        status = options.run(options) or 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _failed("stopped.")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BetzError as error:
        return _failed(str(error), error)
    except Exception as error:
        return _failed(f"something unforeseen happened: {unforeseen(error)}; BETZ_TRACEBACK=1 shows all of it.", error)


def _failed(sentence: str, error: BaseException | None = None) -> int:
    if error is not None and os.environ.get("BETZ_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    print(f"betz: {sentence}", file=sys.stderr)
    return REFUSED if is_child() and refusal(error) else 1


def _parser() -> argparse.ArgumentParser:
    about = "A DICOM node that measures what MRI can say in suspected ALS. For research use."
    parser = argparse.ArgumentParser(prog="betz", description=about)
    parser.add_argument("--version", action="version", version=f"betz {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run, text: str, settings: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(run=run)
        if settings:
            one.add_argument("--config", type=Path, metavar="FILE", help="the settings (TOML); without it the defaults hold")
        return one

    command("serve", _serve, "run the node: receive, analyse, send")
    one = command("process", _process, "analyse a folder of DICOM files, without a network")
    one.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of several, all of one patient, that of the latest "
                     "examination is analysed, and its report names the others")
    one.add_argument("--out", type=Path, required=True, help="where the objects and report.json go")
    one.add_argument("--nifti", action="store_true", help="also every mask and map, in OUT/nifti")
    one.add_argument("--earlier", type=Path, metavar="FOLDER", help="an earlier answer that this one replaces: its reports are named")
    one.add_argument("--failed", type=unpacked, metavar="REASON", help=argparse.SUPPRESS)
    one.add_argument("--missing", type=unpacked, metavar="SENTENCE", help=argparse.SUPPRESS)
    one.add_argument("--prior", type=Path, action="append", default=[], metavar="FOLDER", help=argparse.SUPPRESS)
    one.add_argument("--told", type=unpacked, action="append", default=[], metavar="SENTENCE", help=argparse.SUPPRESS)
    one = command("phantom", _phantom, "write a DICOM study with known anatomy and known findings, and truth.json", settings=False)
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    one.add_argument("--findings", metavar="NAME,…", help='what to plant; without it every finding of the head, with "none" a '
                     'healthy head; a finding of the neck, or "neck" for a healthy one, adds a neck')
    one.add_argument("--severity", type=float, default=1.0, metavar="X", help="from 0 to 1 (default 1)")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="which head, and its noise (default 0)")
    one.add_argument("--visits", type=_at_least_one, metavar="N", help="the head and neck at N examinations half a year apart "
                     "instead, a folder each, with what the severity lets it lose from one to the next")
    one = command("send", _send, "send every DICOM file of a folder by C-STORE")
    one.add_argument("folder", type=Path, metavar="FOLDER")
    one.add_argument("--to", required=True, type=_peer, metavar="AE@HOST:PORT")
    one.add_argument("--tls", action="store_true", help="over TLS, with the certificate under [tls] in the settings")
    one.add_argument("--certificate", default="", metavar="NAME", help="the name or SHA-256 fingerprint that the peer's certificate must "
                     "have; without it that of HOST")
    command("status", _status, "show every study and its state")
    for name, text in (("why", "say why a study is where it is"), ("retry", "analyse a study again"),
                       ("resend", "send the answer of a study again"), ("cancel", "stop what is still to be done with a study")):
        command(name, _study, text).add_argument("study", metavar="STUDY", help="its UID, or the last digits of it")
        commands.choices[name].set_defaults(name=name)
    commands.choices["resend"].add_argument("--to", default="", metavar="NAME", help="only to the destination of that name")
    commands.choices["retry"].add_argument("--first", action="store_true", help="before all others that wait")
    one = command("purge", _purge, "remove the studies whose whole answer is at every destination")
    one.add_argument("--older-than", type=float, default=0.0, metavar="DAYS", help="only those delivered at least so many days ago")
    one = command("check", _check, "check settings, folders, disk, listener and destinations")
    one.add_argument("--listener", action="store_true", help="only whether the node on this machine answers")
    one = command("norms", _norms, "the site's own healthy controls: how many, and how they are distributed")
    one.set_defaults(act="show", name=None)
    acts = one.add_subparsers(title="what to do", metavar="ACTION")
    for name, text in (("show", "list them by scanner and protocol, with every measurement; so does betz norms alone"),
                       ("add", "add healthy people: folders of answers (report.json), or of DICOM studies, which are analysed first"),
                       ("remove", "remove a control"), ("check", "how many controls lie outside the percentiles of the others")):
        act = acts.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        act.set_defaults(act=name)
        act.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS, help="the settings (TOML)")
    acts.choices["show"].add_argument("name", nargs="?", metavar="NAME", help="a marker or a measurement; without it all")
    acts.choices["add"].add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    acts.choices["remove"].add_argument("study", metavar="STUDY", help="its UID, or the last digits of it")
    command("markers", _markers, "list the markers: name, version, needs, gives, trust", settings=False)
    return parser


def _peer(text: str):
    from node.settings import Destination

    match = re.fullmatch(r"([^@]{1,16})@\[?([^\]]+)\]?:([0-9]{1,5})", text)
    if not match or not 0 < int(match[3]) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form AE@HOST:PORT, for example ORTHANC@127.0.0.1:4242")
    return Destination(match[1], match[1], match[2], int(match[3]))


def _settings(options: argparse.Namespace):
    from node.settings_file import read_settings

    return read_settings(options.config)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise BetzError(f"{path} is not a folder.")
    return path


def _lines(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def _serve(options: argparse.Namespace) -> None:
    settings = _settings(options)
    from node.service import serve

    serve(settings)


def _process(options: argparse.Namespace) -> None:
    if is_child():
        from node.isolation import isolate

        die_with_parent()
        isolate()
    settings, folders = _settings(options), [_folder(folder) for folder in options.folders]
    from node.prior_folders import in_order
    from node.process import process_folder

    *priors, folder = in_order(folders) if len(folders) > 1 else folders
    progress = _Progress()
    try:
        lines = process_folder(folder, options.out, settings, options.nifti, progress.step, failed=options.failed, earlier=options.earlier,
                               missing=options.missing, priors=[*priors, *options.prior], told=options.told)
    finally:
        progress.end()
    _lines(lines)


class _Progress:
    """The step that runs: one line that is rewritten on a terminal, a line each elsewhere."""

    def __init__(self) -> None:
        self.began, self.terminal = time.monotonic(), sys.stderr.isatty()

    def step(self, name: str) -> None:
        line = f"{time.monotonic() - self.began:5.0f} s  {name}"
        print(f"\r\033[K{line}" if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} examinations cannot be made")
    return number


def _phantom(options: argparse.Namespace) -> None:
    from analysis.phantom import FINDINGS
    from node.phantom import write_phantom, write_visits

    asked = tuple(FINDINGS) if options.findings is None else tuple(name for name in options.findings.split(",") if name not in ("", "none"))
    if not 0.0 <= options.severity <= 1.0:
        raise BetzError(f"The severity is {options.severity:g}; it must lie between 0 and 1.")
    try:
        if options.visits:
            write_visits(options.out, options.visits, options.severity, options.seed)
            print(f"The phantom at {options.visits} visits is in {options.out}, a folder each; its truth.json says what changed.")
            return
        write_phantom(options.out, asked, options.severity, options.seed)
    except ValueError as error:
        raise BetzError(f"{error}.") from error
    print(f"A phantom with {', '.join(asked) or 'no findings'} is in {options.out}; truth.json says what was planted.")


def _send(options: argparse.Namespace) -> None:
    settings, folder = _settings(options), _folder(options.folder)
    from dataclasses import replace

    from node.storage import send_folder

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    if options.tls and not settings.tls.is_on:
        raise BetzError("TLS needs certificate, key and authorities of this node under [tls] in the settings; name them with --config.")
    if options.certificate and not options.tls:
        raise BetzError("A peer shows no certificate without TLS; add --tls.")
    peer = replace(options.to, tls=options.tls, certificate=options.certificate, shown=settings.tls if options.tls else None)
    count = send_folder(folder, peer, settings.listener.ae_title, settings.sender.timeout_s, say)
    print(f"{count} objects sent to {options.to.ae_title} at {options.to.host}, port {options.to.port}.")


def _status(options: argparse.Namespace) -> None:
    settings = _settings(options)
    from node.status import status_lines

    _lines(status_lines(settings))


def _study(options: argparse.Namespace) -> None:
    settings = _settings(options)
    from node import status

    act = {"why": status.why_lines, "retry": status.retry, "resend": status.resend, "cancel": status.cancel}[options.name]
    more = {"retry": lambda: {"first": options.first}, "resend": lambda: {"destination": options.to}}.get(options.name, dict)
    _lines(act(settings, options.study, **more()))


def _purge(options: argparse.Namespace) -> None:
    settings = _settings(options)
    from node.status import purge

    _lines(purge(settings, options.older_than))


def _check(options: argparse.Namespace) -> int:
    settings = _settings(options)
    from node.check import checks

    failed = 0
    for right, sentence in checks(settings, options.listener):
        print(f"{ {True: 'ok  ', False: 'FAIL', None: 'warn'}[right]}  {sentence}", flush=True)
        failed += right is False
    return 1 if failed else 0


def _norms(options: argparse.Namespace) -> None:
    settings = _settings(options)
    if options.act == "add":
        _add_norms(settings, options.folders)
        return
    from node import enrolment, norms_table

    act = {"show": lambda: norms_table.show_lines(settings, options.name), "check": lambda: norms_table.check_lines(settings),
           "remove": lambda: enrolment.remove_lines(settings, options.study)}  # fmt: skip
    _lines(act[options.act]())


def _add_norms(settings, folders: Sequence[Path]) -> None:
    from node.enrolment import Refused, add_lines

    progress = _Progress()
    try:
        lines = add_lines(settings, folders, progress.step)
    except Refused as refused:
        progress.end()
        _lines(refused.lines)
        raise
    progress.end()
    _lines(lines)


def _markers(options: argparse.Namespace) -> None:
    from analysis.marker import markers

    for marker in markers():
        print(f"{marker.name} (version {marker.version})")
        print(f"  needs  {'; '.join(' or '.join(group) for group in marker.needs)}")
        print(f"  gives  {', '.join((*marker.gives, *marker.findings))}")
        print(f"  trust  {marker.section('Trust')}")


if __name__ == "__main__":
    sys.exit(main())
