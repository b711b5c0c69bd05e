"""One page in plain language, for the physician to hand over: what was examined, what a result can and cannot mean, what happens next.

It holds no number, no finding and no diagnosis, and it does not name the disease that is asked about: whether and how to speak of it is the
physician's to decide. It is made only where the site asks for it (`patient_page` under `[results]`).
"""

from __future__ import annotations

from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Spacer

from analysis.outcome import MEASURED
from analysis.report import Report
from analysis.words import say
from node.paper import CONTENT_WIDTH, RULE, Paper
from node.provenance import Provenance

PARTS = {
    "precentral_gyrus": say("the part of the brain that starts your movements"),
    "motor_band": say("the part of the brain that starts your movements"),
    "cst_diffusion": say("the nerve fibres that lead from the brain towards the spinal cord"),
    "cst_flair": say("the nerve fibres that lead from the brain towards the spinal cord"),
    "callosum_diffusion": say("the connection between the two halves of the brain"),
    "motor_cortex_spectroscopy": say("the part of the brain that starts your movements"),
    "brainstem": say("the brainstem, where the brain joins the spinal cord"),
    "cervical_cord": say("the spinal cord in the neck"),
    "cord_compression": say("the spinal cord in the neck"),
    "brain_volumes": say("the size of the brain"),
    "motor_activation": say("the part of the brain that moves your hand, at work and at rest"),
}


def patient_page(report: Report, provenance: Provenance) -> bytes:
    """The page as PDF."""
    paper = Paper(provenance, head=say("Information for patients"))
    title = say("Your MRI examination")
    story = [paper.paragraph(title, "title"), Spacer(0, 6), *_done(paper), *_looked_at(paper, report), *_meaning(paper), *_next(paper),
             _Lines(paper)]  # fmt: skip
    return paper.pdf(story, title, has_limits=False)


def _question(paper: Paper, question: str, *answers: str) -> list[Flowable]:
    return [paper.paragraph(question, "question"), *(paper.paragraph(answer, "plain") for answer in answers)]


def _done(paper: Paper) -> list[Flowable]:
    how = say("MRI uses a strong magnet and radio waves. It does not use X-rays.")
    if not paper.who.study_date:
        return _question(paper, say("What was done?"), say("Pictures of your head were taken with MRI."), how)
    when = say("On {date} pictures of your head were taken with MRI.", date=paper.who.study_date)
    return _question(paper, say("What was done?"), when, how)


def _looked_at(paper: Paper, report: Report) -> list[Flowable]:
    question = say("What was looked at?")
    parts = dict.fromkeys(PARTS[one.marker] for one in report.outcomes if one.outcome == MEASURED and one.marker in PARTS)
    if not parts:
        return _question(paper, question, say("The computer could not measure these pictures. That says nothing about your health. Your "
                                              "doctors look at the pictures themselves."))  # fmt: skip
    first = paper.paragraph(say("Your doctors look at the pictures. A computer also measured:"), "plain")
    return [paper.paragraph(question, "question"), first, *(paper.paragraph(part, "item", bullet="•") for part in parts)]


def _meaning(paper: Paper) -> list[Flowable]:
    can = _question(
        paper,
        say("What can the result mean?"),
        say("The pictures can show whether something else is the reason for your complaints. They can also show changes in the nerve "
            "cells that control movement."),
    )  # fmt: skip
    cannot = _question(
        paper,
        say("What can it not mean?"),
        say("No MRI alone can say which illness a person has. People differ: an unusual measurement does not have to mean illness, and a "
            "usual one does not rule it out."),
        say("The nerves that lead to the muscles cannot be seen in these pictures. Other tests are there for them."),
        say("The measurements are part of research. On their own they decide nothing."),
    )  # fmt: skip
    return [*can, *cannot]


def _next(paper: Paper) -> list[Flowable]:
    return _question(
        paper,
        say("What happens next?"),
        say("Your doctor puts everything together: what you tell, the examination, the pictures and other tests. Then your doctor talks "
            "with you about it. Bring your questions, and somebody you trust if you like."),
    )  # fmt: skip


class _Lines(Flowable):
    """Room for the physician to write, down to the foot of the page."""

    def __init__(self, paper: Paper) -> None:
        super().__init__()
        self.paper = paper

    def wrap(self, _: float, height: float) -> tuple[float, float]:
        self.width, self.height = CONTENT_WIDTH, max(min(height - 4, 190.0), 90.0)
        return self.width, self.height

    def draw(self) -> None:
        canvas: Canvas = self.canv
        heading = self.paper.paragraph(say("From your doctor"), "question")
        _, high = heading.wrap(self.width, self.height)
        heading.drawOn(canvas, 0, self.height - high - 6)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.7)
        y = self.height - high - 34
        while y > 24:
            canvas.line(0, y, self.width, y)
            y -= 24
        signed = self.paper.paragraph(say("Date, signature"), "soft")
        signed.wrap(self.width, 20)
        signed.drawOn(canvas, 0, 0)
