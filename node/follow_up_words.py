"""What changed since the earlier examination, in sentences: for the summary, the text report and the coded report.

Only what is followed, or changed by more than noise, is said by name; the table on the pages and report.json hold all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.change import Change, NotCompared
from analysis.follow_up import FollowUp
from analysis.sentence import LEVELS, SIDES, title_of
from analysis.trend import FOLLOWED
from analysis.words import Name, Words, joined, say
from node.concepts import decimals, unit_words
from node.names import words
from node.wording import day_words

FOLLOWED_PLACES = frozenset(place for choices in FOLLOWED.values() for alternatives in choices for place in alternatives)
MOST_NAMED = 4
LESION_WORDS = {"new": say("new"), "grown": say("grown"), "shrunk": say("shrunk"), "gone": say("gone")}


def shown_changes(found: FollowUp) -> list[Change]:
    """What a reader follows, and whatever changed by more than noise."""
    return [one for one in found.seen if (one.name, one.level) in FOLLOWED_PLACES or one.verdict == "more than"]


def sentences_of(found: FollowUp) -> list[Words]:
    """What changed by more than noise, what did not, and what the interval cannot show: for the summary as well."""
    if found.since is None:
        return []
    seen = shown_changes(found)
    more = [one for one in seen if one.verdict == "more than"]
    sure = [one for one in more if abs(one.rci) > found.sure_index]
    said = [_changed(found, sure)]
    if doubtful := [one for one in more if one not in sure]:
        said.append(say("Beyond the noise of a single comparison, and not beyond that of all {count} together: {names}.",
                        count=len(found.seen), names=_names_words(found, doubtful)))  # fmt: skip
    said += [_lesions(found)] if found.lesions is not None else []
    below = list(dict.fromkeys(title_of(one.marker) for one in seen if one.verdict == "below"))
    if below:
        said.append(say("Not to be seen in this interval, changed or not: {names}.", names=joined(below)))
    return said


def _changed(found: FollowUp, more: Sequence[Change]) -> Words:
    ago, day = days_words(found.since.days_before), day_words(found.since.day)
    if not more:
        return say("Since {day} ({ago}) no followed value changed by more than noise and healthy ageing; that does not exclude "
                   "progression.", day=day, ago=ago)  # fmt: skip
    names = _names_words(found, more)
    return say("Since {day} ({ago}) changed by more than noise and healthy ageing: {names}.", names=names, ago=ago, day=day)


def _names_words(found: FollowUp, changed: Sequence[Change]) -> Words:
    """The strongest change of each measurement, the strongest first, and how many more there are."""
    groups: dict[str, list[Change]] = {}
    for one in sorted(changed, key=lambda one: -abs(one.rci)):
        groups.setdefault(one.name, []).append(one)
    said = [_group_words(one, sum(other.name == name for other in found.seen)) for name, one in groups.items()]
    names = joined(said[:MOST_NAMED])
    return say("{names}; {rest} more", names=names, rest=len(said) - MOST_NAMED) if len(said) > MOST_NAMED else names


def _group_words(changed: Sequence[Change], whole: int) -> Words:
    """The strongest change of one measurement, and of how many of its sides and levels so much can be said."""
    if whole == 1:
        return _change_words(changed[0])
    return say("{change} ({count} of {whole} values)", change=_change_words(changed[0]), count=len(changed), whole=whole)


def _change_words(one: Change) -> Words:
    if one.percent is not None:
        return say("{what} {percent:+.1f} %", what=what_words(one), percent=one.percent)
    return say("{what} {change}", what=what_words(one), change=signed_words(one.change, one.now))


def _lesions(found: FollowUp) -> Words:
    counts = {kind: found.lesions.count(kind) for kind in LESION_WORDS}
    said = say("Lesions of the white matter: {new} new, {grown} grown, {shrunk} shrunk, {gone} gone.", **counts)
    if not (in_tract := found.lesions.brighter_in_tract):
        return said
    return say("{said} Of these {count} in the corticospinal tract: the tract itself may have become brighter.", said=said, count=in_tract)


def what_words(one: Change | NotCompared) -> Words:
    """Name, level and side."""
    level = LEVELS.get(one.level, Name(one.level)) if one.level else ""
    side = SIDES[one.side] if one.side else ""
    return joined([part for part in (words(one.name or ""), level, side) if part], " ")


def signed_words(change: float, value: float) -> Words:
    """A change with its sign, with as many decimals as its value has."""
    return say("{change:+.{places}f}", change=change, places=decimals(value))


def days_words(days: int) -> Words:
    """An interval as a reader counts it."""
    return say("{months:.0f} months", months=days / 30.44) if days >= 60 else say("{days} days", days=days)


def change_lines(found: FollowUp | None) -> list[Words]:
    """A line for each value that is shown, with its verdict; then what was not compared. Nothing where there is no earlier examination."""
    if found is None:
        return []
    return [*sentences_of(found), *(change_line(one) for one in shown_changes(found)), *not_compared_lines(found), *found.notes]


def change_line(one: Change) -> Words:
    """`precentral volume left: from 9.50 to 9.00 ml: more than …`."""
    places, unit = decimals(max(abs(one.then), abs(one.now))), unit_words(one.unit)
    values = say("from {then:.{places}f} to {now:.{places}f}", then=one.then, now=one.now, places=places)
    said = say("{values} {unit}", values=values, unit=unit) if unit else values
    return say("{what}: {said}: {verdict}", what=what_words(one), said=said, verdict=one.sentence)



def not_compared_lines(found: FollowUp) -> list[Words]:
    """Why values were not compared, each reason once."""
    reasons: dict[str, list[str]] = {}
    for one in found.changes:
        if isinstance(one, NotCompared) and title_of(one.marker) not in reasons.setdefault(one.reason, []):
            reasons[one.reason].append(title_of(one.marker))
    return [say("Not compared: {names}: {reason}.", names=joined(names), reason=reason) for reason, names in reasons.items()]
