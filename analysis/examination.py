"""What the markers are given: the images of one study by role, the patient's age and sex, and a place for shared steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.outcome import NotMeasurable
from analysis.volume import Image
from analysis.words import Words, say

if TYPE_CHECKING:
    from analysis.reference import Population

T = TypeVar("T")

ROLES = ("t1", "t1_contrast", "flair", "t2", "swi", "t2star", "dwi", "bold", "mrs", "cord_t2", "cord_t2star", "other")
ROLE_WORDS = {
    "t1": say("T1-weighted series without contrast"), "t1_contrast": say("T1-weighted series with contrast"), "flair": say("FLAIR series"),
    "t2": say("T2-weighted series"), "swi": say("susceptibility-weighted series"), "t2star": say("T2*-weighted series"),
    "dwi": say("diffusion series"),
    "bold": say("functional series"), "mrs": say("spectrum"), "cord_t2": say("T2-weighted series of the cervical cord"),
    "cord_t2star": say("T2*-weighted series of the cervical cord"),
}  # fmt: skip


def silent(step: str) -> None:
    """Nobody watches."""


def no_series(role: str) -> Words:
    """That the study has none with that role."""
    return say("the study has no {series} that can be used", series=ROLE_WORDS.get(role, role))


@dataclass(frozen=True)
class Patient:
    """`age_years` is None where the study does not say it; `sex` is "F", "M" or None."""

    age_years: float | None = None
    sex: str | None = None


@dataclass(frozen=True, eq=False)
class Examination:
    """One study as the engine sees it: at most one image per role. `watch` is told the name of each step when it begins. `norms`: the
    populations that values are compared with; `sent`: the roles of all series of the study, used or not."""

    images: Mapping[str, Image]
    patient: Patient = Patient()
    watch: Callable[[str], None] = silent
    norms: tuple[Population, ...] = ()
    sent: frozenset[str] = frozenset()
    _done: dict[Any, tuple[Any, BaseException | None]] = field(default_factory=dict, repr=False)

    def image(self, role: str) -> Image:
        """The image with that role; NotMeasurable where the study has none."""
        if role not in self.images:
            raise NotMeasurable(no_series(role))
        return self.images[role]

    def know(self, step: Callable[[Examination], T], result: T) -> None:
        """What `once` gives from now on, known from elsewhere."""
        self._done[step] = result, None

    def once(self, step: Callable[[Examination], T]) -> T:
        """What `step(self)` gives, computed at most once per study; its refusal is remembered as well."""
        if step not in self._done:
            self.watch(step.__name__.replace("_", " "))
            try:
                self._done[step] = (step(self), None)
            except Exception as error:
                self._done[step] = (None, error)
        result, error = self._done[step]
        if error is not None:
            raise error
        return result

    def extract(self, roles: Iterable[str], steps: Iterable[Callable[[Examination], Any]]) -> Examination:
        """The images with those roles and what those steps give or refuse, and nothing else: small enough to be handed to another process.
        A step that ends with another error is left to be done again."""
        done = {}
        for step in steps:
            with suppress(Exception):
                self.once(step)
            if isinstance(self._done[step][1], NotMeasurable | None):
                done[step] = self._done[step]
        images = {role: self.images[role] for role in roles if role in self.images}
        return replace(self, images=images, watch=silent, _done=done)
