"""Which numbers and findings belong together, and which mask shows where they were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.outcome import Concept, Finding, Measurement, Outcome
from analysis.report import Report
from node.concepts import structure_words
from node.provenance import Provenance
from node.structures import Structure
from node.uids import tracking_uid


@dataclass(frozen=True, eq=False)
class Group:
    """The numbers of one structure, side and level. `array` on the grid of `role` shows where; `is_exact`: it is that very structure."""

    site: Concept
    side: str | None
    level: str | None
    marker: str
    version: int
    role: str
    array: np.ndarray
    is_exact: bool
    tracking_id: str
    tracking_uid: str
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]


def groups_of(
    report: Report, structures: Sequence[Structure], provenance: Provenance
) -> tuple[list[Group], list[tuple[Outcome, Measurement | Finding]]]:
    """The groups, and what has no place in the images."""
    groups: list[Group] = []
    loose: list[tuple[Outcome, Measurement | Finding]] = []
    for outcome in report.outcomes:
        findings = list(outcome.findings)
        for site, side, level in dict.fromkeys((one.site, one.side, one.level) for one in outcome.measurements):
            members = tuple(one for one in outcome.measurements if (one.site, one.side, one.level) == (site, side, level))
            shown = _shown_on(structures, outcome.marker, site, side, level)
            if not shown:
                loose += [(outcome, one) for one in members]
                continue
            here = tuple(one for one in findings if (one.site, one.side) == (site, side))
            findings = [one for one in findings if one not in here]
            groups.append(_group(outcome, site, side, level, shown, members, here, provenance))
        loose += [(outcome, one) for one in findings]
    return groups, loose


def _shown_on(structures: Sequence[Structure], marker: str, site: Concept, side: str | None, level: str | None) -> list[Structure]:
    """The masks, all of one image, that show the structure best: its own, or what of the same marker is nearest to it."""
    level = None if level == "whole" else level
    same = [one for one in structures if (one.mask.site, one.mask.side, _level(one)) == (site, side, level)]
    own = [one for one in structures if one.marker == marker]
    choices = (
        [one for one in same if one.marker == marker],
        same,
        [one for one in own if (one.mask.site, one.mask.side) == (site, side)],
        [one for one in own if one.mask.site == site],
        [one for one in own if one.mask.side == side],
        own,
    )
    best = next((choice for choice in choices if choice), [])
    return [one for one in best if one.mask.role == best[0].mask.role]


def _level(structure: Structure) -> str | None:
    return None if structure.mask.level == "whole" else structure.mask.level


def _group(outcome: Outcome, site: Concept, side: str | None, level: str | None, shown: list[Structure],
           members: tuple[Measurement, ...], findings: tuple[Finding, ...], provenance: Provenance) -> Group:  # fmt: skip
    first = shown[0]
    own_level = None if level == "whole" else level
    is_exact = len(shown) == 1 and (first.mask.site, first.mask.side, _level(first)) == (site, side, own_level)
    name = structure_words(site, side, level)
    return Group(
        site=site,
        side=side,
        level=level,
        marker=outcome.marker,
        version=outcome.version,
        role=first.mask.role,
        array=np.logical_or.reduce([one.mask.array for one in shown]),
        is_exact=is_exact,
        tracking_id=first.tracking_id if is_exact else f"{name[:40]} ({outcome.marker.replace('_', ' ')})"[:64],
        tracking_uid=first.tracking_uid if is_exact else tracking_uid(provenance.patient, f"{outcome.marker} {site.code}", side, level),
        measurements=members,
        findings=findings,
    )
