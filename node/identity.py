"""Whether two examinations are of one person: patient ID, its issuer, birth date and sex.

The same ID alone proves nothing: it is typed, reused and merged. A name proves nothing either way: people marry, and it is spelt in many
ways. What both state must be equal; where a proof is asked for, the birth date must be stated by both. Nothing here says a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.dataset import Dataset

from analysis.words import Words, say

KEYWORDS = ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")


@dataclass(frozen=True)
class Identity:
    """Who was examined, as a header says it; empty where it does not."""

    patient_id: str
    issuer: str
    birth_date: str
    sex: str


def identity_of(header: Dataset) -> Identity:
    """What is malformed counts as not said."""
    patient_id, issuer, birth_date, sex = (_said(header, keyword) for keyword in KEYWORDS)
    digits = re.sub(r"\D", "", birth_date)
    return Identity(patient_id, issuer, digits if len(digits) == 8 else "", sex.upper())


def difference(one: Identity, other: Identity, is_proof: bool = False) -> Words | None:
    """None for one person; else what is another's. `is_proof`: the birth date must be known of both."""
    if not one.patient_id or not other.patient_id:
        return say("it has no patient ID")
    if one.patient_id != other.patient_id:
        return say("its patient ID is another one")
    if one.issuer and other.issuer and one.issuer != other.issuer:
        return say("the issuer of its patient ID is another one")
    if one.birth_date and other.birth_date and one.birth_date != other.birth_date:
        return say("its birth date is another one")
    if one.sex and other.sex and one.sex != other.sex:
        return say("its sex is another one")
    if is_proof and not (one.birth_date and other.birth_date):
        return say("the birth date is not known, so that it cannot be told from another person's")
    return None


def differences(one: Identity, others: Iterable[Identity], is_proof: bool = False) -> Words | None:
    """The first difference among those whom the objects of one examination name."""
    return next((found for other in others if (found := difference(one, other, is_proof))), None)


def _said(header: Dataset, keyword: str) -> str:
    try:
        return " ".join(str(header.get(keyword) or "").split())
    except Exception:  # pydicom raises many kinds on a damaged value
        return ""
