"""The site's file of treatments: what is read, what is left out, and that it says so."""


import pytest

from analysis.trend import Treatment
from node.treatments import treatments_of


def written(tmp_path, text: str, encoding: str = "utf-8"):
    file = tmp_path / "treatments.csv"
    file.write_text(text, encoding=encoding)
    return file


def test_the_events_of_one_patient_in_the_order_of_their_days(tmp_path):
    lines = "patient_id,date,treatment,dose", "P-1,2026-02-01,Tofersen,1", "P-2,2025-01-01,other,", "P-1,2025-08-01,Riluzol ä,"
    file = written(tmp_path, "\n".join(lines), "utf-8-sig")
    assert treatments_of(file, "P-1") == ((Treatment("2025-08-01", "Riluzol ä"), Treatment("2026-02-01", "Tofersen")), ())
    assert treatments_of(file, "P-3") == ((), ()) and treatments_of(None, "P-1") == ((), ()) and treatments_of(file, "") == ((), ())


def test_a_line_without_a_date_is_left_out_and_named(tmp_path):
    found, problems = treatments_of(written(tmp_path, "patient_id,date,treatment\nP-1,soon,x\nP-1,2025-08-01,y\n"), "P-1")
    assert [one.words for one in found] == ["y"]
    assert problems == ("line 2 of the file of treatments has no date like 2026-01-31; it was left out",)


@pytest.mark.parametrize(("text", "said"), [
    ("patient,date,treatment\n", "no column patient_id"), ("", "no column patient_id"), ("patient_id;date;treatment\n", "no column"),
])  # fmt: skip
def test_a_file_that_is_no_such_table_is_said_to_be_none(tmp_path, text, said):
    found, (problem,) = treatments_of(written(tmp_path, text), "P-1")
    assert found == () and said in problem


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    assert treatments_of(tmp_path / "none.csv", "P-1") == ((), ("the file of treatments cannot be read (FileNotFoundError)",))
    _, (problem,) = treatments_of(written(tmp_path, "patient_id,date,treatment\nP-1,2025-08-01,ä\n", "latin-1"), "P-1")
    assert "UnicodeDecodeError" in problem
