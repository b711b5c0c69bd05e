"""Which sequences an examination for suspected ALS should have, and which of them this study brought.

No trial network's table of sequences could be read; the list is the practical minimum that the markers and the exclusion of other causes
ask for. A sequence counts as there when a series of its role was measured on; it counts as limited when something is wrong with that
series, and as not used when only unusable series of that role came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.outcome import Finding, Outcome
from analysis.steps.diffusion_prediction import B_ZERO_S_MM2
from analysis.volume import Diffusion, Image
from analysis.words import Name, Words, joined, say

if TYPE_CHECKING:
    from analysis.report import SeriesNote

CAME, LIMITED, UNUSED, MISSING = say("came"), say("limited"), say("not used"), say("missing")
LEAST_DIRECTIONS = 6  # of a tensor


@dataclass(frozen=True)
class Sequence:
    """`roles`: any of them is this sequence. `directions`: how many diffusion directions it needs; `coarsest_mm`: the longest edge of a
    voxel that it may have."""

    name: Words
    why: Words
    roles: tuple[str, ...]
    is_optional: bool = False
    directions: int = 0
    coarsest_mm: float = math.inf


SEQUENCES = (
    Sequence(say("3D T1, 1 mm, down to C3"), say("motor cortex, brain and brainstem; the frame for all other series"), ("t1",),
             coarsest_mm=1.4),
    Sequence(say("3D FLAIR"), say("signal of the corticospinal tract; lesions of other causes"), ("flair",), coarsest_mm=2.0),
    Sequence(say("SWI or multi-echo T2*, whole motor strip"), say("iron in the motor cortex (motor band sign)"), ("swi", "t2star")),
    Sequence(say("DWI with ADC"), say("acute infarct; tells bright diffusion from T2 shine-through"), ("dwi",)),
    Sequence(say("DTI, same protocol for every patient"), say("integrity of corticospinal tract and callosum"), ("dwi",),
             directions=LEAST_DIRECTIONS),
    Sequence(say("3D T2 of the cervical cord, about 0.8 mm"), say("cord compression, which can look like ALS; cord atrophy"), ("cord_t2",)),
    Sequence(say("MR spectroscopy of the motor cortex"), say("loss of neurons (NAA)"), ("mrs",), is_optional=True),
    Sequence(say("fMRI"), say("function of the motor cortex"), ("bold",), is_optional=True),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One sequence of the list, how it stands with this study, and what there is to say; `series` are the descriptions of what came."""

    sequence: Sequence
    state: Words
    series: tuple[str, ...] = ()
    remark: str = ""


    @property
    def name(self) -> Words:
        return say("{name} (optional)", name=self.sequence.name) if self.sequence.is_optional else self.sequence.name

    @property
    def words(self) -> Words:
        """How it stands, which series came, and what there is to say."""
        said = [part for part in (joined(Name(one) for one in self.series), self.remark) if part]
        return say("{state}: {said}", state=self.state, said=joined(said, "; ")) if said else self.state


def rows_of(series: Iterable[SeriesNote], outcomes: Iterable[Outcome], images: Mapping[str, Image]) -> tuple[Row, ...]:
    """The list, compared with the series of a study; `outcomes` say how good they are."""
    limits = {one.level: one for outcome in outcomes for one in outcome.findings if one.name == "image_quality"}
    notes = tuple(series)
    return tuple(_row(sequence, notes, images, limits) for sequence in SEQUENCES)


def _row(sequence: Sequence, series: Iterable[SeriesNote], images: Mapping[str, Image], limits: Mapping[str | None, Finding]) -> Row:
    notes = [note for note in series if note.role in sequence.roles]
    used = [note for note in notes if note.used]
    if sequence.directions and used and (count := directions_of(images.get("dwi"))) < sequence.directions:
        said = say("the diffusion series has {count} directions; a tensor needs {least}", count=count, least=sequence.directions)
        return Row(sequence, MISSING, (), said)
    if not notes:
        return Row(sequence, MISSING)
    names = tuple(note.description for note in (used or notes) if note.description)
    said = joined([*_coarse(sequence, used, images), *_remarks(used or notes, limits)], "; ")
    if not used:
        return Row(sequence, UNUSED, names, said)
    return Row(sequence, LIMITED if said else CAME, names, said)


def _coarse(sequence: Sequence, used: list[SeriesNote], images: Mapping[str, Image]) -> list[str]:
    """That the voxels are too long for what the sequence is for, where they are."""
    image = next((images[note.role] for note in used if note.role in images), None)
    if image is None or math.isinf(sequence.coarsest_mm):
        return []
    longest_mm = float(np.linalg.norm(image.lps_from_index[:3, :3], axis=0).max())
    return [say("voxels of up to {longest:.1f} mm", longest=longest_mm)] if longest_mm > sequence.coarsest_mm else []


def _remarks(notes: list[SeriesNote], limits: Mapping[str | None, Finding]) -> list[str]:
    """What is wrong with the series, and what the look at their quality found."""
    said = [problem for note in notes for problem in note.problems]
    found = [limits[note.role] for note in notes if note.used and note.role in limits]
    said += [one.reason for one in found if one.value == "present" and one.reason]
    return list(dict.fromkeys(said))


def directions_of(image: Image | None) -> int:
    """How many different directions of diffusion weighting a series has; a direction and its opposite are one."""
    if not isinstance(image, Diffusion):
        return 0
    vectors = image.b_vectors_lps[image.b_values_s_mm2 > B_ZERO_S_MM2]
    kept: list[np.ndarray] = []
    for vector in vectors:
        if all(abs(float(vector @ other)) < 0.99 for other in kept):
            kept.append(vector)
    return len(kept)
