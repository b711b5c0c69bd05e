"""Where the outline of a mask is drawn."""

import numpy as np
import pytest

from node.outline import outline_of
from node.planes import planes_of


@pytest.fixture
def planes(scanner, result_study):
    case = result_study.case(scanner)
    return planes_of(case.report, case.provenance, case.images)["dwi"]


def block(rows, columns, slices):
    mask = np.zeros((12, 16, 16), bool)
    mask[slices, rows, columns] = True
    return mask


LEFT, RIGHT = slice(2, 6), slice(9, 13)


def test_two_structures_on_the_same_slices_are_drawn_on_different_frames(planes):
    left = outline_of(block(LEFT, LEFT, slice(4, 8)), planes)
    right = outline_of(block(LEFT, RIGHT, slice(4, 8)), planes, [left])
    assert right.place is not left.place


def test_a_frame_with_less_than_half_of_the_largest_area_is_no_choice(planes):
    mask = block(LEFT, RIGHT, slice(5, 6)) | block(slice(2, 3), slice(9, 10), slice(6, 7))
    left = outline_of(block(LEFT, LEFT, slice(5, 6)), planes)
    right = outline_of(mask, planes, [left])
    assert right.place is left.place and not right.is_same(left)


def test_the_very_same_line_is_drawn_twice_only_where_nothing_else_is_left(planes):
    mask = block(LEFT, LEFT, slice(5, 6))
    first = outline_of(mask, planes)
    assert outline_of(mask, planes, [first]).is_same(first)
