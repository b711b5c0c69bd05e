"""What the readers of another project (dcmqi, as 3D Slicer uses them) take out of the result objects: the same voxels, values and names."""

import json
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from node import concepts
from node.groups import groups_of
from node.structures import structures_of

PROGRAMS = Path(sysconfig.get_path("scripts"))


def run(program: str, path: Path, **options: object) -> None:
    arguments = [part for name, value in options.items() for part in (f"-{name}" if len(name) == 1 else f"--{name}", str(value))]
    done = subprocess.run([PROGRAMS / program, "--inputDICOM", path, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def index_of(picture: sitk.Image, image) -> tuple[np.ndarray, np.ndarray]:
    """Where every voxel of the picture lies on the grid of the image (n, 3), and its value (n,). It fails between two voxels."""
    values = sitk.GetArrayFromImage(picture)
    lps_from_index = np.eye(4)
    direction = np.array(picture.GetDirection()).reshape(3, 3)
    lps_from_index[:3, :3] = (direction * picture.GetSpacing())[:, ::-1]
    lps_from_index[:3, 3] = picture.GetOrigin()
    points = np.argwhere(np.ones(values.shape, bool)) @ lps_from_index[:3, :3].T + lps_from_index[:3, 3]
    from_lps = np.linalg.inv(image.lps_from_index)
    index = points @ from_lps[:3, :3].T + from_lps[:3, 3]
    assert np.abs(index - index.round()).max() < 0.01
    return index.round().astype(int), values.ravel()


def on_grid(picture: sitk.Image, image) -> np.ndarray:
    """The picture on the grid of the image, 0 where it has no voxel."""
    index, values = index_of(picture, image)
    array = np.zeros(image.array.shape, values.dtype)
    array[tuple(index.T)] = values
    return array


@pytest.fixture(scope="module")
def case(scanner, result_study, study_kind):
    return result_study.kind(scanner, study_kind)


@pytest.fixture(scope="module")
def results(result_study, case, tmp_path_factory) -> dict[str, Path]:
    """The files by series number."""
    return {path.name[:4]: path for path in result_study.write_objects(case, tmp_path_factory.mktemp("results") / "answer")}


def test_segments_hold_the_voxels_of_the_masks(case, results, tmp_path):
    structures = {one.tracking_id: one.mask for one in structures_of(case.report, case.provenance)}
    found = {}
    for number in ("9020", "9021"):
        run("segimage2itkimage", results[number], outputDirectory=tmp_path, p=number, t="nrrd")
        attributes = json.loads((tmp_path / f"{number}-meta.json").read_text())["segmentAttributes"]
        for file, (segment,) in enumerate(attributes, start=1):
            picture = sitk.ReadImage(str(tmp_path / f"{number}-{file}.nrrd"))
            found[segment["TrackingIdentifier"]] = picture, segment
    assert found.keys() == structures.keys() and len(found) == 5
    for name, (picture, segment) in found.items():
        mask = structures[name]
        np.testing.assert_array_equal(on_grid(picture, case.images[mask.role]) > 0, mask.array, name)
        assert segment["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == mask.site.code
        side = segment.get("SegmentedPropertyTypeModifierCodeSequence", {}).get("CodeMeaning", "").lower()
        assert side == (mask.side or "")


def test_maps_hold_the_values_of_the_maps(case, results, tmp_path):
    maps = {map_.name: map_ for outcome in case.report.outcomes for map_ in outcome.maps}
    for number, name in (("9030", "fa"), ("9031", "md")):
        (tmp_path / number).mkdir()
        run("paramap2itkimage", results[number], outputDirectory=tmp_path / number, t="nrrd")
        picture = sitk.ReadImage(str(tmp_path / number / "pmap.nrrd"))
        np.testing.assert_array_equal(on_grid(picture, case.images["dwi"]), maps[name].array)


def test_groups_hold_the_measurements(case, results, tmp_path):
    run("tid1500reader", results["9010"], outputMetadata=tmp_path / "measurements.json")
    read = json.loads((tmp_path / "measurements.json").read_text())["Measurements"]
    groups, _ = groups_of(case.report, structures_of(case.report, case.provenance), case.provenance)
    assert [group["TrackingUniqueIdentifier"] for group in read] == [group.tracking_uid for group in groups]
    for group, found in zip(groups, read, strict=True):
        assert found["FindingSite"]["CodeValue"] == group.site.code
        assert found.get("Laterality", {}).get("CodeMeaning", "").lower() == (group.side or "")
        for one, item in zip(group.measurements, found["measurementItems"], strict=True):
            assert float(item["value"]) == pytest.approx(one.value, rel=1e-4)
            assert (item["quantity"]["CodeValue"], item["units"]["CodeValue"]) == (one.quantity.code, concepts.unit_code(one.unit).value)
