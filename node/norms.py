"""The populations that a study is compared with: the site's own controls first, from 20 on, then the published ones.

A measurement is compared with controls of the same scanner and the same protocol of the series that it rests on: the first role of each
group that its marker needs, of image quality the series itself. Where a scanner and protocol have fewer than 20 controls, but at least 8,
and the site has 20 in all, those of its other scanners are laid on this one (`analysis.harmonisation`), and the population says so. A
study that is itself a control is compared with the others. Measurements of another version of a marker count nowhere. A control that
cannot be read is a problem in words, and the report goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from analysis.controls import ENOUGH, Controls
from analysis.examination import ROLES
from analysis.harmonisation import LEAST_ON_SCANNER, harmonised
from analysis.marker import Marker
from analysis.reference import Population
from analysis.words import say
from node.controls import Control, ControlFolder, Key, Measured, Place
from node.populations import norms
from node.settings import Settings

VOLUME_SHARES = {f"{part}_volume": f"{part}_share" for part in ("midbrain", "pons", "medulla")}
Value = tuple[float, float | None]  # and its error
Basis = tuple[tuple[str, Place], ...]  # role and place of each series that a measurement rests on


@dataclass(frozen=True)
class Feature:
    """One measurement, or one node of a profile."""

    name: str
    side: str | None
    level: str | None
    node: int | None = None


def norms_for(
    settings: Settings, study: str, places: Mapping[str, Place], markers: Iterable[Marker]
) -> tuple[tuple[Population, ...], tuple[str, ...]]:
    """The populations for the series that a study was measured on, own before published, and what was wrong with the controls."""
    controls, problems = ControlFolder(settings.storage.folder).all()
    others = [one for one in controls if one.study != study]
    own = [population for marker in markers for population in populations_of(marker, places, others)]
    return (*own, *norms()), problems


def populations_of(marker: Marker, places: Mapping[str, Place], controls: Sequence[Control]) -> list[Controls]:
    """The controls as populations of every measurement of one marker, for a patient whose series were made there."""
    known = with_version(controls, marker)
    found = {one.study: values_of(one, marker.name) for one in known}
    features = dict.fromkeys(feature for values in found.values() for feature in values)
    bases = {feature: basis_of(marker, feature.level, places) for feature in features}
    made: list[Controls] = []
    for basis in dict.fromkeys(basis for basis in bases.values() if basis):
        mine = [feature for feature in features if bases[feature] == basis]
        for group in ([one for one in mine if one.node is None], [one for one in mine if one.node is not None]):
            made += _populations(marker, basis, group, known, found) if group else []
    return made


def with_version(controls: Iterable[Control], marker: Marker) -> list[Control]:
    """The controls that this version of a marker measured."""
    return [one for one in controls if marker.name in one.markers and one.markers[marker.name].version == marker.version]


def basis_of(marker: Marker, level: str | None, places: Mapping[str, Place]) -> Basis | None:
    """The series that a measurement rests on; None where one of them is not there, or its scanner or protocol is not known."""
    groups = ((level,),) if level in ROLES else marker.needs
    roles = [next((role for role in group if role in places), None) for group in groups]
    return None if None in roles else tuple((role, places[role]) for role in roles)


def values_of(control: Control, marker: str) -> dict[Feature, Value]:
    """Every value of a marker with its error, by feature; parts of the brainstem also as shares of the intracranial volume."""
    measured = control.markers[marker]
    found = {Feature(*key): value for key, value in measured.values.items() if not _is_partial(key, measured)}
    for (name, side), nodes in measured.profiles.items():
        found |= {Feature(name, side, None, number): (value, None) for number, value in enumerate(nodes) if value is not None}
    return found | _shares(control, measured)


def _is_partial(key: Key, measured: Measured) -> bool:
    """An asymmetry of some levels does not compare with that of the whole tract."""
    return key[0] == "cst_fa_asymmetry" and not all(("cst_fa", side, "whole") in measured.values for side in ("left", "right"))


def _shares(control: Control, measured: Measured) -> dict[Feature, Value]:
    """Percent of the intracranial volume, as the marker compares them."""
    volumes = control.markers.get("brain_volumes")
    whole = volumes.values.get(("intracranial_volume", None, None)) if volumes else None
    shares = {}
    for (name, _, _), (value, error) in measured.values.items():
        if name in VOLUME_SHARES and whole:
            relative = np.hypot((error or 0.0) / value, (whole[1] or 0.0) / whole[0])
            shares[Feature(VOLUME_SHARES[name], None, None)] = (100.0 * value / whole[0], float(100.0 * value / whole[0] * relative))
    return shares


def _populations(
    marker: Marker, basis: Basis, features: list[Feature], controls: list[Control], found: Mapping[str, Mapping[Feature, Value]]
) -> list[Controls]:
    """The populations of the features that rest on one basis; harmonised where it alone has too few."""
    people = _people(marker, features[0].level, basis, controls)
    here = [one for one, scanner in people if scanner == 0]
    counts = {feature: sum(feature in found[one.study] for one in here) for feature in features}
    few = [feature for feature in features if counts[feature] < ENOUGH]
    made = [_own(feature, basis, [(one, found[one.study][feature]) for one in here if feature in found[one.study]])
            for feature in features if counts[feature] >= ENOUGH]  # fmt: skip
    laid = _laid(few, basis, people, found) if few and len(people) >= ENOUGH and len(here) >= LEAST_ON_SCANNER else {}
    return made + [laid.get(feature) or _too_few(feature, counts[feature]) for feature in few]


def _people(marker: Marker, level: str | None, basis: Basis, controls: list[Control]) -> list[tuple[Control, int]]:
    """Who may be compared, with the number of the scanner and protocol, 0 for the basis; a person once, there if possible."""
    theirs = [(one, basis_of(marker, level, one.places)) for one in controls]
    known = [(one, other) for one, other in theirs if other and [role for role, _ in other] == [role for role, _ in basis]]
    known.sort(key=lambda pair: pair[1] != basis)
    bases = list(dict.fromkeys([basis, *(other for _, other in known)]))
    once: dict[str, tuple[Control, int]] = {}
    for one, other in known:
        once.setdefault(one.person, (one, bases.index(other)))
    return list(once.values())


def _own(feature: Feature, basis: Basis, people: list[tuple[Control, Value]]) -> Controls:
    ages = [one.age_years for one, _ in people]
    words = say("own healthy controls of {low:.0f} to {high:.0f} years ({where})", low=min(ages), high=max(ages), where=where_words(basis))
    values, errors = zip(*(pair for _, pair in people), strict=True)
    return _controls(feature, words, [one for one, _ in people], list(values), list(errors))


def _laid(
    features: list[Feature], basis: Basis, people: list[tuple[Control, int]], found: Mapping[str, Mapping[Feature, Value]]
) -> dict[Feature, Controls]:
    """The populations of all scanners, laid on that of the basis; without those that have too few even so."""
    table = np.array([[found[one.study].get(feature, (np.nan,))[0] for feature in features] for one, _ in people], float)
    scanners = np.array([scanner for _, scanner in people])
    covariates = np.array([(one.age_years, one.sex == "F") for one, _ in people], float)
    made = {}
    for feature, column in zip(features, harmonised(table, scanners, covariates).T, strict=True):
        has = np.isfinite(column)
        if has.sum() < ENOUGH or (has & (scanners == 0)).sum() < LEAST_ON_SCANNER:
            continue
        kept = [one for (one, _), is_there in zip(people, has, strict=True) if is_there]
        ages = [one.age_years for one in kept]
        words = say("own healthy controls of {low:.0f} to {high:.0f} years on {count} scanners, harmonised by ComBat ({where})",
                    low=min(ages), high=max(ages), count=len(set(scanners[has])), where=where_words(basis))  # fmt: skip
        errors = [found[one.study][feature][1] for one in kept]
        made[feature] = _controls(feature, words, kept, column[has].tolist(), errors, tuple(scanners[has].tolist()))
    return made


def _too_few(feature: Feature, count: int) -> Controls:
    note = say("own controls: {count} of {needed}", count=count, needed=ENOUGH)
    return Controls(feature.name, feature.side, feature.level, "", (), (), (), node=feature.node, note=note)


def _controls(
    feature: Feature, population: str, people: list[Control], values: list[float], errors: list[float | None],
    scanners: tuple[int, ...] = (),
) -> Controls:  # fmt: skip
    ages, sexes = tuple(one.age_years for one in people), tuple(one.sex for one in people)
    shares = [error / abs(value) for value, error in zip(values, errors, strict=True) if error is not None and value]
    return Controls(feature.name, feature.side, feature.level, population, ages, sexes, tuple(values), _usual(errors), _usual(shares),
                    feature.node, scanners, who=tuple(one.study for one in people))  # fmt: skip


def _usual(errors: Sequence[float | None]) -> float:
    """The usual error of measurement; 0 where none is known."""
    known = [error for error in errors if error is not None]
    return median(known) if known else 0.0


def where_words(basis: Basis) -> str:
    """Scanner and protocol of each series, for a reader."""
    return "; ".join(f"{place.scanner}, {place.protocol}" for _, place in basis)
