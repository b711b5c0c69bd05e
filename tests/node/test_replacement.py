"""A destination that does not take a class gets what carries the same: a simpler report, or is told where it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from node import replacement
from node.records import DELIVERED, PARKED, PENDING, PROVEN, REPLACED
from node.replacement import BASIC_TEXT, COMPREHENSIVE, COMPREHENSIVE_3D, ENHANCED, PAGES, PARAMETRIC_MAP, PDF, SEGMENTATION, TRACTS
from node.status import purge, why_lines

EVERY = (COMPREHENSIVE_3D, ENHANCED, SEGMENTATION, PARAMETRIC_MAP, PAGES, PDF, TRACTS)


@pytest.fixture(scope="module")
def objects(scanner, result_study, tmp_path_factory):
    """The folder of a whole answer, with the streamlines and the page for the patient."""
    folder = tmp_path_factory.mktemp("answer") / "out"
    result_study.write_objects(result_study.kind(scanner, "classic"), folder, tractography=True, patient_page=True)
    return folder


@pytest.fixture
def study(site, objects, tmp_path):
    """That answer in the journal, due at the peers; its first object stands for the images that it came from."""
    def answer(*peers):
        shutil.copytree(objects, tmp_path / "out")
        first = next(objects.glob("*.dcm"))
        uid = str(pydicom.dcmread(first, stop_before_pixels=True).StudyInstanceUID)
        (site.spool.studies_folder / uid).mkdir()
        shutil.copy(first, site.spool.studies_folder / uid / "1.dcm")
        site.answered(uid, tmp_path / "out", *peers)
        return uid
    return answer


def _rows(site, study):
    """State and reason by the first four digits of the file, with the class that was made of it."""
    found = {}
    for row in site.journal.results_of(study):
        path = Path(row.file)
        found[path.name[:4] + (f" {Path(path.stem).suffix[1:]}" if path.parent.name else "")] = (row.state, row.reason)
    return found


def _without(*classes):
    return tuple(one for one in EVERY if one not in classes)


def test_where_every_class_is_taken_nothing_is_made(site, study, pacs):
    peer, _ = pacs(classes=EVERY)
    uid = study(peer)
    site.sender(peer).step()
    assert {state for state, _ in _rows(site, uid).values()} == {DELIVERED} and site.journal.study(uid).state == DELIVERED
    assert not list((site.outbox.folder / uid).glob("*.instead"))


def test_the_measurements_come_as_the_next_simpler_class(site, study, pacs, objects):
    peer, received = pacs(classes=(*_without(COMPREHENSIVE_3D), COMPREHENSIVE))
    uid = study(peer)
    sender = site.sender(peer)
    sender.step()
    assert _rows(site, uid)["9010"][0] == REPLACED and _rows(site, uid)["9010 comprehensive"][0] == PENDING
    sender.step()
    rows = _rows(site, uid)
    assert rows["9010 comprehensive"][0] == DELIVERED and site.journal.study(uid).state == DELIVERED
    said = " ".join(why_lines(site.settings(peer), uid))
    assert "does not accept Comprehensive 3D SR Storage" in said and "in its place: instead/9010_5_sr.comprehensive.dcm" in said
    made = pydicom.dcmread(next((site.outbox.folder / uid).glob("*.instead/9010*")))
    source = pydicom.dcmread(next(objects.glob("9010*")))
    assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == COMPREHENSIVE
    assert made.ContentSequence == source.ContentSequence and made.PatientID == source.PatientID
    assert {one.keyword for one in source if made[one.tag] != one} == {"SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"}
    assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID and made.SOPInstanceUID in {uid for uid, _, _ in received}


def test_one_class_after_the_other_is_tried_then_the_readable_report_carries_it(site, study, pacs):
    peer, _ = pacs(classes=(*_without(COMPREHENSIVE_3D, ENHANCED), BASIC_TEXT))
    uid = study(peer)
    sender = site.sender(peer)
    for _ in range(4):
        sender.step()
    rows = _rows(site, uid)
    assert [rows[name][0] for name in ("9010", "9010 comprehensive", "9010 enhanced", "9011", "9011 basic")] == [REPLACED] * 4 + [DELIVERED]
    assert "stands in instead/9011_6_sr.basic.dcm, which arrived" in rows["9010 enhanced"][1]
    assert site.journal.study(uid).state == DELIVERED


@pytest.mark.parametrize(("refused", "carrier"), [
    ((SEGMENTATION, PARAMETRIC_MAP, TRACTS), "9050"), ((SEGMENTATION, PAGES), "9050"),
    ((COMPREHENSIVE_3D, ENHANCED), "9050"),
])
def test_what_has_no_simpler_class_stands_on_the_pages(site, study, pacs, refused, carrier):
    peer, _ = pacs(classes=_without(*refused))
    uid = study(peer)
    sender = site.sender(peer)
    for _ in range(4):
        sender.step()
    rows = _rows(site, uid)
    assert {state for state, _ in rows.values()} == {DELIVERED, REPLACED} and site.journal.study(uid).state == DELIVERED
    last = [reason for state, reason in rows.values() if state == REPLACED and "in its place" not in reason]
    assert last and all(f"stands in {carrier}" in reason for reason in last)


def test_the_pages_as_pictures_carry_the_pdf_but_not_the_patients_page(site, study, pacs):
    peer, _ = pacs(classes=_without(PDF))
    uid = study(peer)
    site.sender(peer).step()
    rows = _rows(site, uid)
    assert rows["9050"][0] == REPLACED and "stands in 9040" in rows["9050"][1]
    assert rows["9051"][0] == PARKED and "nothing that arrived there says the same" in rows["9051"][1]
    assert site.journal.study(uid).state == PARKED


def test_nothing_is_decided_while_a_carrier_may_still_come(site, study, pacs):
    peer, _ = pacs(classes=_without(SEGMENTATION), statuses=[0xA700] * 11)
    uid = study(peer)
    sender = site.sender(peer)
    sender.step()
    assert _rows(site, uid)["9020"][0] == "unsupported" and site.journal.study(uid).state == "answered"
    site.now += 60.0
    sender.step()
    assert _rows(site, uid)["9020"][0] == REPLACED and site.journal.study(uid).state == DELIVERED


def test_pages_that_did_not_all_arrive_carry_nothing(site, study, pacs):
    peer, _ = pacs(classes=(COMPREHENSIVE_3D, ENHANCED, PAGES), statuses=[0x0000, 0x0000, 0xC000])
    uid = study(peer)
    site.sender(peer).step()
    assert _rows(site, uid)["9020"][0] == PARKED and "nothing that arrived there" in _rows(site, uid)["9020"][1]


def test_status_0122_and_a_service_on_the_web_are_understood_alike(site, study, dicomweb_service, objects):
    from node.settings import Destination

    service = dicomweb_service.Service()
    peer = Destination("pacs", url=service.url, query=True)
    try:
        uid = study(peer)
        order = [row.file[:4] for row in site.journal.due("pacs")]
        service.planted = [(409, 0x0122) if name == "9010" else 200 for name in order]
        sender = site.sender(peer)
        for _ in range(3):
            sender.step()
    finally:
        service.stop()
    rows = _rows(site, uid)
    assert rows["9010"][0] == REPLACED and rows["9010 comprehensive"][0] == PROVEN and site.journal.study(uid).state == DELIVERED
    assert purge(site.settings(peer), 0)[0].startswith("1 studies removed"), "what stands for it is proven"


def test_resend_begins_with_the_answer_itself(site, study, pacs):
    peer, _ = pacs(classes=(*_without(COMPREHENSIVE_3D), COMPREHENSIVE))
    uid = study(peer)
    sender = site.sender(peer)
    sender.step(), sender.step()
    better, _ = pacs(classes=EVERY)
    assert site.journal.resend(uid) == len([name for name in site.outbox.folder.glob(f"{uid}/*/*.dcm") if "instead" not in str(name)])
    site.sender(better).step()
    assert {state for state, _ in _rows(site, uid).values()} == {DELIVERED} and "9010 comprehensive" not in _rows(site, uid)


def test_a_file_that_is_gone_is_parked(site, study, pacs):
    peer, _ = pacs(classes=(SEGMENTATION,))
    uid = study(peer)
    row = next(row for row in site.journal.due("pacs") if row.file.startswith("9010"))
    site.outbox.path_of(uid, row.answer, row.file).unlink()
    site.sender(peer).substitution.refused(row, "the peer does not accept it")
    assert "nothing could be made in its place" in _rows(site, uid)["9010"][1]


def test_the_same_refusal_gives_the_same_object(objects):
    source = next(objects.glob("9010*"))
    names = [replacement.next_name(source.name, replacement.kind_of(source))]
    names.append(replacement.next_name(names[0], replacement.kind_of(source)))
    assert replacement.next_name(names[1], replacement.kind_of(source)) is None and replacement.original_of(names[1]) == source.name
    made = [replacement.made_as(name, source) for name in names]
    assert made == [replacement.made_as(name, source) for name in names] and len(set(made)) == 2
    headers = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(one)) for one in made]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({str(ds[keyword].value) for ds in [*headers, pydicom.dcmread(source)]}) == 3
    assert {ds.file_meta.TransferSyntaxUID for ds in headers} == {ExplicitVRLittleEndian}
