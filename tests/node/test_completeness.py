"""Whether a series has come whole, by its own images: a whole one is found whole, what is taken out is seen, only what is new is read."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from node import inventory
from node.completeness import fewer_than, gaps, lacking
from node.inventory import SeriesFacts, taken
from node.study import read_series

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "SequenceVariant": ["SK", "SP", "MP"], "RepetitionTime": 2300, "EchoTime": 2.98,
      "InversionTime": 900, "FlipAngle": 9}
T2STAR = {"ScanningSequence": "GR", "MRAcquisitionType": "2D", "RepetitionTime": 620, "EchoTime": 20, "FlipAngle": 20}
BOLD = {"ScanningSequence": ["EP", "GR"], "MRAcquisitionType": "2D", "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 80}
DWI = {"ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D", "RepetitionTime": 8000, "EchoTime": 85, "FlipAngle": 90}
OBLIQUE = (0.9801, 0.1987, 0.0, -0.1898, 0.9363, -0.2955)
PHASE = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}
SLICES, STEP_MM = 24, 5.0


def _weights():
    vectors = np.random.default_rng(1).normal(size=(8, 3))
    directed = [{"DiffusionBValue": 1000.0 if number < 6 else 2000.0, "DiffusionGradientOrientation": (one / np.linalg.norm(one)).tolist()}
                for number, one in enumerate(vectors)]
    return [{"DiffusionBValue": 0.0}, *directed]


def _stack(scanner, tags, slices=SLICES, orientation=None, **more):
    return scanner.stack(scanner.header(**{**tags, "Rows": 32, "Columns": 32, **more}), slices, STEP_MM, 7.5, orientation or scanner.AXIAL)


def _two_stacks(scanner, apart_mm):
    """Two blocks of slices in one series, numbered through."""
    first = _stack(scanner, T1)
    corner = np.array([float(one) for one in first[-1].ImagePositionPatient]) - [0, 0, apart_mm]
    return [*first, *scanner.stack(scanner.header(**T1, Rows=32, Columns=32), SLICES, STEP_MM, 7.5, origin=corner)]


KINDS = {
    "volume": ("t1", lambda s: _stack(s, T1)),
    "oblique": ("t1", lambda s: _stack(s, T1, orientation=OBLIQUE)),
    "sagittal": ("t1", lambda s: _stack(s, T1, 36, s.SAGITTAL)),
    "echoes": ("t2star", lambda s: s.repeated(_stack(s, T2STAR), [{"EchoTime": time} for time in (5.0, 12.0, 20.0)])),
    "dynamic": ("bold", lambda s: s.repeated(_stack(s, BOLD, NumberOfTemporalPositions=12), [{}] * 12)),
    "cardiac": ("t2star", lambda s: s.repeated(_stack(s, T2STAR), [{"TriggerTime": float(time)} for time in range(0, 800, 200)])),
    "b-values": ("dwi", lambda s: s.repeated(_stack(s, DWI), _weights())),
    "magnitude and phase": ("t2star", lambda s: s.repeated(_stack(s, T2STAR), [{}, PHASE])),
}


def _in_folder(scanner, folder, headers, keep=lambda number: True):
    """The series as files; those whose place in the list `keep` refuses never come."""
    folder.mkdir(exist_ok=True)
    for number, instance in enumerate(scanner.series(headers).instances):
        if keep(number):
            if "PixelData" not in instance.header:
                instance.header.PixelData = bytes(2 * instance.header.Rows * instance.header.Columns)
            scanner.save(instance.header, folder / f"{instance.header.SOPInstanceUID}.dcm")
    return folder


@pytest.fixture(scope="module")
def facts_of(scanner, tmp_path_factory):
    """The facts of each kind of series, read once."""
    known = {}

    def of(name) -> SeriesFacts:
        if name not in known:
            made = KINDS[name][1](scanner)
            known[name] = next(iter(taken(_in_folder(scanner, tmp_path_factory.mktemp("kind") / "study", made)).values()))
        return known[name]
    return of


def _without(series, lost):
    return replace(series, instances={mark: facts for mark, facts in series.instances.items() if mark not in lost})


def _measured(series):
    """The marks of what the scanner measured as magnitude, in the order of acquisition."""
    return sorted((mark for mark, facts in series.instances.items() if any(one.kind for one in facts.pictures)),
                  key=lambda mark: series.instances[mark].number)


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_series_is_whole(facts_of, name):
    series = facts_of(name)
    assert series.role == KINDS[name][0] and gaps(series) == []


@pytest.mark.parametrize("count", [1, 3, 9])
@pytest.mark.parametrize("name", KINDS)
def test_what_is_taken_out_is_seen(facts_of, name, count):
    """Any images but the ends of a single volume: there a loss leaves no trace."""
    series, chance = facts_of(name), random.Random(count)
    inner = _measured(series)[1:-1]
    for _ in range(20):
        assert gaps(_without(series, chance.sample(inner, count))), name


def test_the_first_image_is_missed_by_its_number(facts_of):
    series = facts_of("volume")
    first, *_, last = _measured(series)
    assert gaps(_without(series, [first])) == ["the first 1 images are missing, by their numbers"]
    assert gaps(_without(series, [last])) == []


def test_the_count_is_told(facts_of):
    series, lost = facts_of("volume"), _measured(facts_of("volume"))[5:8]
    assert gaps(_without(series, lost)) == [f"3 of {SLICES} slices are missing between the others"]
    series = facts_of("b-values")
    assert gaps(_without(series, _measured(series)[40:42])) == [
        f"2 of {9 * SLICES} images are missing: not every slice has come as often as the others"]


def test_a_phase_image_is_not_waited_for(facts_of):
    series = facts_of("magnitude and phase")
    phase = next(mark for mark in series.instances if mark not in _measured(series))
    assert gaps(_without(series, [phase])) == []


@pytest.mark.parametrize("apart_mm", [40.0, 43.7])
def test_two_stacks_in_one_series_have_no_gap_between_them(scanner, tmp_path, apart_mm):
    """By multiples of the spacing apart or not: the numbers run on. A slice that is lost in one of them breaks the numbers."""
    headers = _two_stacks(scanner, apart_mm)
    (series,) = taken(_in_folder(scanner, tmp_path / "study", headers)).values()
    assert series.role == "t1" and gaps(series) == []
    if apart_mm == 40.0:
        assert gaps(_without(series, _measured(series)[5:6]))


def test_a_localizer_waits_for_nothing(scanner, tmp_path):
    headers = [*_stack(scanner, T1, 3), *_stack(scanner, T1, 3, scanner.SAGITTAL), *_stack(scanner, T1, 1, scanner.CORONAL)]
    (series,) = taken(_in_folder(scanner, tmp_path / "study", headers, lambda number: number != 1)).values()
    assert series.role == "other" and gaps(series) == []
    (single,) = taken(_in_folder(scanner, tmp_path / "single", headers[:1])).values()
    assert gaps(single) == []


def _enhanced(scanner, folder, **more):
    """A volume of a time series in each of twelve objects."""
    volume = _stack(scanner, BOLD)
    made = [scanner.enhanced(volume, np.zeros((SLICES, 32, 32)), EchoPulseSequence="GRADIENT", EchoPlanarPulseSequence="YES",
                             MRAcquisitionType="2D", **more) for _ in range(12)]
    return _in_folder(scanner, folder, made)


def test_a_volume_that_is_missing_is_seen_by_its_number(scanner, tmp_path):
    (series,) = taken(_enhanced(scanner, tmp_path / "study")).values()
    assert series.role == "bold" and gaps(series) == []
    first, second, *_, last = _measured(series)
    assert gaps(_without(series, [first])) == gaps(_without(series, [second])) == ["1 of 12 volumes are missing, by their numbers"]
    timed = replace(series, instances={mark: replace(facts, times=12) for mark, facts in series.instances.items()})
    assert gaps(timed) == [] and gaps(_without(timed, [last])) == ["11 of 12 time points are there, by the count of the scanner"]
    assert gaps(_without(timed, [mark for mark in timed.instances if mark != first])), "a single volume of twelve"


def test_frames_and_parts_that_are_missing_are_seen(facts_of):
    series = facts_of("volume")
    one, other = (replace(facts, frames=(4, 4), part=("1.2", number, 3)) for number, facts in
                  enumerate(list(series.instances.values())[:2], 1))
    short = replace(one, part=None, frames=(3, 4))
    assert gaps(replace(series, instances={"a": short})) == ["an object holds 3 of its 4 frames"]
    assert gaps(replace(series, instances={"a": one, "b": other})) == ["1 of the 3 parts of a concatenation are missing"]
    assert gaps(replace(series, instances={"a": replace(one, part=("1.2", 2, 0))})) == ["1 of the 2 parts of a concatenation are missing"]
    whole = {"a": replace(one, part=("1.2", 1, 2)), "b": replace(other, part=("1.2", 2, 2))}
    assert not any("concatenation" in sentence for sentence in gaps(replace(series, instances=whole)))


def test_mosaics_are_counted_by_their_numbers(scanner, tmp_path):
    base = scanner.header(**BOLD, Rows=384, Columns=384, SpacingBetweenSlices=4.0)
    scanner.private(base, 0x0019, "SIEMENS MR HEADER", 0x0A, "US", 36)
    headers = scanner.repeated(scanner.stack(base, 1, 4.0, 3.0), [{}] * 20)
    (series,) = taken(_in_folder(scanner, tmp_path / "study", headers)).values()
    assert series.role == "bold" and gaps(series) == []
    lost = next(mark for mark, facts in series.instances.items() if facts.number == 7)
    assert gaps(_without(series, [lost])) == ["1 of 20 volumes are missing, by their numbers"]


def test_the_count_of_an_acquisition(facts_of):
    """One that is a multiple of what is there says that its images are spread over several series."""
    series, whole = facts_of("volume"), {}
    for count in (SLICES, SLICES + 1, 3 * SLICES):
        whole[count] = replace(series, instances={mark: replace(facts, acquisition=1, images_in_acquisition=count)
                                                  for mark, facts in series.instances.items()})
    assert gaps(whole[SLICES]) == gaps(whole[3 * SLICES]) == []
    assert gaps(whole[SLICES + 1]) == [f"{SLICES} of {SLICES + 1} images of an acquisition are there, by the count of the scanner"]
    assert gaps(_without(whole[SLICES], _measured(series)[-1:]))


def test_roles_that_are_expected(facts_of):
    series = [facts_of("volume"), facts_of("echoes")]
    assert lacking(series, ["t1", "swi or t2star"]) == lacking(series, []) == []
    assert lacking(series, ["flair", "t1"]) == ["no series with the role flair has come"]


def test_what_an_archive_has(facts_of):
    found = {"1.1": facts_of("volume"), "1.2": replace(facts_of("volume"), role="other")}
    assert fewer_than(found, {"1.1": SLICES, "1.2": 99, "1.9": 4}, own=["1.9"]) == fewer_than(found, {}) == []
    (one, short), (none, absent) = fewer_than(found, {"1.1": SLICES + 2, "1.9": 4})
    assert one is found["1.1"] and short == f"{SLICES} of the {SLICES + 2} images that the archive has are there"
    assert none is None and absent == "the archive has 1 MR series of which nothing has come"


def test_only_what_is_new_is_read(scanner, tmp_path):
    """The headers of a series are read again only when it has doubled and its role is decided anew."""
    headers = _stack(scanner, T1)
    read = []

    def series_in(paths):
        read.append(len(paths))
        return read_series(paths)
    found = taken(_in_folder(scanner, tmp_path / "study", headers, lambda number: number < 16), series_in=series_in)
    assert taken(tmp_path / "study", found, series_in=series_in) == found and read == [16, 0]
    inventory.write(found, tmp_path / "facts.json")
    assert inventory.read(tmp_path / "facts.json") == found
    found = taken(_in_folder(scanner, tmp_path / "study", headers, lambda number: number >= 16), found, series_in=series_in)
    assert read == [16, 0, 8] and len(inventory.marks_in(found)) == SLICES
    _in_folder(scanner, tmp_path / "study", headers, lambda number: number < 2)
    found = taken(tmp_path / "study", found, series_in=series_in)
    assert len(inventory.marks_in(found)) == SLICES and read[-1] == 2, "other files under the same names"


def test_a_large_study_is_read_in_turns(scanner, tmp_path):
    headers = _stack(scanner, T1)
    folder, found = _in_folder(scanner, tmp_path / "study", headers), {}
    counts, read = [], []

    def series_in(paths):
        read.append(len(paths))
        return read_series(paths)
    for _ in range(4):
        found = taken(folder, found, 10, series_in)
        counts.append(len(inventory.marks_in(found)))
    assert counts == [10, 20, 24, 24] and read == [10, 10, 10, 4, 0], "the third is for the role, of every second header"
    (series,) = found.values()
    assert series.role == "t1" and gaps(series) == []


def test_what_cannot_be_read_is_no_evidence(tmp_path):
    (tmp_path / "1.dcm").write_bytes(b"image")
    found = taken(tmp_path)
    assert len(inventory.marks_in(found)) == 1 and [gaps(one) for one in found.values()] == [[]]
    (tmp_path / "facts.json").write_text('{"1.2": {"role": 7}}')
    assert inventory.read(tmp_path / "facts.json") == inventory.read(tmp_path / "none.json") == {}


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["philips_classic_dti", "siemens_xa30_enhanced", "t1_adult_studyforrest", "mrs_dicom"])
def test_real_series(realdata, tmp_path, name):
    """All of them are whole; of those with several instances, what is taken out of the measured ones is seen."""
    for number, path in enumerate(sorted(path for path in (realdata / name).rglob("*") if path.is_file())):
        (tmp_path / f"{number}.dcm").symlink_to(path)
    chance, found = random.Random(1), taken(tmp_path)
    assert [gaps(series) for series in found.values()] == [[]] * len(found)
    for series in found.values():
        if series.role != "other" and len(series.instances) > 1:
            inner = _measured(series)[1:-1]
            assert all(gaps(_without(series, chance.sample(inner, count))) for count in (1, 2, 5) for _ in range(20))
