"""The images of a study by role: which series has which role, and what is read of it.

One series serves a role, the best that can be read; of spectra and functional series all are used. A series that cannot be read gives way
to the next best, and says why.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from analysis.marker import Marker
from analysis.spectrum import Spectra
from analysis.volume import Diffusion, Image
from analysis.words import joined, say
from node.controls import Place, places_of
from node.errors import StudyError
from node.roles import Decision, choose, decide, with_choice
from node.study import Series, Study

# roles of which all series are used: module, how one series is read, how they are put together
COLLECTIONS = {"mrs": ("node.spectra", "spectrum_of", "gathered"), "bold": ("node.runs", "run_of", "gathered")}

Watch = Callable[[str], None]


def images_of(study: Study, every: tuple[Marker, ...], watch: Watch) -> tuple[tuple[Decision, ...], dict[str, Image]]:
    """The role of every series, and the image of each role that a marker needs. A series that cannot be read gives way to the next best."""
    from node.volumes import image_of

    needed = {role for marker in every for group in marker.needs for role in group}
    decisions = tuple(decide(series) for series in study.series)
    images: dict[str, Image] = {}
    for role in sorted(needed & set(COLLECTIONS)):
        watch(f"reading {role}")
        decisions, parts = _read(decisions, role)
        if parts:
            images[role] = _collection(role)[1](parts)
    for role in sorted(needed - set(COLLECTIONS)):
        while role not in images and role in (chosen := choose(decisions)):
            watch(f"reading {role}")
            try:
                images[role] = image_of(chosen[role], role)
            except StudyError as error:
                decisions = tuple(_unusable(one, error.reason) if one.series is chosen[role] else one for one in decisions)
    if isinstance(diffusion := images.get("dwi"), Diffusion):
        images["dwi"], decisions = _with_reversed_b_zero(diffusion, decisions)
    if isinstance(spectra := images.get("mrs"), Spectra) and "t1" in images:
        images["mrs"] = _in_frame_of(spectra, choose(decisions)["t1"])
    alone = {role: series for role, series in choose(decisions).items() if role not in COLLECTIONS}
    return with_choice(decisions, alone), images


def _collection(role: str) -> tuple[Callable[[Series], object], Callable[[list], Image]]:
    """How one series of a role is read of which all are used, and how they are put together."""
    module, read, gather = COLLECTIONS[role]
    home = importlib.import_module(module)
    return getattr(home, read), getattr(home, gather)


def _read(decisions: tuple[Decision, ...], role: str) -> tuple[tuple[Decision, ...], list]:
    """Every usable series with that role; those that cannot be read say why."""
    parts, told = [], []
    for one in decisions:
        if one.role == role and one.usable:
            try:
                parts.append(_collection(role)[0](one.series))
            except StudyError as error:
                one = _unusable(one, error.reason)
        told.append(one)
    return tuple(told), parts


def _in_frame_of(spectra: Spectra, series: Series) -> Spectra:
    """Spectra have no picture to lay them over the T1 by: their place counts where both have one frame of reference."""
    from node.spectra import in_frame

    return in_frame(spectra, str(series.header.get("FrameOfReferenceUID") or ""))


def used(decisions: tuple[Decision, ...], images: Mapping[str, Image]) -> list[Decision]:
    """The decisions on the series that are measured on."""
    chosen = choose(decisions)
    return [one for one in decisions if one.role in images and one.usable
            and (one.role in COLLECTIONS or chosen.get(one.role) is one.series)]  # fmt: skip


def places(decisions: tuple[Decision, ...], images: Mapping[str, Image]) -> dict[str, Place]:
    """By role the scanner and the protocol of the series that is measured on, where both are known; of several series all protocols."""
    return places_of((one.role, one.scanner, one.protocol) for one in used(decisions, images))


def _with_reversed_b_zero(image: Diffusion, decisions: tuple[Decision, ...]) -> tuple[Diffusion, tuple[Decision, ...]]:
    """The diffusion image with the b = 0 series that was encoded the other way, where the study has one, and the decision that says so."""
    from node.phase_encoding import with_reversed_b_zero

    image, found = with_reversed_b_zero(image, choose(decisions)["dwi"], [one.series for one in decisions if one.is_b_zero])
    reversed_ = say("encoded the other way than the diffusion series")
    return image, tuple(replace(one, why=joined([one.why, reversed_], "; ")) if one.series is found else one for one in decisions)


def _unusable(decision: Decision, reason: str) -> Decision:
    return replace(decision, usable=False, problems=(*decision.problems, reason))
