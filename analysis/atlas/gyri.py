"""The gyri of the motor strip and their neighbours, between the sulci traced on the template: for `build.py` alone.

A gyrus is what lies between its two sulci and above the line that joins their floors: its cortex and the white matter of its core. The left
side is made and mirrored. The parts of the precentral gyrus are what lies nearest, along the gyrus, to the published position
of the motor area of the leg, the trunk, the hand, the face and the tongue.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from analysis.atlas.maps import Maps, largest, mirrored
from analysis.atlas.sulci import ALL_X, CENTRAL, POSTCENTRAL, PRECENTRAL, walls, with_lower_end

# Motor areas, MNI mm, left and right: A4ll, A4t, A4ul, A4hf, A4tl of the Brainnetome atlas (Fan 2016, 10.1093/cercor/bhw157)
MOTOR_AREAS = {
    "leg": ((-4, -23, 61), (5, -21, 61)),
    "trunk": ((-13, -20, 73), (15, -22, 71)),
    "hand": ((-26, -25, 63), (34, -19, 59)),
    "face": ((-49, -8, 39), (55, -2, 33)),
    "tongue": ((-52, 0, 8), (54, 4, 9)),
}
ENDS_OF_GYRUS = ((-2.0, -24.0, 48.0), (-58.0, 6.0, 3.0))  # x, y, z: at the cingulate sulcus and at the lateral fissure
CORNERS_MM = (-76, -72, -14), (0, 40, 100)  # x, y, z: the box on the left that holds all of it
MIDLINE_MM = 0.5
CENTRE_OF_HEAD = np.array([-10.0, 10.0])  # y, z: the crown of a gyrus looks away from here
CROWN_MM = 12.0
FRONT_MM = 20.0  # how far in front of the precentral sulcus the superior frontal gyrus is taken
SUPERIOR_FRONTAL_SULCUS = ((46, -25), (50, -25), (55, -24), (60, -26), (66, -30), (80, -33))  # z, x, read off coronal slices y -10 to 10
SUPERIOR_FRONTAL_FLOOR_Z = 50.0
CORE_MM = 5.0  # depth of white matter under the cortex that counts as its gyrus, where no floor bounds it


def between(front: np.ndarray, back: np.ndarray, shape: tuple[int, int], corner: np.ndarray) -> np.ndarray:
    """What lies between two walls in a sagittal slice, open at the crown: boolean (y, z)."""
    from skimage.draw import polygon2mask

    outward = [end + CROWN_MM * (end - CENTRE_OF_HEAD) / np.linalg.norm(end - CENTRE_OF_HEAD) for end in (back[0], front[0])]
    outline = np.concatenate([front, back[::-1], outward])
    return polygon2mask(shape, outline - corner)


def gyrus(maps: Maps, front: dict[int, np.ndarray], back: dict[int, np.ndarray]) -> np.ndarray:
    """The room between two sulci on the left: boolean (x, y, z)."""
    room = np.zeros(maps.t1.shape, bool)
    for x in ALL_X:
        room[maps.index(x, 0, 0)[0]] = between(front[x], back[x], maps.t1.shape[1:], maps.affine[1:3, 3])
    return room


def superior_frontal(maps: Maps, front: dict[int, np.ndarray]) -> np.ndarray:
    """The room in front of the precentral sulcus, between the midline and the superior frontal sulcus, on the left: boolean."""
    x, y, z = maps.axes_mm
    start = np.full((maps.t1.shape[0], 1, maps.t1.shape[2]), np.inf)
    for place in ALL_X:
        heights, order = np.unique(front[place][:, 1], return_index=True)
        start[maps.index(place, 0, 0)[0], 0] = np.interp(z.ravel(), heights, front[place][order, 0])
    lateral = np.interp(z, *np.array(SUPERIOR_FRONTAL_SULCUS, float).T)
    shallow = ndimage.distance_transform_edt(maps.white > 0.5) <= CORE_MM
    return (y > start) & (y < start + FRONT_MM) & (x > lateral) & (z > SUPERIOR_FRONTAL_FLOOR_Z) & shallow


def settled(maps: Maps, rooms: list[np.ndarray]) -> list[np.ndarray]:
    """Rooms that overlap nowhere, smooth from slice to slice, in tissue, each in one piece without holes."""
    x = maps.axes_mm[0]
    votes = [ndimage.gaussian_filter(room.astype(np.float32), (1.0, 0.5, 0.5)) for room in rooms]
    nobody = 1.0 - np.sum(votes, axis=0)
    winner = np.argmax([nobody, *votes], axis=0)
    kept = maps.tissue & (x < -MIDLINE_MM)
    return [ndimage.binary_fill_holes(largest((winner == i) & kept)) for i in range(1, len(rooms) + 1)]


def along(maps: Maps, precentral: np.ndarray) -> np.ndarray:
    """How far along the gyrus a voxel is, mm: the way inside it from its medial end less the way from its lateral end; inf outside."""
    from skimage.graph import MCP_Geometric

    inside = np.argwhere(precentral)
    mm = inside + maps.affine[:3, 3]
    ends = [inside[np.argmin(np.linalg.norm(mm - end, axis=1))] for end in ENDS_OF_GYRUS]
    cost = np.where(precentral, 1.0, np.inf)
    ways = [np.where(precentral, MCP_Geometric(cost).find_costs([tuple(end)])[0], 0.0) for end in ends]
    return np.where(precentral, ways[0] - ways[1], np.inf)


def motor_parts(maps: Maps, precentral: np.ndarray) -> dict[str, np.ndarray]:
    """The left precentral gyrus by the motor area that is nearest along it: boolean by level."""
    place, inside = along(maps, precentral), np.argwhere(precentral)
    centres = []
    for left, right in MOTOR_AREAS.values():
        centre = np.mean([left, (-right[0], *right[1:])], axis=0)
        centres.append(place[tuple(inside[np.argmin(np.linalg.norm(inside + maps.affine[:3, 3] - centre, axis=1))])])
    winner = np.argmin([np.abs(place - centre) for centre in centres], axis=0)
    return {level: precentral & (winner == i) for i, level in enumerate(MOTOR_AREAS)}


def left_gyri(maps: Maps) -> dict[tuple[str, str], np.ndarray]:
    """Each part of the left side by structure and level: boolean."""
    front, central, back = (walls(maps, table) for table in (PRECENTRAL, CENTRAL, POSTCENTRAL))
    central = with_lower_end(central)
    rooms = [gyrus(maps, front, central), gyrus(maps, central, back), superior_frontal(maps, front)]
    precentral, postcentral, frontal = settled(maps, rooms)
    parts = {("precentral_gyrus", level): part for level, part in motor_parts(maps, precentral).items()}
    return parts | {("postcentral_gyrus", ""): postcentral, ("superior_frontal_gyrus", ""): frontal}


def gyri(maps: Maps) -> dict[tuple[str, str, str], np.ndarray]:
    """Each part by structure, side and level: boolean."""
    box, found = maps.box(*CORNERS_MM), {}
    for (structure, level), part in left_gyri(maps.part(box)).items():
        left = maps.whole(box, part)
        found[structure, "left", level], found[structure, "right", level] = left, mirrored(left)
    return found
