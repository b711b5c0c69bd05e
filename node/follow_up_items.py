"""What changed since the earlier examination, as content items of the coded report: the earlier report named, each change as numbers.

A change stands as a sentence with its numbers below it, under a concept of its own, so that nobody who reads the report back takes it for
a value of this examination. Its time point is the day of the earlier examination; the present one is the study's own.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from analysis.change import Change
from analysis.earlier import Earlier
from analysis.follow_up import FollowUp
from node import concepts
from node.follow_up_words import change_line, not_compared_lines, sentences_of
from node.language import Language
from node.measurement_group import named_as, text


def follow_up_items(found: FollowUp | None, language: Language) -> list[Dataset]:
    """The items; none where there is no earlier examination."""
    if found is None:
        return []
    items = [_prior(one, language) for one in found.earlier]
    items += [text(concepts.CHANGES, language(sentence)) for sentence in sentences_of(found)]
    items += [_change(one, found, language) for one in found.seen]
    return items + [text(concepts.NOT_ASSESSED, language(line)) for line in (*not_compared_lines(found), *found.notes)]


def _prior(one: Earlier, language: Language) -> Dataset:
    """The day of an earlier examination, with its report where that was read. The report lies in another study: PS3.3 C.17.2 wants
    its study, series and instance among the evidence, which only who stored it knows; so its UID is given as a UIDREF."""
    from highdicom.sr import ContentSequence, UIDRefContentItem

    item = text(concepts.TIME_POINT, one.day)
    named = [UIDRefContentItem(concepts.STUDY_UID, one.study_instance_uid, relationship_type="HAS PROPERTIES")]
    if one.sop_instance_uid:
        named.append(UIDRefContentItem(concepts.PRIOR_REPORT, one.sop_instance_uid, relationship_type="HAS PROPERTIES"))
    item.ContentSequence = ContentSequence(named)
    return item


def _change(one: Change, found: FollowUp, language: Language) -> Dataset:
    """One change: the sentence that says it, then its numbers."""
    from highdicom.sr import CodeContentItem, ContentSequence, NumContentItem

    def number(concept: object, value: float, unit: object) -> Dataset:
        return NumContentItem(concept, value, unit, relationship_type="HAS PROPERTIES")

    unit = concepts.unit_code(one.unit)
    item = text(concepts.CHANGES, language(change_line(one)))
    numbers = [number(concepts.CHANGES, one.change, unit), number(concepts.RELIABLE_CHANGE, one.rci, concepts.NO_UNITS)]
    numbers[0].ContentSequence = ContentSequence([
        *named_as(one.name, one.level), text(concepts.TIME_POINT, found.since.day, "HAS CONCEPT MOD"),
        number(concepts.UNCERTAINTY, one.error, unit),
    ])  # fmt: skip
    if one.side:
        side = CodeContentItem(concepts.LATERALITY, concepts.SIDES[one.side], relationship_type="HAS CONCEPT MOD")
        numbers[0].ContentSequence.insert(0, side)
    if one.per_year is not None:
        numbers.append(number(concepts.CHANGE_PER_YEAR, one.per_year, concepts.per_year(one.unit)))
    item.ContentSequence = ContentSequence(numbers)
    return item
