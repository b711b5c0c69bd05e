"""A lesion is new, gone, grown or shrunk where both outline and brightness say so; an outline that flickers is no change."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import atlas
from analysis.steps.halfway import Halfway
from analysis.steps.lesion_change import KINDS, OPPOSITE, LesionChanges, changed, share_in_tract
from analysis.steps.space import Placement, lps_grid
from analysis.volume import Volume

SIZE, WHITE, LESION, NOISE = 64, 1.0, 1.7, 0.05
AT = {"stays": (16, 16, 16), "new": (16, 48, 16), "gone": (48, 16, 16), "grows": (48, 48, 16), "flickers": (16, 16, 48),
      "shrinks": (48, 48, 48)}  # fmt: skip


def ball(at, radius: float) -> np.ndarray:
    away = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(np.ogrid[:SIZE, :SIZE, :SIZE], at, strict=True)))
    return np.clip(radius + 0.5 - away, 0, 1)


def heads() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Brightness and outline, then and now."""
    first = {"stays": 3.5, "gone": 3.0, "grows": 3.0, "flickers": 2.5, "shrinks": 4.5}
    second = {"stays": 3.5, "new": 3.0, "grows": 4.5, "flickers": 2.5, "shrinks": 3.0}
    random, made = np.random.default_rng(1), []
    for sizes in (first, second):
        share = np.maximum.reduce([ball(AT[name], radius) for name, radius in sizes.items()])
        made.append((WHITE + (LESION - WHITE) * share + NOISE * random.standard_normal(share.shape)).astype(np.float32))
        made.append(share.astype(np.float32))
    made[1][ball(AT["flickers"], 5.0) > 0] = 0  # the outline of the first examination has missed it
    made[3] = np.maximum(made[3], (ball(AT["stays"], 4.5) > 0.5).astype(np.float32))  # and that of the second has gone too far
    return tuple(made)


def pair(first: np.ndarray, second: np.ndarray) -> Halfway:
    grid = Volume(first, np.eye(4))
    seen = np.ones(first.shape, bool)
    return Halfway(grid, grid.with_array(second), seen.astype(np.float32), seen, np.eye(4), np.eye(4), 0.0, 0.0, 1.0, None)


def kinds(found) -> dict[str, str]:
    return {min(AT, key=lambda name: np.linalg.norm(np.array(AT[name]) - one.middle_lps)): one.kind for one in found}


@pytest.fixture(scope="module")
def found():
    first, outline, second, later = heads()
    return changed(pair(first, second), outline, later, np.full(first.shape, 4, np.uint8))


def test_what_became_of_each(found):
    assert kinds(found) == {"stays": "same", "new": "new", "gone": "gone", "grows": "grown", "flickers": "same", "shrinks": "shrunk"}
    assert {one.region for one in found} == {"deep"}


def test_the_volumes_are_those_of_the_balls(found):
    by_kind = {one.kind: one for one in found if one.kind != "same"}
    assert by_kind["new"].then_ml == 0.0 and by_kind["new"].now_ml == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.2)
    assert by_kind["grown"].now_ml - by_kind["grown"].then_ml == pytest.approx(4 / 3 * np.pi * (0.45**3 - 0.3**3), rel=0.25)
    assert by_kind["new"].brighter > 0.5 and by_kind["gone"].brighter < -0.5
    same = [one for one in found if one.kind == "same"]
    assert all(one.then_ml == one.now_ml and abs(one.brighter) < 0.2 for one in same)


def test_exchange_of_the_images_turns_every_kind_round(found):
    first, outline, second, later = heads()
    back = changed(pair(second, first), later, outline, np.full(first.shape, 4, np.uint8))
    assert kinds(back) == {name: OPPOSITE[kind] for name, kind in kinds(found).items()}
    there, again = (LesionChanges(None, one) for one in (found, back))
    assert there.change_ml == pytest.approx(-again.change_ml)
    assert sum(there.count(kind) for kind in KINDS) == len(found) == 6


def test_what_only_one_field_of_view_holds_is_not_compared():
    first, outline, second, later = heads()
    half = pair(first, second)
    half.seen[:32] = False
    assert set(kinds(changed(half, outline, later, np.full(first.shape, 4, np.uint8)))) == {"gone", "grows", "shrinks"}


def test_no_lesion_no_change():
    first, _, second, _ = heads()
    nothing = np.zeros(first.shape, np.float32)
    assert changed(pair(first, second), nothing, nothing, nothing.astype(np.uint8)) == ()


def test_a_bright_tract_is_told_from_a_lesion_elsewhere(found):
    tracts, inside = atlas.labels("tracts"), atlas.template()["inside"]
    half = replace(pair(np.zeros(tracts.array.shape, np.float32), np.zeros(tracts.array.shape, np.float32)), first=tracts)
    place = Placement(inside, lps_grid(inside), np.eye(4), 1.0)
    cst = next(part.label for part in atlas.parts() if part.image == "tracts" and part.structure == "cst" and part.level == "plic")
    new = next(one for one in found if one.kind == "new")
    here, elsewhere = (replace(new, voxels=np.argwhere(tracts.array == label)) for label in (cst, 0))
    places = [(place, np.eye(4)), (place, np.eye(4))]
    here, elsewhere = (replace(one, in_tract=share_in_tract(one, half, places)) for one in (here, elsewhere))
    assert here.in_tract > 0.95 and elsewhere.in_tract < 0.01
    assert LesionChanges(half, (here, elsewhere, new)).brighter_in_tract == 1
