"""The head of an earlier examination gets the place of the head of now, moved as the head was; another image does not."""

import numpy as np
import pytest

from analysis.examination import Examination
from analysis.phantom_head import healthy_head
from analysis.phantom_scan import SEQUENCES, scan
from analysis.phantom_time import visited
from analysis.steps.coregistration import Laid, laying
from analysis.steps.head import head_on_template
from analysis.steps.same_head import lay_like
from analysis.steps.space import Placement, coarser, lps_grid
from analysis.volume import Volume

SEED, COARSE = 331, 2.0
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def scanned(visit: int, role: str = "t1") -> Volume:
    return scan(healthy_head(), visited(SEED, visit), SEQUENCES[role], SEED, COARSE, 1.0, visit)


def truth(image: Volume, visit: int) -> Placement:
    shape, grid = visited(SEED, visit), coarser(image, 2.0)
    template = shape.template_from_lps(lps_grid(grid)).astype(np.float32)
    template[:2] *= -1
    return Placement(grid, template, LPS_FROM_RAS @ shape.affine, 1.0)


@pytest.fixture(scope="module")
def now():
    made = Examination({role: scanned(1, role) for role in ("t1", "flair")})
    made.know(head_on_template, truth(made.image("t1"), 1))
    made.know(laying("flair"), Laid(truth(made.image("flair"), 1), np.eye(4), 0.9))
    return made


def check(found: Placement, image: Volume) -> None:
    true, head = truth(image, 0), coarser(image, 2.0).array > 0.3 * np.percentile(image.array, 98)
    away_mm = np.linalg.norm(found.template_lps - true.template_lps, axis=0)[head]
    assert np.percentile(away_mm, 95) < 1.0
    assert np.allclose(found.template_from_lps, true.template_from_lps, atol=1.0)


def test_head_and_flair_lie_where_those_of_now_say(now):
    then = Examination({role: scanned(0, role) for role in ("t1", "flair")})
    lay_like(then, now)
    assert then.is_done(head_on_template) and then.is_done(laying("flair"))
    check(then.once(head_on_template), then.image("t1"))
    laid = then.once(laying("flair"))
    check(laid.place, then.image("flair"))
    assert np.allclose(laid.t1_from_series, np.eye(4), atol=1.0)  # the phantom lies still between the two


def test_what_was_laid_already_stays(now):
    then = Examination({"t1": scanned(0)})
    place = truth(then.image("t1"), 0)
    then.know(head_on_template, place)
    lay_like(then, now)
    assert then.once(head_on_template) is place


def test_another_image_is_not_laid_like_this_head(now):
    t1 = now.image("t1")
    noise = np.random.default_rng(3).random(t1.array.shape, dtype=np.float32)
    then = Examination({"t1": t1.with_array(noise)})
    lay_like(then, now)
    assert not then.is_done(head_on_template)
    lay_like(Examination({}), now)
