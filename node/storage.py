"""The Storage Service Class as its user (PS3.4 B): files go to a peer by C-STORE, and of each is said what became of it.

Each SOP class has presentation contexts of its own, so a class that is refused costs its own objects only. An object over which the
association is lost is tried again later, and the others go on over another association, once: no object holds the others for ever, and
no peer that is away is called for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.association import EXPLICIT, IMPLICIT, associated, called
from node.errors import BetzError, DeliveryError, RefusedError, UnreachableError, UnsupportedError
from node.settings import Destination

_CONTEXTS, _LOST_AT_MOST = 126, 2
_PERSONAL = ("PatientName", "PatientID", "PatientBirthDate", "PatientBirthName", "OtherPatientIDs", "OtherPatientNames", "AccessionNumber",
             "StudyDescription", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName")
_WARNINGS, _TRANSIENT, _CLASS_NOT_SUPPORTED = (0x0001, 0x0107, 0x0111, 0x0116), (0x0110, 0x0213, 0xFE00), 0x0122


@dataclass(frozen=True)
class Sent:
    """What became of one object: no `error`, or why not. `warning` is a status that still means stored."""

    error: DeliveryError | None = None
    warning: str = ""


def deliver(
    peer: Destination, calling: str, paths: Sequence[Path], timeout_s: float, offer: Callable[[Path], None] = lambda path: None
) -> Iterator[tuple[Path, Sent]]:
    """Send files by C-STORE, as they are encoded; say of each what became of it. `offer` hears of each just before it goes.

    Only a peer that takes a class in the other uncompressed syntax alone gets it converted.
    """
    kinds = {path: _kind(path) for path in paths}
    yield from ((path, Sent(kind)) for path, kind in kinds.items() if isinstance(kind, DeliveryError))
    good = {path: kind for path, kind in kinds.items() if not isinstance(kind, DeliveryError)}
    for group in _groups(good):
        yield from _over_associations(peer, calling, group, timeout_s, offer)


def _over_associations(
    peer: Destination, calling: str, group: dict[Path, tuple[str, str]], timeout_s: float, offer: Callable[[Path], None]
) -> Iterator[tuple[Path, Sent]]:
    left, lost = list(group), 0
    while left:
        begun = False
        try:
            with associated(peer, calling, _offered([group[path] for path in left]), timeout_s) as association:
                while left:
                    begun = True
                    offer(left[0])
                    yield left[0], _store(association, left[0], group[left[0]])
                    left.pop(0)
        except DeliveryError as error:
            lost += 1
            failed = left[:1] if begun and lost < _LOST_AT_MOST else left[:]
            left = left[len(failed):]
            yield from ((path, Sent(error)) for path in failed)


def _kind(path: Path) -> tuple[str, str] | DeliveryError:
    """SOP class and transfer syntax of a file."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except FileNotFoundError:
        return RefusedError(f"{path.name} is gone.")
    except (InvalidDicomError, AttributeError, OSError):
        return RefusedError(f"{path.name} is not a DICOM file that says its SOP class and transfer syntax.")


def _offered(kinds: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Class and syntax of each context: the file's own, and for uncompressed files both."""
    offered: dict[tuple[str, str], None] = {}
    for sop_class, syntax in kinds:
        for one in (EXPLICIT, IMPLICIT) if syntax in (EXPLICIT, IMPLICIT) else (syntax,):
            offered[sop_class, one] = None
    return list(offered)


def _groups(kinds: dict[Path, tuple[str, str]]) -> Iterator[dict[Path, tuple[str, str]]]:
    """Files whose contexts fit into one association (at most 128, PS3.8 9.3.2.2)."""
    group: dict[Path, tuple[str, str]] = {}
    for path, kind in kinds.items():
        if len(_offered([*group.values(), kind])) > _CONTEXTS:
            yield group
            group = {}
        group[path] = kind
    if group:
        yield group


def _store(association, path: Path, kind: tuple[str, str]) -> Sent:
    from pydicom import dcmread

    accepted = {(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in association.accepted_contexts}
    convertible = kind[1] in (EXPLICIT, IMPLICIT) and accepted & {(kind[0], EXPLICIT), (kind[0], IMPLICIT)}
    if kind not in accepted and not convertible:
        return Sent(UnsupportedError(f"the peer does not accept {_named(kind[0])} in {_named(kind[1])}"))
    if not association.is_established:
        raise UnreachableError("The connection was lost.")
    try:
        answer = association.send_c_store(path if kind in accepted else dcmread(path))
    except (ValueError, AttributeError, OSError) as error:
        return Sent(RefusedError(f"{path.name} cannot be encoded ({type(error).__name__})"))
    except RuntimeError as error:
        raise UnreachableError("The connection was lost.") from error
    if "Status" not in answer:
        raise UnreachableError("The peer did not answer, or the connection was lost.")
    return verdict(answer.Status, _comment(str(answer.get("ErrorComment") or ""), path))


def verdict(status: int, comment: str = "") -> Sent:
    """What a C-STORE status means (PS3.4 B.2.3, PS3.7 C): stored, stored with a warning, to be tried again, or refused for good.

    0110 (processing failure) and 0213 (resource limitation) are general failures that may pass, and so is FE00 (cancelled there); every
    other failure but A7xx will not. 0111 (duplicate SOP instance) is none: a UID follows from the content, so what is there is the same.
    """
    said = f"status {status:04X}{_in_words(status)}" + (f" ({comment})" if comment else "")
    if status == 0x0000:
        return Sent()
    if status >> 12 == 0xB or status in _WARNINGS:
        return Sent(warning=said)
    if status >> 8 == 0xA7 or status in _TRANSIENT:
        return Sent(DeliveryError(f"the peer is out of resources or failed for now: {said}"))
    if status == _CLASS_NOT_SUPPORTED:
        return Sent(UnsupportedError(f"the peer does not take this class: {said}"))
    return Sent(RefusedError(f"the peer refused: {said}"))


def _comment(comment: str, path: Path) -> str:
    """What the peer says beside a status, unless it names the patient: reasons go to logs."""
    from pydicom import dcmread

    if not comment:
        return ""
    header = dcmread(path, stop_before_pixels=True, specific_tags=list(_PERSONAL))
    words = {word for keyword in _PERSONAL for word in re.split(r"[\^=\s,]+", str(header.get(keyword) or "").lower()) if len(word) > 1}
    return "its comment names the patient and is left out" if any(_names(comment, word) for word in words) else comment


def _names(comment: str, word: str) -> bool:
    """Whether a word is in a text, for longer ones whatever stands between their letters: a date may be written in many ways."""
    bare = re.sub(r"\W", "", word)
    return word in comment.lower() or (len(bare) >= 6 and bare in re.sub(r"\W", "", comment.lower()))


def _in_words(status: int) -> str:
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

    words = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))[1]
    return f", {words.lower()}" if words else ""


def _named(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name


def send_folder(folder: Path, peer: Destination, calling: str, timeout_s: float, say: Callable[[str], None]) -> int:
    """Send every DICOM file under a folder; say what was refused, return how many are there. BetzError where one is not."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [path for path in files if _is_dicom(path)]
    others = sorted(path.name for path in set(files) - set(paths))
    if not paths:
        raise BetzError(f"{folder} holds no DICOM file.")
    if others:
        say(f"{len(others)} files are no DICOM files and were not sent: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}")
    failed = 0
    for path, sent in deliver(peer, calling, paths, timeout_s):
        if sent.error or sent.warning:
            say(f"{path.name}: {sent.error or sent.warning}")
        failed += sent.error is not None
    if failed:
        raise BetzError(f"{failed} of {len(paths)} objects did not reach {called(peer)}.")
    return len(paths)


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"
