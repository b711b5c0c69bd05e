"""Unique identifiers of what the node makes: the same study, software, settings and content give the same UID, and nothing else does.

A UID is `2.25.` and a version 5 UUID as a decimal number (PS3.5 B.2; at most 44 characters). The digest of the content is part of it, so
two objects that differ in one bit never share a UID: a result that is sent twice is the same bytes, and changed content is a new object.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable

from pydicom.dataset import Dataset

_ROOT = uuid.UUID("0c5e2f6e-6a52-5a0b-9b1c-3f1f6f2f7b11")
_SEPARATOR = "\x1f"


def uid(*parts: object) -> str:
    """The UID that belongs to these parts, in this order."""
    return f"2.25.{uuid.uuid5(_ROOT, _SEPARATOR.join(str(part) for part in parts)).int}"


def digest(*parts: bytes | str) -> str:
    """SHA-256 of the parts, each with its length, as 64 hexadecimal digits."""
    made = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        made.update(len(data).to_bytes(8, "big") + data)
    return made.hexdigest()


def input_digest(sop_instance_uids: Iterable[str]) -> str:
    """What was received, in whatever order it came."""
    return digest(*sorted({str(one) for one in sop_instance_uids}))


def config_digest(settings: object) -> str:
    """The part of the settings that changes results: anything that JSON can say."""
    return digest(json.dumps(settings, sort_keys=True, default=str))


def object_uid(*, site: str, study_instance_uid: str, inputs: str, version: str, config: str, kind: str, index: int, content: str) -> str:
    """The UID of one object, its series or its dimensions, as `kind` and `index` say; `inputs`, `config` and `content` are digests."""
    return uid("object", site, study_instance_uid, inputs, version, config, kind, index, content)


def patient_key(header: Dataset) -> str:
    """Which patient, without saying who: a digest of Patient ID and its issuer; of the study where there is no Patient ID."""
    if not header.get("PatientID"):
        return digest("study", str(header.StudyInstanceUID))
    return digest(str(header.PatientID), str(header.get("IssuerOfPatientID") or ""))


def tracking_uid(patient: str, structure: str, side: str | None, level: str | None) -> str:
    """The same structure of the same patient in every study and version: what longitudinal viewers follow. `patient`: a `patient_key`."""
    return uid("tracking", patient, structure, side or "", level or "")


def device_uid(site: str, ae_title: str) -> str:
    """The node itself as an observer."""
    return uid("device", site, ae_title)
