"""The site's own controls from the command line to the report: added, shown, checked, removed, refused, and compared with."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from analysis.controls import ENOUGH
from analysis.examination import Examination, Patient
from analysis.marker import markers
from analysis.outcome import MEASURED, Measurement, Outcome
from analysis.reference import band_of, placed
from node.answer_folder import write
from node.command import main
from node.controls import ControlFolder, Place, places_of
from node.norms import norms_for
from node.process import answer
from node.settings_file import read_settings

VERSION = {marker.name: marker.version for marker in markers()}
SKYRA, PRISMA = "Siemens Skyra, 3 T, #00000001", "Siemens Prisma, 3 T, #00000002"
T1, DWI = "t1: 3D GRE IR, TR 2300 ms", "dwi: 2D EPI, b 1000 s/mm² (32)"
HERE = {"t1": Place(SKYRA, T1), "dwi": Place(SKYRA, DWI)}
THERE = {"t1": Place(PRISMA, T1), "dwi": Place(PRISMA, DWI)}
WOMAN = Patient(60.0, "F")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("BETZ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def report(number=1, places=HERE, age=60.0, sex="F", shift=0.0, version=None, **changes):
    """A report.json with three markers, as an answer has it; the same number is the same person and study."""
    random = np.random.default_rng(number)
    people, whole = random.normal(), 1400.0 + 80 * random.normal()

    def number_of(name, value, error, side=None, level=None):
        return {"name": name, "side": side, "level": level, "value": value, "unit": "x", "uncertainty": error, "reference": None}

    fa = [number_of("cst_fa", 0.55 + shift + 0.02 * (0.7 * people + 0.7 * random.normal()), 0.0125, side, level)
          for side in ("left", "right") for level in ("whole", "plic", "pons")]  # fmt: skip
    profiles = [{"name": "cst_fa", "side": "left", "unit": "1", "values": [None, *(0.5 + 0.02 * random.normal(size=3)).tolist()]}]
    parts = [number_of(f"{name}_volume", share * whole * (1 + 0.06 * random.normal()), 0.5)
             for name, share in (("midbrain", 0.0047), ("pons", 0.01), ("medulla", 0.003))]  # fmt: skip

    def marker(name, measurements, profiles=()):
        return {"version": version or VERSION[name], "outcome": "measured", "reason": None, "measurements": measurements,
                "profiles": list(profiles)}  # fmt: skip

    document = {
        "betz": "0.1.0", "study_instance_uid": f"1.2.3.{1000 + number}", "patient": {"age_years": age, "sex": sex},
        "series": [{"role": role, "used": True, "scanner": one.scanner, "protocol": one.protocol} for role, one in places.items()],
        "markers": {"cst_diffusion": marker("cst_diffusion", fa, profiles), "brainstem": marker("brainstem", parts),
                    "brain_volumes": marker("brain_volumes", [number_of("intracranial_volume", whole, 0.04 * whole)])},
        "objects": [{"file": "9010_0_sr.dcm"}],
    }  # fmt: skip
    return {**document, **changes}


@pytest.fixture
def answers(tmp_path, mr):
    """Writes an answer into a folder: report.json, and an object that says whose it is."""

    def answers(document, patient_id="P1", folder=None):
        place = tmp_path / "answers" / (folder or document["study_instance_uid"])
        place.mkdir(parents=True, exist_ok=True)
        (place / "report.json").write_text(json.dumps(document))
        mr(study=document["study_instance_uid"], PatientID=patient_id).save_as(place / "9010_0_sr.dcm", enforce_file_format=True)
        return place

    return answers


@pytest.fixture
def many(answers, tmp_path):
    """Adds so many controls of 40 to 80 years from there."""

    def many(count, places=HERE, first=1, **changes):
        for number in range(first, first + count):
            age = 40.0 + 40.0 * ((number * 7) % count) / max(count - 1, 1)
            answers(report(number, places, age, "FM"[number % 2], **changes), f"P{number}")
        assert main(["norms", "add", str(tmp_path / "answers")]) == 0
        shutil.rmtree(tmp_path / "answers")

    return many


def examination(places=HERE, patient=WOMAN, study="1.9.9"):
    populations, problems = norms_for(read_settings(), study, places, markers())
    return Examination({}, patient, norms=populations), problems


def place(places=HERE, name="cst_fa", side="left", level="whole", value=0.5, **more):
    made, _ = examination(places, **more)
    (found,) = placed(made, name, value, 0.0125, side, level, "no norm").values()
    return found


class TestTheStore:
    def test_a_control_is_kept_without_name_and_id(self, answers, home, capsys):
        assert main(["norms", "add", str(answers(report(), "SECRET1"))]) == 0
        assert "added, brain_volumes, brainstem, cst_diffusion" in capsys.readouterr().out
        (path,) = (home / "norms").glob("*.json")
        kept = path.read_text() + (home / "norms" / "secret").read_bytes().decode("latin-1")
        assert "SECRET" not in kept and "Patient^" not in kept and path.stat().st_mode & 0o077 == 0

    def test_the_digest_of_a_person_depends_on_the_secret_of_the_site(self, mr, tmp_path):
        one, other = (ControlFolder(tmp_path / name).person_of(mr(PatientID="P1")) for name in ("a", "b"))
        assert one != other and ControlFolder(tmp_path / "a").person_of(mr(PatientID=" p1 ")) == one

    def test_the_same_study_again_replaces_itself(self, answers, capsys):
        for word in ("added", "replaced"):
            assert main(["norms", "add", str(answers(report()))]) == 0
            said = capsys.readouterr().out
            assert word in said and "1 control in" in said

    def test_of_two_answers_of_one_study_the_later_holds(self, answers, home):
        for folder, age, changed_at in (("b", 50.0, 1), ("a", 60.0, 2), ("c", 55.0, 0)):
            os.utime(answers(report(age=age), folder=folder) / "report.json", (changed_at, changed_at))
        assert main(["norms", "add", str(home.parent / "answers")]) == 0
        assert json.loads((home / "norms" / "1.2.3.1001.json").read_text())["patient"]["age_years"] == 60.0

    def test_a_control_is_removed_by_the_end_of_its_uid(self, many, capsys):
        many(11)
        assert main(["norms", "remove", "1"]) == 1 and "More than one control" in capsys.readouterr().err
        assert main(["norms", "remove", "1002"]) == 0 and "10 controls left" in capsys.readouterr().out
        assert main(["norms", "remove", "1002"]) == 1 and "No control has a UID" in capsys.readouterr().err
        assert main(["norms", "remove", "*"]) == 1

    def test_without_its_secret_nobody_is_added(self, many, answers, home, capsys):
        many(2)
        (home / "norms" / "secret").unlink()
        assert main(["norms", "add", str(answers(report(9), "P9"))]) == 1
        assert "people cannot be told apart" in capsys.readouterr().err

    def test_a_broken_file_is_a_sentence_and_the_others_count(self, many, home, capsys):
        many(ENOUGH)
        (home / "norms" / "1.2.3.9.json").write_text("{")
        (home / "norms" / "1.2.3.8.json").write_text('{"patient": {"age_years": "old", "sex": "F"}}')
        made, problems = examination()
        assert len(problems) == 2 and all("broken" in problem for problem in problems)
        assert placed(made, "cst_fa", 0.5, None, "left", "whole")["reference"].n == ENOUGH
        assert main(["norms"]) == 0 and "The file 1.2.3.9.json among" in capsys.readouterr().out


class TestWhatIsRefused:
    @pytest.mark.parametrize(("changes", "words"), [
        ({"age": None}, "says no age"),
        ({"sex": None}, "says no sex"),
        ({"places": {"t1": Place("", T1)}}, "names no scanner or no protocol"),
        ({"places": {"t1": Place(SKYRA, "")}}, "names no scanner or no protocol"),
        ({"version": 99}, "measured by version 99, this is version"),
        ({"series": [{"role": "t1", "used": True}]}, "did not tell scanner and protocol"),
        ({"markers": {}}, "nothing was measured"),
        ({"markers": {"brainstem": {"version": VERSION["brainstem"], "outcome": "failed", "reason": "broken"}}}, "it failed: broken"),
        ({"patient": 7}, "is no report.json of this program"),
        ({"study_instance_uid": "../../x"}, "is no report.json of this program"),
    ])  # fmt: skip
    def test_with_a_sentence(self, answers, capsys, changes, words, home):
        assert main(["norms", "add", str(answers(report(**changes), folder="one"))]) == 1
        said = capsys.readouterr()
        assert words in said.err and said.err.count("\n") == 1 and "0 controls" in said.out
        assert not list((home / "norms").glob("*.json"))

    def test_a_report_without_its_objects_says_nobodys_name(self, answers, capsys):
        folder = answers(report())
        (folder / "9010_0_sr.dcm").unlink()
        assert main(["norms", "add", str(folder)]) == 1 and "stands alone" in capsys.readouterr().err

    @pytest.mark.parametrize("patient_id", ["", None])
    def test_a_person_without_a_number(self, answers, capsys, patient_id):
        assert main(["norms", "add", str(answers(report(), patient_id))]) == 1 and "has no Patient ID" in capsys.readouterr().err

    def test_a_second_study_of_the_same_person_on_the_same_scanner(self, answers, capsys):
        answers(report(1), "P1"), answers(report(2), "p1 ")
        assert main(["norms", "add", str(answers(report(3, THERE), "P1").parent)]) == 1
        said = capsys.readouterr()
        assert "a person counts once" in said.err and "1.2.3.1001" in said.err and "2 controls" in said.out

    def test_one_number_for_two_people(self, answers, capsys):
        answers(report(1), "P1")
        assert main(["norms", "add", str(answers(report(2, THERE, sex="M"), "P1").parent)]) == 1
        assert "but another sex" in capsys.readouterr().err

    def test_the_others_are_kept_all_the_same(self, answers, capsys):
        answers(report(1), "P1"), answers(report(2, age=None), "P2")
        assert main(["norms", "add", str(answers(report(3), "P3").parent)]) == 1
        assert "2 controls" in capsys.readouterr().out

    def test_a_marker_that_failed_is_left_out_and_the_rest_kept(self, answers, capsys):
        document = report()
        document["markers"]["brainstem"] |= {"outcome": "failed", "reason": "broken", "measurements": []}
        assert main(["norms", "add", str(answers(document))]) == 0
        said = capsys.readouterr().out
        assert "added, brain_volumes, cst_diffusion" in said and "without brainstem: it failed: broken" in said

    def test_folders_without_anything(self, tmp_path, capsys):
        assert main(["norms", "add", str(tmp_path)]) == 1 and "neither a report.json nor a DICOM study" in capsys.readouterr().err
        assert main(["norms", "add", str(tmp_path / "none")]) == 1 and "is not a folder" in capsys.readouterr().err
        (tmp_path / "report.json").write_text("{")
        assert main(["norms", "add", str(tmp_path)]) == 1 and "or is broken" in capsys.readouterr().err


class TestWhoIsComparedWithWhom:
    def test_below_twenty_the_words_say_how_many_there_are(self, many):
        many(ENOUGH - 1)
        assert place() == "no norm (own controls: 19 of 20)"

    def test_from_twenty_on_they_come_first(self, many):
        many(ENOUGH)
        found = place(value=0.55 - 3 * 0.02)
        assert found.n == ENOUGH and found.z < -1.5 and "own healthy controls of 40 to 80 years" in found.population
        assert SKYRA in found.population and DWI in found.population

    def test_another_scanner_or_protocol_is_another_population(self, many):
        many(ENOUGH)
        assert place(THERE) == "no norm (own controls: 0 of 20)"
        assert place({**HERE, "dwi": Place(SKYRA, "dwi: 2D EPI, b 2000 s/mm² (32)")}) == "no norm (own controls: 0 of 20)"

    def test_each_measurement_goes_with_the_series_that_it_rests_on(self, many):
        many(ENOUGH)
        only_t1 = {**HERE, "dwi": THERE["dwi"]}
        assert isinstance(place(only_t1), str) and place(only_t1, "intracranial_volume", None, None, 1400.0).n == ENOUGH

    def test_the_brainstem_is_compared_as_a_share_of_the_head(self, many):
        many(ENOUGH)
        found = place(name="pons_share", side=None, level=None, value=1.0)
        assert found.mean == pytest.approx(1.0, abs=0.05) and isinstance(place(name="pons_share", value=1.0), str)

    def test_a_profile_gets_the_band_of_the_controls(self, many):
        many(ENOUGH)
        band = band_of(examination()[0], "cst_fa", "left", 4)
        assert band.low[0] is None and band.low[1] < 0.5 < band.high[1] and "own healthy controls" in band.population

    def test_a_control_is_compared_with_the_others(self, many):
        many(ENOUGH + 1)
        assert place(study="1.2.3.1001").n == ENOUGH and place().n == ENOUGH + 1

    def test_what_another_version_measured_does_not_count(self, many, home):
        many(ENOUGH + 1)
        path = home / "norms" / "1.2.3.1001.json"
        kept = json.loads(path.read_text())
        kept["markers"]["cst_diffusion"]["version"] -= 1
        path.write_text(json.dumps(kept))
        assert place().n == ENOUGH and place(name="intracranial_volume", side=None, level=None, value=1400.0).n == ENOUGH + 1

    def test_few_on_this_scanner_are_helped_by_those_of_another(self, many):
        many(30, THERE, shift=0.05)
        many(8, first=31)
        found = place(value=0.55)
        assert found.n == 38 and "on 2 scanners, harmonised" in found.population
        assert found.mean == pytest.approx(0.55, abs=0.02), "as this scanner measures, not as the other"
        assert place(THERE).n == 30 and "harmonised" not in place(THERE).population

    def test_too_few_on_this_scanner_are_not(self, many):
        many(30, THERE)
        many(7, first=31)
        assert place() == "no norm (own controls: 7 of 20)"


class TestWhatAPersonSees:
    def test_the_distribution_by_scanner_and_protocol(self, many, capsys):
        many(22)
        many(9, THERE, first=31)
        capsys.readouterr()
        assert main(["norms"]) == 0
        said = capsys.readouterr().out
        assert "31 controls" in said and "22 controls: 11 women and 11 men of 40 to 80 years. They come first." in said
        assert "11 are missing until they come first. Until then those of the other scanners are harmonised" in said
        row = next(line for line in said.splitlines() if "cst_fa left whole" in line)
        assert row.split()[3] == "22" and 0.5 < float(row.split()[4]) < 0.6 and "█" in row and " p " in row

    def test_one_marker_or_measurement(self, many, capsys):
        many(5)
        capsys.readouterr()
        assert main(["norms", "show", "brainstem"]) == 0
        said = capsys.readouterr().out
        assert "pons_volume" in said and "cst_fa" not in said
        assert main(["norms", "show", "nonsense"]) == 1 and "no marker or measurement nonsense" in capsys.readouterr().err

    def test_the_check_tells_how_many_lie_outside(self, many, answers, capsys):
        many(25)
        capsys.readouterr()
        assert main(["norms", "check"]) == 0
        said = capsys.readouterr().out
        assert "cst_diffusion" in said and "10 % are expected" in said
        share = float(said.split("each among the others, ")[1].split(" %")[0])
        assert 3.0 <= share <= 18.0

    def test_without_controls_it_says_how_to_begin(self, capsys):
        for line in (["norms"], ["norms", "check"]):
            assert main(line) == 0 and "betz norms add FOLDER" in capsys.readouterr().out

    @pytest.mark.parametrize("line", [["norms", "add"], ["norms", "remove"], ["norms", "nothing"]])
    def test_a_wrong_command_line_ends_with_2(self, line):
        with pytest.raises(SystemExit) as end:
            main(line)
        assert end.value.code == 2

    def test_the_settings_may_stand_before_and_after(self, tmp_path, many, capsys):
        many(1)
        (tmp_path / "betz.toml").write_text('[storage]\nfolder = "elsewhere"\n')
        for line in (["norms", "--config", str(tmp_path / "betz.toml")], ["norms", "show", "--config", str(tmp_path / "betz.toml")]):
            capsys.readouterr()
            assert main(line) == 0 and f"0 controls in {tmp_path / 'elsewhere'}" in capsys.readouterr().out


def test_spectra_are_compared_with_controls_of_the_same_echo_time_alone(answers, tmp_path):
    thirty, late = "mrs: PRESS, TR 2000 ms, TE 30 ms", "mrs: PRESS, TR 2000 ms, TE 140 ms"
    marker = "motor_cortex_spectroscopy"

    def a_control(number, protocols):
        value = 1.5 + 0.1 * np.random.default_rng(number).normal()
        document = report(number, age=40.0 + 2 * number, sex="FM"[number % 2])
        document["series"] = [{"role": "mrs", "used": True, "scanner": SKYRA, "protocol": one} for one in protocols]
        ratio = {"name": "naa_cr", "side": "left", "level": "short_te", "value": value, "unit": "1", "uncertainty": 0.08, "reference": None}
        document["markers"] = {marker: {"version": VERSION[marker], "outcome": "measured", "reason": None, "measurements": [ratio],
                                        "profiles": []}}  # fmt: skip
        return document

    for number in range(ENOUGH):
        answers(a_control(number, (thirty, thirty)), f"P{number}")
    assert main(["norms", "add", str(tmp_path / "answers")]) == 0
    same, other, both = ({"mrs": Place(SKYRA, one)} for one in (thirty, late, f"{late} + {thirty}"))
    assert place(same, "naa_cr", "left", "short_te", 1.2).z < -1.5
    assert all("controls" in place(one, "naa_cr", "left", "short_te", 1.2) for one in (other, both))
    assert places_of([("mrs", SKYRA, thirty), ("mrs", SKYRA, late), ("t1", SKYRA, T1), ("dwi", "", DWI)]) == {**both, "t1": HERE["t1"]}


def test_an_answer_of_the_program_can_be_a_control(scanner, result_study, tmp_path, capsys):
    """The real report.json and objects of an answer, not a made-up one."""
    case = result_study.case(scanner, DeviceSerialNumber="7", PatientSex="M")
    placed_series = tuple(replace(one, scanner=SKYRA, protocol=f"{one.role}: x") for one in case.report.series)
    concept = case.report.outcomes[0].measurements[0]
    volume = Measurement("brain_volume", 1234.5, "ml", concept.quantity, concept.site, no_reference="none")
    outcomes = (Outcome("brain_volumes", VERSION["brain_volumes"], MEASURED, measurements=(volume,)),)
    report = replace(case.report, series=placed_series, outcomes=outcomes)
    write(report, answer(report, {}, case.provenance, read_settings()), tmp_path)
    assert main(["norms", "add", str(tmp_path)]) == 0
    assert "added, brain_volumes" in capsys.readouterr().out


def test_a_study_is_analysed_before_it_is_added_and_a_broken_control_does_not_stop_a_report(mr, tmp_path, home, capsys):
    """A study in which nothing can be measured: it goes all the way, and is refused at the end."""
    for study, sex in (("1.2.3.4", "O"), ("1.2.3.5", "F")):
        mr(study, PatientSex=sex).save_as(tmp_path / f"{study}.dcm", enforce_file_format=True)
    assert main(["norms", "add", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "study 1.2.3.4 says no sex of the person" in said and "study 1.2.3.5 names no scanner" in said
    (home / "norms" / "1.2.json").write_text("{")
    (tmp_path / "study").mkdir()
    (tmp_path / "1.2.3.5.dcm").rename(tmp_path / "study" / "1.dcm")
    assert main(["process", str(tmp_path / "study"), "--out", str(tmp_path / "out")]) == 0
    assert "1.2.json among the site's own controls is broken" in (tmp_path / "out" / "report.json").read_text()
