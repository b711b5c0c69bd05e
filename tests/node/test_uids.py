"""The same gives the same UID, anything else another."""

import itertools

from pydicom.dataset import Dataset
from pydicom.uid import UID

from node import uids

WHAT = {"site": "here", "study_instance_uid": "1.2", "inputs": "a", "version": "0", "config": "c", "kind": "x", "index": 1, "content": "d"}


def test_a_uid_follows_from_every_part_of_what_it_names():
    one = uids.object_uid(**WHAT)
    assert one == uids.object_uid(**WHAT) and UID(one).is_valid and one.startswith("2.25.") and len(one) <= 44
    others = {uids.object_uid(**{**WHAT, part: 2 if part == "index" else "other"}) for part in WHAT}
    assert len(others) == len(WHAT) and one not in others


def test_inputs_are_the_same_in_any_order_and_not_when_joined_otherwise():
    assert len({uids.input_digest(order) for order in itertools.permutations(["1.2", "1.3", "1.4"])}) == 1
    assert uids.input_digest(["1.2", "1.2", "1.3"]) == uids.input_digest(["1.2", "1.3"])
    assert uids.digest("ab", "c") != uids.digest("a", "bc")
    assert uids.config_digest({"a": 1, "b": 2}) == uids.config_digest({"b": 2, "a": 1}) != uids.config_digest({"a": 1, "b": 3})


def header(**tags):
    ds = Dataset()
    ds.StudyInstanceUID = "1.2"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def test_a_structure_is_followed_within_a_patient_and_never_across_patients():
    key = uids.patient_key(header(PatientID="P1"))
    assert uids.tracking_uid(key, "cst", "left", "plic") == uids.tracking_uid(key, "cst", "left", "plic")
    named = {uids.tracking_uid(key, "cst", side, level) for side in ("left", "right", None) for level in ("plic", "pons", None)}
    assert len(named) == 9
    strangers = [header(PatientID="P2"), header(PatientID="P1", IssuerOfPatientID="B"), header(), header(StudyInstanceUID="1.3")]
    assert len({uids.patient_key(one) for one in strangers} | {key}) == 5
