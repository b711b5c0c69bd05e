"""Lesions of the phantom lie where they are said to lie, are as large as they are said to be, and few are a part of many."""

import numpy as np
import pytest

from analysis.phantom_findings import plant, planted_sides
from analysis.phantom_head import ORIGIN_MM, healthy_head
from analysis.phantom_lesions import SITES, TABLES, planted, spot_of
from analysis.phantom_regions import ventricles
from analysis.phantom_scan import SEQUENCES, contrast
from analysis.phantom_tracts import cst_region

BOTH = ("left", "right")


@pytest.fixture(scope="module")
def ms():
    return planted("ms_lesions", BOTH, 1.0, 5)


def test_every_site_and_size_is_there_and_few_are_a_part_of_many(ms):
    assert {one.site for one in ms} == set(SITES) and len(ms) == 2 * len(TABLES["ms_lesions"])
    assert min(one.length_mm for one in ms) == 3.0 and max(one.length_mm for one in ms) == 20.0
    few = planted("ms_lesions", ("left",), 0.5, 5)
    assert [tuple(one.middle_mm) for one in few] == [tuple(one.middle_mm) for one in ms[: len(few)]]
    assert planted("ms_lesions", BOTH, 0.0, 5) == ()


def test_fingers_stand_on_the_ventricle_and_one_deep_lesion_a_side_on_the_tract(ms):
    wall = np.argwhere(ventricles(healthy_head())) + ORIGIN_MM
    tract = cst_region(healthy_head())
    for one in ms:
        end = one.middle_mm - one.axis * one.length_mm / 2
        if one.site == "periventricular":
            assert np.linalg.norm(wall - end, axis=1).min() < 4.5
        assert tract[tuple((one.middle_mm - ORIGIN_MM).astype(int))] == one.is_on_tract
    assert sum(one.is_on_tract and one.site == "deep" for one in ms) == 2


def test_a_lesion_has_the_volume_of_its_ellipsoid_where_there_is_room(ms):
    one = next(one for one in ms if one.site == "deep" and one.length_mm == 8.0)
    _, part = spot_of(one, healthy_head())
    assert part.sum() == pytest.approx(np.pi / 6 * one.length_mm * one.width_mm**2, rel=0.15)


def test_bright_on_flair_and_only_some_dark_on_t1():
    healthy, _ = plant(healthy_head(), {}, 0.0, 5)
    head, made = plant(healthy_head(), planted_sides(("ms_lesions",)), 1.0, 5)
    change = {role: contrast(head, SEQUENCES[role]) - contrast(healthy, SEQUENCES[role]) for role in ("flair", "t1")}
    for one in made:
        at = tuple((one.middle_mm - ORIGIN_MM).astype(int))
        assert change["flair"][at] > 0.2
        assert (change["t1"][at] < -0.2) == one.is_dark


def test_vascular_lesions_leave_the_cortex_alone_and_caps_run_together():
    made = planted("vascular_lesions", BOTH, 1.0, 5)
    assert {one.site for one in made} == {"periventricular", "deep"}
    assert sum(not one.is_whole for one in made) == 4
