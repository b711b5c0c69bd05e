"""What was outlined, once each: the masks of a report with the name and the tracking UID that segment and measurement group share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.outcome import Mask, Outcome
from analysis.report import Report
from node.concepts import structure_words
from node.provenance import Provenance
from node.uids import tracking_uid


@dataclass(frozen=True, eq=False)
class Structure:
    """One mask that is not empty, and the marker that made it. `label` is unique in its image, `tracking_id` in the study."""

    mask: Mask
    marker: str
    version: int
    label: str
    tracking_id: str
    tracking_uid: str


def structures_of(report: Report, provenance: Provenance) -> tuple[Structure, ...]:
    """Every mask with a voxel in it, in the order of the outcomes. The same mask said twice is one structure."""
    found: list[Structure] = []
    for outcome in report.outcomes:
        for mask in outcome.masks:
            if mask.array.any() and not any(_is_same(mask, other.mask) for other in found):
                found.append(_structure(mask, outcome, found, provenance))
    return tuple(found)


def _is_same(mask: Mask, other: Mask) -> bool:
    what = (mask.role, mask.site, mask.side, mask.level)
    return what == (other.role, other.site, other.side, other.level) and np.array_equal(mask.array, other.array)


def _structure(mask: Mask, outcome: Outcome, before: list[Structure], provenance: Provenance) -> Structure:
    label = structure_words(mask.site, mask.side, mask.level)
    name = f"{mask.role} {mask.name}"
    if any(other.mask.role == mask.role and other.label == label for other in before):
        label, name = f"{label} ({mask.name.replace('_', ' ')}, {outcome.marker.replace('_', ' ')})", f"{name} {outcome.marker}"
    tracking_id = f"{label[:50]} on {mask.role.upper().replace('_', ' ')}"[:64]
    uid = tracking_uid(provenance.patient, name, mask.side, mask.level)
    return Structure(mask, outcome.marker, outcome.version, label[:64], tracking_id, uid)
