"""Spectra as scanners write them: what is read is what was written; water finds its voxel; what is no single voxel is refused in words."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRSpectroscopyStorage, generate_uid

from analysis.phantom_spectrum import HEALTHY_MMOL, Acquisition, simulated
from analysis.spectrum import PRESS, SLASER, STEAM, Spectra
from node.errors import StudyError
from node.images import images_of
from node.phantom_spectrum import spectrum_instances
from node.roles import decide
from node.spectra import gathered, in_frame, sequence_of, spectra_of, spectrum_of
from node.spectrum_csa import CSA_NON_IMAGE
from node.study import read_study

BOX = np.array([[19.0, 3.0, 1.0, 30.0], [-3.2, 24.0, 2.0, -12.0], [-0.5, -2.0, 15.0, 61.0], [0, 0, 0, 1.0]])
FRAME = "1.2.826.0.1.3680043.8.498.77"


def orthogonal(edges=(19.0, 24.0, 15.0)):
    """A box askew, of those edges."""
    axes = np.linalg.qr(BOX[:3, :3])[0]
    box = BOX.copy()
    box[:3, :3] = axes * np.sign(np.linalg.det(axes)) * np.array(edges)
    return box


def simple(seed=1, box=None, **acquisition):
    return simulated(HEALTHY_MMOL, Acquisition(field_mhz=123.25, **acquisition), seed, orthogonal() if box is None else box, "svs")


def a_study():
    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex, ds.PatientComments = "A^B", "1", "19600101", "F", "a test"
    ds.StudyInstanceUID, ds.StudyDate, ds.StudyTime, ds.Modality = "1.2.3.4", "20250101", "100000", "MR"
    ds.AcquisitionDate, ds.AcquisitionTime, ds.FrameOfReferenceUID, ds.Manufacturer = "20250101", "100000", FRAME, "Betz"
    ds.ManufacturerModelName = "Test"
    return ds


def saved(ds, path):
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)


def the_series(folder, objects):
    folder.mkdir(exist_ok=True)
    for number, ds in enumerate(objects):
        saved(ds, folder / f"{number}.dcm")
    return read_study(folder).series


def standard(spectrum, **changes):
    """The objects of the standard, as the phantom writes them; `changes` to each."""
    made = [one for objects in spectrum_instances(Spectra((spectrum,)), a_study()).values() for one in objects]
    for ds in made:
        for keyword, value in changes.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
    return made


def csa_header(tags):
    """A CSA header of the second kind (SV10), as nibabel reads it: names, number of items, items of text."""
    whole = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(tags), 77)
    for name, values in tags.items():
        items = [str(value).encode() + b"\0" for value in values]
        whole += struct.pack("<64si4siii", name.encode(), len(items), b"LO\0\0", 0, max(len(items), 6), 77)
        for item in items + [b""] * (6 - len(items)):
            whole += struct.pack("<4i", len(item), len(item), 77, len(item)) + item + b"\0" * (-len(item) % 4)
    return whole + b"\0" * 4


def siemens(spectrum, name="*svs_se_ref", samples=None, number=1, **tags):
    """A private object of older Siemens software that holds a spectrum."""
    samples = spectrum.array if samples is None else samples
    box = spectrum.lps_from_box
    edges = np.linalg.norm(box[:3, :3], axis=0)
    facts = {
        "EchoTime": [spectrum.echo_time_ms], "RepetitionTime": [spectrum.repetition_time_ms], "ImagingFrequency": [spectrum.field_mhz],
        "RealDwellTime": [round(1e9 / spectrum.spectral_width_hz)], "DataPointColumns": [spectrum.points], "Rows": [1], "Columns": [1],
        "SequenceName": [name], "ImagedNucleus": ["1H"], "VoiPosition": [*box[:3, 3]],
        "ImageOrientationPatient": [*(box[:3, 0] / edges[0]), *(box[:3, 1] / edges[1])], "VoiPhaseFoV": [edges[0]],
        "VoiReadoutFoV": [edges[1]], "VoiThickness": [edges[2]], **tags,
    }  # fmt: skip
    ds = a_study()
    ds.SOPClassUID, ds.SOPInstanceUID = CSA_NON_IMAGE, generate_uid()
    ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber, ds.SeriesDescription = f"1.2.3.{number}", number, 1, "svs"
    ds.SoftwareVersions, ds.MagneticFieldStrength = "syngo MR B17", 3.0
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x08, "CS", "SPEC NUM 4")
    block.add_new(0x10, "OB", csa_header(facts))
    data = ds.private_block(0x7FE1, "SIEMENS CSA NON-IMAGE", create=True)
    data.add_new(0x10, "OB", np.ascontiguousarray(samples[:, 0, :].astype("<c8")).tobytes())
    return ds


def assert_same(read, written, has_water=True):
    assert np.allclose(read.array, written.array, rtol=1e-6, atol=1e-6 * np.abs(written.array).max())
    assert (read.water is not None) == has_water
    if has_water:
        assert np.allclose(read.water, written.water, rtol=1e-6, atol=1e-6 * np.abs(written.water).max())
    for name in ("spectral_width_hz", "field_mhz", "echo_time_ms", "repetition_time_ms"):
        assert getattr(read, name) == pytest.approx(getattr(written, name), rel=1e-6), name
    assert read.sequence == PRESS and read.frame == FRAME and read.array.dtype == np.complex128
    assert np.allclose(read.lps_from_box[:3, 3], written.lps_from_box[:3, 3], atol=1e-3)
    assert np.allclose(np.abs(read.lps_from_box[:3, :3]), np.abs(written.lps_from_box[:3, :3]), atol=1e-3)


def test_an_object_of_the_standard_is_read_with_the_water_of_another_series(tmp_path):
    written = simple(repetitions=3)
    (read,) = spectra_of(the_series(tmp_path / "a", standard(written))).voxels
    assert read.array.shape == (3, 1, 1024)
    assert_same(read, written)


def test_water_as_a_further_frame_of_one_object_is_told_apart_by_its_size(tmp_path):
    written = simple()
    first, _ = standard(written)
    both = np.concatenate([written.array, written.water])[:, 0, :]
    first.NumberOfFrames, first.SpectroscopyData = 2, both.astype("<c8").tobytes()
    first.PerFrameFunctionalGroupsSequence = Sequence([first.PerFrameFunctionalGroupsSequence[0]] * 2)
    (series,) = the_series(tmp_path / "a", [first])
    assert_same(spectrum_of(series), written)


def test_a_private_object_of_older_siemens_software_is_read(tmp_path):
    written = simple()
    series = the_series(tmp_path / "a", [siemens(written), siemens(written, samples=written.water, number=2)])
    assert [decide(one).role for one in series] == ["mrs", "mrs"] and all(decide(one).usable for one in series)
    (read,) = spectra_of(series).voxels
    assert_same(read, written)
    assert "PRESS, TR 2000 ms, TE 30 ms, 15 × 19 × 24 mm" in decide(series[0]).protocol


def test_a_steam_of_older_siemens_software_has_its_mixing_time(tmp_path):
    (series,) = the_series(tmp_path / "a", [siemens(simple(), name="*svs_st", MixingTime=[10])])
    read = spectrum_of(series)
    assert read.sequence == STEAM and read.echo_parts_ms == (30.0, 10.0)


@pytest.mark.parametrize(
    ("said", "sequence"),
    [
        (("PRESS",), PRESS), (("PRIME",), PRESS), (("*svs_se",), PRESS), (("PROBE-P",), PRESS), (("STEAM",), STEAM), (("*svs_st",), STEAM),
        (("probe-s",), STEAM), (("eja_svs_slaser",), SLASER), (("semi-LASER 30",), SLASER), (("SPECTROSCOPY", "sLASER"), SLASER),
        (("ISIS",), ""), (("SPECTROSCOPY",), ""), ((), ""),
    ],
)  # fmt: skip
def test_the_sequence_by_the_names_of_the_vendors(said, sequence):
    assert sequence_of(said)[0] == sequence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"MRSpectroscopyAcquisitionType": "VOLUME"}, "spectroscopic imaging of many voxels"),
        ({"SignalDomainColumns": "FREQUENCY"}, "transformed already"),
        ({"SeriesDescription": "MEGA-PRESS GABA"}, "an edited spectrum"),
    ],
)
def test_what_is_no_decay_of_one_voxel_is_refused_in_words(tmp_path, changes, reason):
    water, _ = the_series(tmp_path / "a", standard(simple(has_water=True), **changes))
    decision = decide(water)
    assert decision.role == "mrs" and not decision.usable and reason in " ".join(decision.problems)


def test_other_nuclei_and_private_objects_without_a_spectrum_are_other(tmp_path):
    series, *_ = the_series(tmp_path / "a", standard(simple(), ResonantNucleus="31P"))
    assert decide(series).role == "other" and "31P" in decide(series).why
    (raw,) = the_series(tmp_path / "b", [siemens(simple(), DataPointColumns=[0])])
    assert decide(raw).role == "other" and "without a spectrum" in decide(raw).why
    (many,) = the_series(tmp_path / "c", [siemens(simple(), Rows=[16], Columns=[16])])
    assert not decide(many).usable and "many voxels" in decide(many).problems[0]


def test_two_slabs_take_the_third_from_the_plane_and_no_slab_the_whole_box(tmp_path):
    written = simple()
    for name, slabs in (("two", slice(2)), ("none", slice(0))):
        objects = standard(written)
        for ds in objects:
            ds.VolumeLocalizationSequence = Sequence(list(ds.VolumeLocalizationSequence)[slabs])
        (read,) = spectra_of(the_series(tmp_path / name, objects)).voxels
        assert_same(read, written)


def test_an_oblique_crossing_of_slabs_has_the_volume_that_lies_in_all_three(tmp_path):
    objects = standard(simple())
    normals = [np.array(one, float) / np.linalg.norm(one) for one in ((1, 0, 0), (0.3, 1, 0), (0, 0, 1))]
    for ds in objects:
        for slab, normal in zip(ds.VolumeLocalizationSequence, normals, strict=True):
            slab.SlabOrientation, slab.SlabThickness, slab.MidSlabPosition = [*normal], 20.0, [5.0, 6.0, 7.0]
    (read,) = spectra_of(the_series(tmp_path / "a", objects)).voxels
    assert np.allclose(read.lps_from_box[:3, 3], (5, 6, 7))
    inside = read.lps_from_box @ [0.5, 0.5, 0.5, 1] - [5, 6, 7, 1]
    assert [abs(normal @ inside[:3]) for normal in normals] == pytest.approx([10, 10, 10])
    assert read.voxel_ml == pytest.approx(8.0 * np.sqrt(1.09), rel=1e-3)


def test_without_a_place_it_is_read_and_says_so(tmp_path):
    objects = standard(simple(), VolumeLocalizationSequence=None)
    for ds in objects:
        del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    (read,) = spectra_of(the_series(tmp_path / "a", objects)).voxels
    assert read.lps_from_box is None and "do not say where the voxel lies" in read.no_place and read.water is not None


def test_a_place_in_another_frame_of_reference_is_none():
    one = replace(simple(), frame="1.2.3")
    assert in_frame(Spectra((one,)), "1.2.3").voxels[0].lps_from_box is not None
    for frame in ("1.2.4", ""):
        (apart,) = in_frame(Spectra((one,)), frame).voxels
        assert apart.lps_from_box is None and "another frame of reference" in apart.no_place


def test_spectra_of_two_voxels_keep_each_its_own_water():
    left, right = simple(1), simple(2, box=orthogonal((20.0, 20.0, 20.0)))
    parts = [replace(one, water=None) for one in (left, right)]
    parts += [replace(one, array=one.water, water=None) for one in (right, left)]
    found = gathered(parts).voxels
    assert len(found) == 2 and np.allclose(found[0].water, left.water) and np.allclose(found[1].water, right.water)


def test_a_damaged_object_is_refused_in_a_sentence(tmp_path):
    (series,) = the_series(tmp_path / "a", standard(simple())[:1])
    del series.header.SpectralWidth
    with pytest.raises(StudyError, match="does not state its spectral width"):
        spectrum_of(series)


def test_every_spectrum_of_a_study_is_used_and_one_that_cannot_be_read_says_why(tmp_path):
    from analysis.marker import markers

    other = standard(simple(2, box=orthogonal((20.0, 20.0, 20.0))), SpectralWidth=None)[:1]
    for ds in other:
        ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2.3.9", "1.2.3.9.1"
    the_series(tmp_path / "a", [*standard(simple()), *other])
    study = read_study(tmp_path / "a")
    decisions, images = images_of(study, markers(), lambda step: None)
    assert len(images["mrs"].voxels) == 1 and images["mrs"].voxels[0].water is not None
    assert sorted(one.usable for one in decisions) == [False, True, True]
    assert any("spectral width" in problem for one in decisions for problem in one.problems)
    assert {str(one.series.header.SOPClassUID) for one in decisions} == {MRSpectroscopyStorage}
