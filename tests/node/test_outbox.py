from __future__ import annotations

import json

import pytest

from node.outbox import Outbox, identity_difference


@pytest.fixture
def made(tmp_path):
    """The folder of a finished analysis, as the process leaves it."""
    def make(**files):
        out = tmp_path / "work" / "out"
        out.mkdir(parents=True)
        for name, content in files.items():
            (out / f"{name}.dcm").write_text(content)
        objects = [{"file": f"{name}.dcm"} for name in files]
        (out / "report.json").write_text(json.dumps({"seconds": len(files), "objects": objects}))
        return out
    return make


def test_an_answer_is_kept_whole_and_in_the_order_of_the_report(tmp_path, made):
    outbox = Outbox(tmp_path)
    answer = outbox.keep("1.2", made(seg="mask", report="text"))
    assert answer.files == ("seg.dcm", "report.dcm")
    assert outbox.path_of("1.2", answer.name, "seg.dcm").read_text() == "mask" and not (tmp_path / "work" / "out").exists()


def test_the_same_content_is_kept_once_and_another_beside_it(tmp_path, made):
    outbox = Outbox(tmp_path)
    first = outbox.keep("1.2", made(a="1"))
    assert outbox.keep("1.2", made(a="1")) == first
    assert outbox.keep("1.2", made(a="2")).name != first.name
    assert len(list((tmp_path / "outbox" / "1.2").iterdir())) == 2
    outbox.remove("1.2")
    assert list((tmp_path / "outbox").iterdir()) == []


def test_patient_and_study_must_be_those_of_the_source(tmp_path, mr):
    def written(name, **elements):
        mr(**elements).save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name
    source, other = written("s.dcm"), written("t.dcm", PatientID="OTHER")
    assert identity_difference(written("r.dcm", number=2), [source]) is None
    assert identity_difference(written("r.dcm", PatientID="OTHER"), [source, other]) is None
    assert identity_difference(written("r.dcm", PatientName="Somebody^Else"), [source]) == "PatientName"
    assert identity_difference(written("r.dcm", study="1.9"), [source]) == "StudyInstanceUID"
    assert "source is gone" in identity_difference(written("r.dcm"), [])
    damaged = written("d.dcm", SpecificCharacterSet="ISO_IR 100")
    damaged.write_bytes(damaged.read_bytes().replace(b"\x08\x00\x05\x00CS", b"\x08\x00\x05\x00IS").replace(b"ISO_IR 100", b"1000000000"))
    assert identity_difference(written("r.dcm"), [damaged, source]) is None
    assert "source is gone" in identity_difference(written("r.dcm"), [damaged])
    assert "cannot be read" in identity_difference(damaged, [source])
