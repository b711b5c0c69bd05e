"""Results on mosaics: each slice is found in its tile, and masks, maps and outlines lie where the image lies."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest

from analysis.examination import Patient
from analysis.outcome import MEASURED, Map, Mask, Measurement, Outcome
from analysis.report import Report, SeriesNote
from analysis.volume import Volume
from node.errors import StudyError
from node.measurement_report import measurement_report
from node.mosaic import tiles_of
from node.parametric_map import parametric_maps
from node.provenance import Provenance, encoded
from node.segmentation import segmentations
from node.study import read_study

SLICES, ROWS, COLUMNS = 7, 12, 10


@pytest.fixture
def case(scanner, result_study, tmp_path):
    """A study of one diffusion series, three volumes of seven slices, each volume a picture of three by three tiles."""

    def make(is_backwards=False):
        array = np.random.default_rng(3).integers(1, 1000, (SLICES, ROWS, COLUMNS)).astype(np.float32)
        picture = np.zeros((3 * ROWS, 3 * COLUMNS), np.uint16)
        for number, tile in enumerate(array[::-1] if is_backwards else array):
            row, column = number // 3 * ROWS, number % 3 * COLUMNS
            picture[row : row + ROWS, column : column + COLUMNS] = tile
        base = scanner.header(**result_study.WHO, Rows=3 * ROWS, Columns=3 * COLUMNS, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
        scanner.private(base, 0x0019, "SIEMENS MR HEADER", 0x0A, "US", SLICES)
        headers = scanner.repeated(scanner.stack(base, 1, 3.0, 2.0), [{"DiffusionBValue": b} for b in (1000.0, 0.0, 1000.0)])
        scanner.write(headers, np.stack([picture // 2, picture, picture // 2]), tmp_path)
        study = read_study(tmp_path)
        matrix = np.array([[0, 0, 2.0, -10], [0, 2.0, 0, -12], [3.0, 0, 0, 5], [0, 0, 0, 1]])
        matrix[:3, :3] *= 1 if np.linalg.det(matrix[:3, :3]) > 0 else -1
        image = Volume(array, matrix)
        return result_study.Case(report_on(study, image, result_study), Provenance(study, result_study.MADE_AT), {"dwi": image})

    return make


def report_on(study, image, result_study):
    box = result_study.block(image.array.shape, (2, 5), (3, 9), (4, 8))
    box[2, 3] = False
    number = Measurement("cst_fa", 0.5, "1", result_study.ANISOTROPY, result_study.TRACT, "left", no_reference="a test")
    masks, maps = (Mask("cst", "dwi", box, result_study.TRACT, "left"),), (Map("fa", "dwi", image.array, "1", result_study.ANISOTROPY),)
    outcome = Outcome("cst_diffusion", 1, MEASURED, measurements=(number,), masks=masks, maps=maps)
    note = SeriesNote(study.series[0].series_instance_uid, "dwi", "b 0 and 1000 s/mm²", used=True)
    return Report(study.study_instance_uid, Patient(), (note,), (outcome,), ())


@pytest.mark.parametrize("is_backwards", [False, True])
def test_every_slice_is_found_in_its_tile(case, is_backwards):
    made = case(is_backwards)
    series, image = made.provenance.study.series[0], made.images["dwi"]
    for place in tiles_of(series, image):
        header = series.instances[place.frame.instance].header
        picture = pydicom.dcmread(series.instances[place.frame.instance].path).pixel_array
        row, column = place.corner
        assert header.DiffusionBValue == 0
        assert np.array_equal(picture[row : row + ROWS, column : column + COLUMNS], image.array[place.slice_index])
        assert np.allclose(place.frame.origin_lps, (image.lps_from_index @ (place.slice_index, 0, 0, 1))[:3])


def test_masks_and_maps_lie_where_the_image_lies(case):
    from highdicom.pm.sop import pmread
    from highdicom.seg import segread

    made = case(is_backwards=True)
    (seg,), (fa,) = (make(made.report, made.provenance, made.images) for make in (segmentations, parametric_maps))
    image, mask = made.images["dwi"], made.report.outcomes[0].masks[0].array
    values, marked = pmread(BytesIO(encoded(fa))).get_volume(), segread(BytesIO(encoded(seg))).get_volume(combine_segments=True)
    for volume, wanted in ((values, image.array), (marked, mask)):
        for index in np.ndindex(volume.spatial_shape):
            there = np.linalg.inv(image.lps_from_index) @ volume.affine @ (*index, 1)
            assert volume.array[index] == wanted[tuple(np.round(there[:3]).astype(int))]
    shown = {str(one.header.SOPInstanceUID) for one in made.provenance.study.series[0].instances if one.header.DiffusionBValue == 0}
    for ds in (seg, fa):
        assert {item.ReferencedSOPInstanceUID for item in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence} == shown
        sources = [group.DerivationImageSequence[0].SourceImageSequence[0] for group in ds.PerFrameFunctionalGroupsSequence]
        assert {item.ReferencedSOPInstanceUID for item in sources} == shown and not any("ReferencedFrameNumber" in one for one in sources)


def test_the_outline_is_drawn_in_the_tile(case):
    made = case()
    segs = segmentations(made.report, made.provenance, made.images)
    ds = measurement_report(made.report, made.provenance, made.images, segs)
    (line,) = [item.value for item in ds.iterall() if item.keyword == "GraphicData"]
    columns, rows = np.array(line).reshape(-1, 2).T
    assert (rows.min(), rows.max()) == (ROWS + 3, ROWS + 9) and (columns.min(), columns.max()) == (4, 8)  # slice 3 is the first tile below


def test_a_picture_that_does_not_hold_the_slices_is_an_error(case):
    made = case()
    array = np.zeros((SLICES, ROWS, COLUMNS + 1), np.float32)
    with pytest.raises(StudyError, match="does not hold 7 slices of 11 × 12"):
        tiles_of(made.provenance.study.series[0], Volume(array, made.images["dwi"].lps_from_index))
    with pytest.raises(StudyError, match="does not hold"):
        tiles_of(made.provenance.study.series[0], replace(made.images["dwi"], array=np.zeros((10, ROWS, COLUMNS), np.float32)))
