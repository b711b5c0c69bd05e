"""The report's words come from one catalogue: every template of the source is in it, in German as well, and nothing else is needed."""

import ast
import gettext
import json
import re
import string
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from babel.messages.pofile import read_po

from analysis.examination import ROLES
from analysis.marker import markers
from analysis.outcome import FAILED
from analysis.support import support_of
from analysis.words import say
from node import concepts, names, wording
from node.language import FOLDER, Language
from node.populations import norms
from node.provenance import encoded
from node.report_json import report_json
from node.text_report import text_report

ROOT = Path(__file__).resolve().parents[2]
PO, MO = (FOLDER / "de" / "LC_MESSAGES" / f"betz.{kind}" for kind in ("po", "mo"))
WHERE = {"say": 0, "joined": 1, "Concept": 2, "Code": 2}  # which argument of a call is a text of the catalogue
GERMAN = Language("de")
# Words that English sentences hardly do without, and German ones never have.
ENGLISH = re.compile(r"\b(the|of|and|is|are|were|not|no|with|without|it|its|this|that|to|by|for|from|left|right|measured)\b", re.IGNORECASE)
# The same in both languages, or the name of something.
SAME = {
    "BOLD", "DTI", "DWI", "FA", "FLAIR", "Hz", "MD", "MRS", "Median", "Name", "Pons", "SNR", "SWI", "T1", "T2", "T2*",
    "Cho/Cr", "Glx/Cr", "NAA/Cho", "NAA/Cr", "NAA/mI", "axial", "frontal", "lateral", "medial", "mm",
    "mm2/s", "ppm", "sagittal", "um2/ms",
}  # fmt: skip


def calls():
    """Every call of the source that names a text of the catalogue: its place, the function and the text's expression."""
    for path in sorted([*(ROOT / "analysis").rglob("*.py"), *(ROOT / "node").rglob("*.py")]):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ours = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        for node in ast.walk(tree):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if name in WHERE and name in ours and len(node.args) > WHERE[name]:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", name, node.args[WHERE[name]]


def templates():
    return {one.value: place for place, _, one in calls() if isinstance(one, ast.Constant)}


def translations():
    with PO.open("rb") as file:
        return {message.id: message.string for message in read_po(file) if message.id}


def fields(template):
    return sorted((name, spec) for _, name, spec, _ in string.Formatter().parse(template) if name is not None)


def without_values(template):
    return "".join(text for text, *_ in string.Formatter().parse(template))


def has_letters(template):
    return any(letter.isalpha() for letter in without_values(template))


def texts(item):
    for one in item.get("ContentSequence", ()):
        yield one.ConceptNameCodeSequence[0].CodeMeaning
        if one.ValueType == "TEXT":
            yield one.TextValue
        yield from texts(one)


def read(report, provenance):
    return pydicom.dcmread(BytesIO(encoded(text_report(report, provenance))))


@pytest.fixture
def case(scanner, result_study):
    """A report whose sentences are the program's own."""
    made = result_study.case(scanner)
    cut = say("the T1 series cuts the brain: it holds {share:.0f} % of it", share=93.4)
    cannot = say("the motor segment of the callosum cannot be measured: {reason}", reason=cut)
    norm = say("no published population was measured with this method; compare with the site's own controls")
    fails = say("an error that this version does not know: {kind}: {error}", kind="ValueError", error="x")

    def spoken(outcome):
        measurements = tuple(
            replace(one, method=one.method and say("whole tract"), no_reference=one.no_reference and norm) for one in outcome.measurements
        )
        return replace(
            outcome, measurements=measurements, reason=outcome.reason and (fails if outcome.outcome == FAILED else cut),
            gaps=tuple(replace(one, reason=cannot) for one in outcome.gaps),
            findings=tuple(replace(one, reason=one.reason and cannot) for one in outcome.findings),
            notes=tuple(say("{count} slices lost their signal to motion and were left out.", count=2) for _ in outcome.notes),
        )  # fmt: skip

    series = tuple(replace(one, why=say("{said}: the contrast is open", said=say("TE {ms:.0f} ms", ms=80.0)),
                           problems=(say("only {count} slices", count=7),)) for one in made.report.series)  # fmt: skip
    report = replace(made.report, series=series, outcomes=tuple(spoken(one) for one in made.report.outcomes),
                     summary=(say("atrophy of the motor cortex"),))  # fmt: skip
    report = replace(report, support=report.support and support_of(report.outcomes))
    return replace(made, report=report)


def test_every_template_is_a_literal():
    pieces = [place for place, name, one in calls() if name in ("say", "joined") and not isinstance(one, ast.Constant)]
    assert pieces == []


def test_every_template_has_its_german_with_the_same_values():
    german = translations()
    without = {place: text for text, place in templates().items() if has_letters(text) and not german.get(text)}
    assert without == {}, "make catalogue, then write the German into config/locale/de/LC_MESSAGES/betz.po"
    other = {text: said for text, said in german.items() if said and fields(text) != fields(said)}
    assert other == {}
    ends = {text: said for text, said in german.items() if said and text.endswith(".") != said.endswith(".")}
    assert ends == {}, "a sentence may be put into another one without its full stop"
    assert {text for text, said in german.items() if said == text and has_letters(text) and not fields(text)} <= SAME


def test_the_catalogue_holds_no_sentence_that_nobody_says():
    assert set(translations()) <= set(templates())


def test_the_catalogue_that_is_read_is_the_one_that_was_written():
    with MO.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for text, said in translations().items():
        assert compiled.gettext(text) == (said or text)


def test_no_german_sentence_is_half_english():
    half = [said for said in translations().values() if ENGLISH.search(without_values(said))]
    assert half == []


@pytest.mark.parametrize("marker", markers(), ids=lambda one: one.name)
def test_what_a_marker_gives_has_a_german_name(marker):
    for name in (marker.name, *marker.gives, *marker.findings):
        read_as = names.words(name)
        assert GERMAN(read_as) != read_as or read_as in SAME


def test_roles_sides_and_levels_have_a_german_name():
    words = [names.words(role) for role in ROLES] + ["left", "right", "present", "absent", "indeterminate", "not assessed"]
    levels = ("whole", "subcortical", "corona_radiata", "plic", "peduncle", "pons", "intermediate")
    words += [concepts.level_words(level) for level in levels]
    assert [word for word in words if GERMAN(word) == word and word not in {*SAME, "corona radiata"}] == []


def test_populations_are_proper_names_that_need_no_translation():
    said = {word for norm in norms() for word in (norm.population, norm.method, norm.field)}
    assert [word for word in said if ENGLISH.search(GERMAN(word))] == []


def test_a_german_report_holds_no_english(case):
    ds = read(case.report, replace(case.provenance, language=GERMAN))
    said = list(texts(ds))
    allowed = {"Language of Content Item and Descendants", "Country of Language", "Observer Type", "Device Observer UID"}
    foreign = [one for one in said if ENGLISH.search(one) and one not in allowed and not one.startswith("Device Observer")]
    assert foreign == []
    assert ds.ConceptNameCodeSequence[0].CodeMeaning == "Radiologischer Befundbericht"
    assert ds.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "de-DE"
    assert any("prä-" in one or "Ü" in one or "für Forschungszwecke, nicht ärztlich überprüft" in one for one in said)


def test_german_numbers_have_a_decimal_comma(case):
    said = "\n".join(texts(read(case.report, replace(case.provenance, language=GERMAN))))
    assert "0,523 ± 0,013 (z -1,2)" in said and "-3,68 ± 3,40  %" in said and "1234 ± 24" in said
    assert not re.search(r"\d\.\d", said.replace("99ALSMRI", ""))


def test_columns_stay_under_their_german_headings(case):
    german = replace(case.provenance, language=GERMAN)
    (lines,) = (one.split("\r\n") for one in texts(read(case.report, german)) if one.split()[:2] == ["links", "rechts"])
    assert lines[1].index("0,504") == lines[0].index("rechts")


@pytest.mark.parametrize(
    ("source", "expected", "codec"),
    [
        (None, "ISO_IR 100", "latin-1"),
        ("ISO_IR 100", "ISO_IR 100", "latin-1"),
        ("ISO_IR 192", "ISO_IR 192", "utf-8"),
        ("ISO_IR 144", "ISO_IR 192", "utf-8"),
    ],
)
def test_umlauts_are_written_whatever_the_source_is_in(scanner, result_study, source, expected, codec):
    plain = {"PatientName": "Plain^Name", "StudyDescription": "Head", "ReferringPhysicianName": "A^B"}
    made = result_study.case(scanner, SpecificCharacterSet=source, **plain)
    written = encoded(text_report(made.report, replace(made.provenance, language=GERMAN)))
    assert pydicom.dcmread(BytesIO(written)).SpecificCharacterSet == expected
    assert "schließt eine ALS nicht aus".encode(codec) in written


def test_an_english_report_of_a_plain_source_stays_plain(scanner, result_study):
    made = result_study.case(scanner, SpecificCharacterSet=None, PatientName="A^B", StudyDescription="Head", ReferringPhysicianName="A^B")
    assert "SpecificCharacterSet" not in read(made.report, replace(made.provenance, institution=None))


def test_what_programs_read_is_english_in_every_language(case):
    said = json.dumps(report_json(case.report, {}))
    assert "the T1 series cuts the brain: it holds 93 % of it" in said
    assert Language("en")(case.report.outcomes[0].measurements[0].no_reference).startswith("no published population")


def test_a_proper_name_and_a_word_without_translation_stay(case):
    note = replace(case.report.series[0], description="left")
    assert "Serie 1 (left): T1, gemessen: " in GERMAN(wording.series_line(1, note))
    assert GERMAN("") == "" and GERMAN("Zzz") == "Zzz"


def test_a_word_at_the_start_of_a_line_is_found(case):
    assert GERMAN("Corticospinal tract") == "Tractus corticospinalis" and GERMAN("Subcortical") == "Subkortikal"
