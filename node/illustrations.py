"""Which pictures show what a marker measured: masks, maps and streamlines on the patient's own images, cut where they are best seen.

A marker without a plan of its own is shown in three planes. What is not there (a side outside the field of view, a map that was not made)
is left out, and a marker that outlined nothing has no pictures. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from analysis.outcome import Map, Mask, Outcome, Track
from analysis.report import Report
from analysis.sentence import LEVELS, SERIES_NAMES, SIDES, level_of
from analysis.spectrum import Spectra
from analysis.volume import Diffusion, Image, Runs, TimeSeries, Volume
from analysis.words import Name, Words, say
from node.pictures import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    Box,
    Line,
    Picture,
    Plane,
    box_around,
    box_of_head,
    colored,
    cropped,
    largest_section_mm,
    outline,
    painted,
    points_of_head,
    projected,
    section,
    take,
    voxels_lps,
    window_of,
)

B_ZERO_S_MM2 = 50.0
# Okabe and Ito 2008: told apart by people who see few colours as well
COLORS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#7cfc00")
LEFT, RIGHT = "#d55e00", "#0072b2"
MOST_LINES, LINE_STRIDE = 120, 3  # of a side on a picture
PLANES = {plane.name: plane for plane in (AXIAL, CORONAL, SAGITTAL)}
PLANE_NAMES = {"axial": say("axial"), "coronal": say("coronal"), "sagittal": say("sagittal")}
STRUCTURES = {
    "brain": say("brain"), "precentral_gyrus": say("precentral gyrus"), "postcentral_gyrus": say("postcentral gyrus"),
    "midbrain": say("midbrain"), "pons": say("pons"), "medulla": say("medulla"), "cst": say("corticospinal tract"),
    "callosal_motor_segment": say("motor segment of the callosum"), "splenium": say("splenium"),
    "motor_band_medial": say("medial part (leg)"), "motor_band_intermediate": say("intermediate part (hand)"),
    "motor_band_lateral": say("lateral part (face)"), "cervical_cord": say("cervical cord"), "cord_level": say("level of the cord"),
    "cord_compression": say("flattest part of the cord"), "cord_t2_hyperintensity": say("bright signal in the cord"),
    "white_matter_lesion": say("lesion of the white matter"),
    "acute_infarct": say("acute infarct"), "chronic_infarct": say("old infarct"), "lateral_ventricle": say("lateral ventricle"),
    "spectroscopy_voxel": say("voxel of the spectrum"), "activation": say("activation"), "hand_area": say("hand area"),
    "dark_region": say("dark region"), "enhancing_region": say("enhancing region"),
}  # fmt: skip


REST_RUNS = ("rest", "rest_2", "rest_3")
TASKS = ("task", "task_right_hand", "task_left_hand", "task_both_hands")
TASK_RUNS = tuple(f"{kind}{number}" for kind in TASKS for number in ("", "_2", "_3"))
PAINTED = ("thickness", *(f"t_{run}" for run in TASK_RUNS), *(f"r_{run}" for run in REST_RUNS))  # maps that are shown over the image


@dataclass(frozen=True)
class Scale:
    """How a map is shown: its first and last value in its unit, its colours, its name, and what a caption calls it."""

    first: float
    last: float
    colors: str
    title: Words
    short: Words


SCALES = {
    "fa": Scale(0.0, 0.8, "magma", say("fractional anisotropy (FA)"), say("FA")),
    "md": Scale(0.0, 2.0, "magma", say("mean diffusivity (MD, 10⁻³ mm²/s)"), say("MD")),
    **{f"t_{run}": Scale(3.0, 12.0, "autumn", say("{run}: t above its limit", run=level_of(run)), say("T1")) for run in TASK_RUNS},
    **{f"r_{run}": Scale(0.3, 1.0, "autumn", say("{run}: correlation with both hand areas, above its limit", run=level_of(run)), say("T1"))
       for run in REST_RUNS},
    "thickness": Scale(1.0, 4.5, "viridis", say("thickness of the cortex (mm)"), say("T1")),
}


@dataclass(frozen=True)
class View:
    """One picture to take: through the largest section of the masks of that name, side and level (empty: all), or through their `middle`,
    of the head or `close` to them. `map`: shown alone (`fa`, `md`) or over the image (`thickness`); `shows`: "masks", "tracks" or "" for
    nothing over it. `is_bound`: only where the map is there. `weighted`: of a diffusion series the images with weighting, where an acute
    infarct is bright."""

    plane: Plane
    name: str = ""
    side: str = ""
    level: str = ""
    close: bool = False
    middle: bool = False
    map: str = ""
    shows: str = "masks"
    weighted: bool = False
    is_bound: bool = False


def _of_run(name: str, level: str, map_: str) -> tuple[View, ...]:
    """A functional run in three planes, through what it shows."""
    return tuple(View(plane, name, level=level, map=map_, shows="", is_bound=True) for plane in (AXIAL, CORONAL, SAGITTAL))


def _bare(views: tuple[View, ...]) -> tuple[View, ...]:
    """The same pictures with nothing drawn over them, where the brightness itself is what a reader looks for."""
    return tuple(replace(view, shows="") for view in views)


_CORTEX = View(AXIAL, "precentral_gyrus", close=True, map="thickness")
_BANDS = tuple(View(AXIAL, f"motor_band_{part}", close=True) for part in ("medial", "intermediate", "lateral"))
_FLAIR = View(CORONAL, level="plic"), View(AXIAL, level="subcortical"), View(AXIAL, level="plic")
_LESIONS = View(AXIAL), View(CORONAL), View(SAGITTAL)
_INFARCT = (View(AXIAL, "acute_infarct", weighted=True), View(CORONAL, "acute_infarct", weighted=True),
            View(AXIAL, "acute_infarct", map="md"))  # fmt: skip
_OLD = View(AXIAL, "chronic_infarct"), View(CORONAL, "chronic_infarct"), View(SAGITTAL, "chronic_infarct")
_MASS = View(AXIAL), View(CORONAL), View(AXIAL, "enhancing_region")
_CALLOSUM = View(AXIAL, "callosal_motor_segment", map="fa")
PLANS: dict[str, tuple[tuple[View, ...], ...]] = {
    "precentral_gyrus": (
        (_CORTEX, replace(_CORTEX, plane=CORONAL)),
        (replace(_CORTEX, plane=SAGITTAL, side="right", middle=True), replace(_CORTEX, plane=SAGITTAL, side="left", middle=True)),
    ),
    "brainstem": ((View(SAGITTAL, close=True), View(CORONAL, close=True), View(AXIAL, "pons", close=True)),),
    "cervical_cord": ((View(SAGITTAL, "cervical_cord", close=True), View(AXIAL, "cord_level", level="C2", close=True),
                       View(AXIAL, "cord_level", level="C3", close=True)),),
    "cord_compression": (
        (View(SAGITTAL, "cord_compression", close=True), View(AXIAL, "cord_compression", close=True)),
        _bare((View(SAGITTAL, "cord_compression", close=True), View(AXIAL, "cord_compression", close=True))),
        (View(SAGITTAL, "cord_t2_hyperintensity", close=True), View(AXIAL, "cord_t2_hyperintensity", close=True)),
    ),
    "cst_flair": (_FLAIR, _bare(_FLAIR)),
    "motor_cortex_spectroscopy": (
        (View(AXIAL, "spectroscopy_voxel"), View(CORONAL, "spectroscopy_voxel"), View(SAGITTAL, "spectroscopy_voxel", side="right"),
         View(SAGITTAL, "spectroscopy_voxel", side="left")),
    ),
    "motor_band": (_BANDS, _bare(_BANDS)),
    "white_matter_lesions": (_LESIONS, _bare(_LESIONS)),
    "cst_diffusion": (
        (View(CORONAL, level="plic", map="fa"), View(AXIAL, level="plic", map="fa"), View(AXIAL, level="plic", map="md")),
        (View(CORONAL, shows="tracks"), View(SAGITTAL, side="right", shows="tracks"), View(SAGITTAL, side="left", shows="tracks")),
    ),
    "infarct": (_INFARCT, _bare(_INFARCT), _OLD),
    "mass": (_MASS, _bare(_MASS)),
    "motor_activation": (*(_of_run("activation", run, f"t_{run}") for run in TASK_RUNS),
                         *(_of_run("hand_area", run, f"r_{run}") for run in REST_RUNS)),
    "callosum_diffusion": ((View(SAGITTAL, map="fa"), _CALLOSUM, replace(_CALLOSUM, plane=CORONAL)),),
}
DEFAULT: tuple[tuple[View, ...], ...] = ((View(AXIAL), View(CORONAL), View(SAGITTAL)),)


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture with its caption; `scale` of the map in it, `key`: what its colours mean, by colour."""

    picture: Picture
    caption: Words
    scale: Scale | None
    key: Mapping[str, str]


class Grounds:
    """The images of a study as single pictures in space, with their windows; each is made once."""

    def __init__(self, images: Mapping[str, Image], brains: Mapping[str, np.ndarray]) -> None:
        self._images, self._brains, self._made, self._heads = images, brains, {}, {}

    def of(self, role: str, weighted: bool = False) -> tuple[Volume, tuple[float, float]]:
        if (role, weighted) not in self._made:
            image = ground_of(self._images[role], weighted)
            self._made[role, weighted] = image, window_of(image, self._brains.get(role))
        return self._made[role, weighted]

    def holds(self, role: str) -> bool:
        """Whether there is an image of that role to look at: a spectrum is none."""
        return role in self._images and not isinstance(self._images[role], Spectra)

    def overview(self, role: str) -> Shown:
        """One plane through the middle of the image, the one in which it is finest."""
        image, window = self.of(role)
        plane = finest_plane(image)
        middle = image.lps_from_index @ [*((np.array(image.array.shape) - 1) / 2), 1.0]
        picture = take(image, plane, float(middle[:3] @ plane.axes[2]), self.head(role, plane), window)
        caption = say("{image}, {place}", image=SERIES_NAMES.get(role, role), place=Name(picture.place))
        return Shown(picture, caption, None, {})

    def head(self, role: str, plane: Plane) -> Box:
        """The box of the head on that image."""
        if role not in self._heads:
            self._heads[role] = points_of_head(self.of(role)[0])
        return box_of_head(self._heads[role], plane)


def ground_of(image: Image, weighted: bool = False) -> Volume:
    """One volume to look at: the mean without diffusion weighting, or with it, or the middle of a time series."""
    if isinstance(image, Diffusion):
        unweighted = image.b_values_s_mm2 <= max(B_ZERO_S_MM2, image.b_values_s_mm2.min())
        return image.mean_where(~unweighted if weighted and not unweighted.all() else unweighted)
    if isinstance(image, Runs):
        image = image.longest
    if isinstance(image, TimeSeries):
        return Volume(image.array[..., image.array.shape[3] // 2], image.lps_from_index)
    return image


def finest_plane(image: Volume) -> Plane:
    """The plane whose normal is nearest to the axis along which voxels are longest; sagittal for cubes."""
    axis = int(np.argmax(image.spacing_mm)) if np.ptp(image.spacing_mm) > 0.2 * image.spacing_mm.min() else None
    if axis is None:
        return SAGITTAL
    along = image.lps_from_index[:3, axis] / image.spacing_mm[axis]
    return max(PLANES.values(), key=lambda plane: abs(plane.axes[2] @ along))


class Illustrator:
    """Takes the pictures of a report's markers."""

    def __init__(self, report: Report, images: Mapping[str, Image]) -> None:
        self._maps = {one.name: one for outcome in report.outcomes for one in outcome.maps}
        masks = [mask for outcome in report.outcomes for mask in outcome.masks]
        brains = {mask.role: mask.array for mask in masks if mask.name == "brain" and mask.array.any()}
        mapped = {one.role: one.array > 0 for one in self._maps.values() if one.name == "md" and one.array.any()}
        self.grounds = Grounds(images, {**mapped, **brains})

    def rows(self, outcome: Outcome) -> list[list[Shown]]:
        """The pictures of a marker, row by row; empty where it outlined nothing."""
        scene = _Scene(outcome)
        found = [list(self._row(scene, views)) for views in PLANS.get(outcome.marker, DEFAULT)]
        return [row for row in found if row]

    def _row(self, scene: _Scene, views: tuple[View, ...]) -> Iterator[Shown]:
        for view in views:
            if (view.shows != "tracks" or scene.outcome.tracks) and (not view.is_bound or view.map in self._maps):
                masks = scene.chosen(view)
                if masks:
                    yield self._shown(view, scene, masks)

    def _shown(self, view: View, scene: _Scene, masks: list[Mask]) -> Shown:
        role = masks[0].role
        image, _ = self.grounds.of(role)
        points = np.concatenate([scene.points(mask, image) for mask in masks])
        at_mm = float(np.median(points @ view.plane.axes[2])) if view.middle else largest_section_mm(points, view.plane)
        others = [mask for mask in scene.chosen(replace(view, name="", level="")) if mask.role == role]
        around = np.concatenate([scene.points(mask, image) for mask in others or masks])
        box = box_around(around, view.plane) if view.close else self.grounds.head(role, view.plane)
        picture, scale = self._ground(view, role, at_mm, box)
        lines, key = self._over(view, scene, role, at_mm, box)
        name = scale.short if scale else SERIES_NAMES.get(role, role)
        caption = say("{plane}, {image}, {place}", plane=PLANE_NAMES[view.plane.name], image=name, place=Name(picture.place))
        return Shown(replace(picture, lines=tuple(lines)), caption, scale, key)

    def _ground(self, view: View, role: str, at_mm: float, box: Box) -> tuple[Picture, Scale | None]:
        """The image, or the map where there is one on it."""
        image, window = self.grounds.of(role, view.weighted)
        picture = take(image, view.plane, at_mm, box, window)
        map_ = self._maps.get(view.map)
        if map_ is None or map_.role != role:
            return picture, None
        scale = SCALES[view.map]
        return replace(picture, pixels=self._mapped(picture, map_, image, scale, box)), scale

    def _mapped(self, picture: Picture, map_: Map, image: Volume, scale: Scale, box: Box) -> np.ndarray:
        held, window = image.with_array(map_.array), (scale.first, scale.last)
        if map_.name in PAINTED:
            values = section(held, picture.plane, picture.at_mm, box, order=0)
            return painted(picture.pixels, values, window, scale.colors)
        return colored(section(held, picture.plane, picture.at_mm, box), window, scale.colors)

    def _over(self, view: View, scene: _Scene, role: str, at_mm: float, box: Box) -> tuple[list[Line], dict[str, str]]:
        if view.shows == "tracks":
            return _streamlines(scene.outcome.tracks, view, box)
        if not view.shows:
            return [], {}
        image, _ = self.grounds.of(role)
        lines, key = [], {}
        for mask in scene.outcome.masks:
            if mask.role == role and (view.map != "thickness" or mask.name == view.name):
                color = scene.color(mask)
                part = scene.part(mask, image)
                found = outline(part, view.plane, at_mm, box) if part else []
                lines += [Line(points, color, halo=bool(view.map)) for points in found]
                if found:
                    key[color] = scene.label(mask)
        return lines, dict(sorted(key.items(), key=lambda one: COLORS.index(one[0])))


def _streamlines(tracks: tuple[Track, ...], view: View, box: Box) -> tuple[list[Line], dict[str, str]]:
    lines, key = [], {}
    for track in tracks:
        if view.side in ("", track.side) and track.lines:
            color = LEFT if track.side == "left" else RIGHT
            chosen = np.unique(np.linspace(0, len(track.lines) - 1, min(len(track.lines), MOST_LINES)).round().astype(int))
            points = projected((track.lines[index][::LINE_STRIDE] for index in chosen), view.plane, box)
            lines += [Line(one, color, 0.35) for one in points if len(one) > 1]
            key[color] = say("streamlines, {side}", side=SIDES.get(track.side, ""))
    return lines, key


class _Scene:
    """The masks of one outcome: which a view is about, where they lie, and in which colour and by which name they are drawn."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._parts: dict[int, Volume | None] = {}
        self._points: dict[int, np.ndarray] = {}

    @cached_property
    def _kinds(self) -> list[tuple[str, str | None]]:
        return list(dict.fromkeys((mask.name, mask.level) for mask in self.outcome.masks))

    def chosen(self, view: View) -> list[Mask]:
        """What the view is about; where its level is not there, all levels."""
        role = next((mask.role for mask in self.outcome.masks if view.name in ("", mask.name)), "")
        held = [one for one in self.outcome.masks if one.role == role and one.array.any() and view.side in ("", one.side)]
        held = [one for one in held if view.name in ("", one.name)]
        return [one for one in held if view.level == one.level] or held if view.level else held

    def points(self, mask: Mask, image: Volume) -> np.ndarray:
        if id(mask) not in self._points:
            self._points[id(mask)] = voxels_lps(self.part(mask, image))
        return self._points[id(mask)]

    def part(self, mask: Mask, image: Volume) -> Volume | None:
        if id(mask) not in self._parts:
            self._parts[id(mask)] = cropped(mask.array, image.lps_from_index)
        return self._parts[id(mask)]

    def color(self, mask: Mask) -> str:
        return COLORS[self._kinds.index((mask.name, mask.level)) % len(COLORS)]

    def label(self, mask: Mask) -> str:
        if mask.level and len({one.level for one in self.outcome.masks}) > 1:
            return LEVELS.get(mask.level, mask.level.replace("_", " "))
        return STRUCTURES.get(mask.name, mask.name.replace("_", " "))
