"""The three to six sentences that a reader with two minutes gets: what supports, what does not, what is unclear, what nobody looked at.

Each says one thing to act on, so nothing is left out by saying less; the values stand in the table and on the pages of the markers.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.outcome import FAILED, Outcome
from analysis.sentence import SERIES_NAMES, SIDES, title_of
from analysis.support import Line, Support
from analysis.words import Words, joined, say

# What an MRI is there to exclude, by the findings that say whether a sign of it was seen.
MIMICS = {
    say("compression of the cervical cord"): ("cord_compression",),
    say("bright signal in the cervical cord"): ("cord_t2_hyperintensity",),
    say("signs of a tumour"): ("mass_effect", "abnormal_enhancement"),
    say("lesions like those of multiple sclerosis"): ("ms_like_pattern",),
    say("acute infarct"): ("acute_infarct",),
    say("old infarct"): ("chronic_infarct",),
}


def summary_of(outcomes: Sequence[Outcome], support: Support, problems: Sequence[str] = ()) -> tuple[Words, ...]:
    """The sentences, in the order in which they matter: another cause that was flagged comes first. `problems`: sentences on what did not
    come of the study, or could not be read."""
    mimics = _mimics(outcomes)
    others = [*support.sentences[:1], _weighed(support), _not_found(support), _not_assessed(support)]
    first = [mimics, *others] if _is_flagged(outcomes) else [*others, mimics]
    said = [*first, _limited(outcomes, problems)]
    return tuple(sentence for sentence in said if sentence is not None)


def _weighed(support: Support) -> Words | None:
    """How much the whole weighs, and on how little it rests; one sentence."""
    return joined(support.sentences[1:], " ") if len(support.sentences) > 1 else None


def _not_found(support: Support) -> Words | None:
    """What is absent, where the first sentence does not say it, and what is neither present nor absent."""
    absent, unclear = support.with_verdict("absent"), support.with_verdict("indeterminate")
    if absent and not support.with_verdict("present"):
        absent = []
    parts = [say("not found: {names}", names=joined(line.weight.title for line in absent))] if absent else []
    parts += [say("unclear: {names}", names=joined(_with_reason(line) for line in unclear))] if unclear else []
    return say("Also looked for: {parts}.", parts=joined(parts, "; ")) if parts else None


def _with_reason(line: Line) -> Words:
    if len(line.sides) == 1:
        return say("{finding}, {side} ({reason})", finding=line.weight.title, side=SIDES[line.sides[0]], reason=line.reason)
    return say("{finding} ({reason})", finding=line.weight.title, reason=line.reason)


def _not_assessed(support: Support) -> Words | None:
    """What could not be assessed, by the reason, so that a reader sees what a further series would add."""
    reasons: dict[str, list[Words]] = {}
    for line in support.with_verdict("not assessed"):
        reasons.setdefault(line.reason or say("no reason was given"), []).append(line.weight.title)
    if not reasons:
        return None
    parts = (say("{names} ({reason})", names=joined(names), reason=reason) for reason, names in reasons.items())
    return say("Not assessed: {parts}.", parts=joined(parts, "; "))


def _is_flagged(outcomes: Sequence[Outcome]) -> bool:
    looked_for = {name for names in MIMICS.values() for name in names}
    return any(one.name in looked_for and one.value == "present" for outcome in outcomes for one in outcome.findings)


def _mimics(outcomes: Sequence[Outcome]) -> Words:
    """The first task of MRI in suspected ALS, and how far it was done here. A screen clears nobody."""
    seen: dict[str, list[Words]] = {}
    for words, names in MIMICS.items():
        values = {finding.value for outcome in outcomes for finding in outcome.findings if finding.name in names}
        seen.setdefault(next((one for one in ("present", "indeterminate", "absent") if one in values), "not assessed"), []).append(words)
    said = {
        "present": say("flagged: {names}", names=joined(seen.get("present", ()))),
        "indeterminate": say("unclear: {names}", names=joined(seen.get("indeterminate", ()))),
        "absent": say("not flagged, which does not exclude them: {names}", names=joined(seen.get("absent", ()))),
        "not assessed": say("not assessed, to be excluded by reading the images: {names}", names=joined(seen.get("not assessed", ()))),
    }
    return say("Other causes: {parts}.", parts=joined((words for value, words in said.items() if value in seen), "; "))


def _limited(outcomes: Sequence[Outcome], problems: Sequence[str]) -> Words | None:
    """What may be missing or wrong: series of poor quality, errors of the program, and the first of the problems in its own words."""
    poor = [SERIES_NAMES[finding.level] for outcome in outcomes for finding in outcome.findings
            if finding.name == "image_quality" and finding.value == "present"]  # fmt: skip
    failed = [title_of(outcome.marker) for outcome in outcomes if outcome.outcome == FAILED]
    parts = [say("limited image quality of {series}", series=joined(poor))] if poor else []
    parts += [say("the program failed at: {markers}", markers=joined(failed))] if failed else []
    said = [say("With care: {parts}.", parts=joined(parts, "; "))] if parts else []
    said += problems[:1]
    return joined(said, " ") if said else None
