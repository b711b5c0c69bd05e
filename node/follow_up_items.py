"""What changed since the earlier examination, as content items of the coded report: the earlier report named, each change as numbers.

A change stands as a sentence with its numbers below it, under a concept of its own, so that nobody who reads the report back takes it for
a value of this examination; PS3.16 has no code for a change of a value, its rate or its reliable change index, and no template for a value
of another document, so these three are private and stand among the qualitative evaluations. What was measured, where and when is told in
the standard's codes: the finding site, both values under their own quantity, each with the identifier of its time point.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from analysis.change import Change
from analysis.earlier import Earlier
from analysis.follow_up import FollowUp
from analysis.outcome import Measurement, Outcome
from node import concepts
from node.earlier_report import SOP_CLASS
from node.follow_up_words import change_line, not_compared_lines, sentences_of
from node.language import Language
from node.measurement_group import named_as, text


def follow_up_items(found: FollowUp | None, outcomes: Sequence[Outcome], language: Language) -> list[Dataset]:
    """The items; none where there is no earlier examination. `outcomes`: of this one, in which every value that changed stands."""
    if found is None:
        return []
    known = {(outcome.marker, one.name, one.side, one.level): one for outcome in outcomes for one in outcome.measurements}
    items = [_prior(one) for one in found.earlier]
    items += [text(concepts.CHANGES, language(sentence)) for sentence in sentences_of(found)]
    items += [_change(one, known[one.marker, one.name, one.side, one.level], found, language) for one in found.seen]
    return items + [text(concepts.NOT_ASSESSED, language(line)) for line in (*not_compared_lines(found), *found.notes)]


def prior_reports(found: FollowUp | None) -> list[Dataset]:
    """The earlier reports that were read, as evidence. They lie in other studies, so they are Pertinent Other Evidence, without which no
    content item may refer to them (PS3.3 C.17.2)."""
    return [_reference(one) for one in (found.earlier if found else ()) if _is_named(one)]


def _is_named(one: Earlier) -> bool:
    return bool(one.sop_instance_uid and one.series_instance_uid)


def _reference(one: Earlier) -> Dataset:
    header = Dataset()
    header.StudyInstanceUID, header.SeriesInstanceUID = one.study_instance_uid, one.series_instance_uid
    header.SOPClassUID, header.SOPInstanceUID = SOP_CLASS, one.sop_instance_uid
    return header


def _prior(one: Earlier) -> Dataset:
    """The day of an earlier examination, its study, and its report where that was read."""
    from highdicom.sr import CompositeContentItem, ContentSequence, UIDRefContentItem

    item, below = text(concepts.TIME_POINT, one.day), {"relationship_type": "HAS PROPERTIES"}
    named = [UIDRefContentItem(concepts.STUDY_UID, one.study_instance_uid, **below)]
    if _is_named(one):
        named.append(CompositeContentItem(concepts.PRIOR_REPORT, SOP_CLASS, one.sop_instance_uid, **below))
    item.ContentSequence = ContentSequence(named)
    return item


def _change(one: Change, now: Measurement, found: FollowUp, language: Language) -> Dataset:
    """One change: the sentence that says it, then its numbers. `now`: the measurement of this examination that changed."""
    from highdicom.sr import ContentSequence

    unit = concepts.unit_code(one.unit)
    item, change = text(concepts.CHANGES, language(change_line(one))), _number(concepts.CHANGES, one.change, unit)
    change.ContentSequence = ContentSequence([
        *_site(now), *named_as(one.name, one.level), _number(concepts.UNCERTAINTY, one.error, unit),
        _value(now, one.then, found.since.day), _value(now, one.now, found.day),
        text(concepts.METHOD, language(one.method), "INFERRED FROM"),
    ])  # fmt: skip
    numbers = [change, _number(concepts.RELIABLE_CHANGE, one.rci, concepts.NO_UNITS)]
    if one.per_year is not None:
        numbers.append(_number(concepts.CHANGE_PER_YEAR, one.per_year, concepts.per_year(one.unit)))
    item.ContentSequence = ContentSequence(numbers)
    return item


def _site(now: Measurement) -> Sequence[Dataset]:
    from highdicom.sr import FindingSite

    return [FindingSite(concepts.code(now.site), laterality=concepts.SIDES.get(now.side))]


def _value(now: Measurement, value: float, day: str) -> Dataset:
    """The value at one of both time points, which modifies it: an Enhanced SR, in which a destination may want the report, has no context
    below a number. The earlier value is what the images lead back to where both were compared directly."""
    from highdicom.sr import ContentSequence

    item = _number(concepts.code(now.quantity), value, concepts.unit_code(now.unit))
    item.ContentSequence = ContentSequence([text(concepts.TIME_POINT, day, "HAS CONCEPT MOD")])
    return item


def _number(concept: object, value: float, unit: object) -> Dataset:
    from highdicom.sr import NumContentItem

    return NumContentItem(concept, value, unit, relationship_type="HAS PROPERTIES")
