"""The paper of the readable results: A4, its letters and colours, and what stands on every page.

Every page says whose it is, of which study, which page of how many, and that it is research. DejaVu Sans is embedded in each document, so
that it looks the same everywhere; a letter that it lacks is written plainer, and a name without a single letter that it has is replaced by
words. The same content gives the same bytes: no clock is read here.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from xml.sax.saxutils import escape

from pydicom.dataset import Dataset
from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_CENTER, TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

from analysis.report import LIMITS
from analysis.words import Name, say
from node.provenance import Provenance

WIDTH, HEIGHT = A4
MARGIN = 40.0
HEAD, FOOT = 58.0, 46.0
CONTENT_WIDTH = WIDTH - 2 * MARGIN
REGULAR, BOLD = "DejaVuSans", "DejaVuSans-Bold"
BANNER = say("Research result, not for diagnostic use on its own; not verified by a physician")

HEADLINE = say("MRI measurements in suspected ALS")

INK, SOFT, RULE, FILL = HexColor("#1c2733"), HexColor("#5a6775"), HexColor("#c8d0d8"), HexColor("#f2f5f8")
TITLE, WARM = HexColor("#1b3a57"), HexColor("#a63c06")
# Okabe and Ito's colours, which people who see few colours tell apart; the sides as in the tracts.
LEFT, RIGHT = HexColor("#d55e00"), HexColor("#0072b2")


def _style(name: str, size: float, leading: float, **more: object) -> ParagraphStyle:
    font, color = more.pop("font", REGULAR), more.pop("color", INK)
    return ParagraphStyle(name, fontName=font, bulletFontName=REGULAR, fontSize=size, leading=leading, textColor=color, **more)


STYLES = {
    "title": _style("title", 17, 21, font=BOLD, color=TITLE),
    "heading": _style("heading", 11, 14, font=BOLD, color=TITLE, spaceBefore=9, spaceAfter=3, keepWithNext=1),
    "subheading": _style("subheading", 11, 14, font=BOLD, color=TITLE, spaceBefore=9, spaceAfter=3),
    "body": _style("body", 9, 12.2, spaceAfter=2),
    "bullet": _style("bullet", 9, 12.2, leftIndent=12, bulletIndent=0, spaceAfter=2),
    "small": _style("small", 8, 10.6),
    "soft": _style("soft", 8, 10.6, color=SOFT),
    "caption": _style("caption", 8, 10.4, color=SOFT, spaceAfter=4),
    "cell": _style("cell", 8, 10.2),
    "strong": _style("strong", 8, 10.2, font=BOLD),
    "plain": _style("plain", 11.5, 16.5, spaceAfter=5),
    "item": _style("item", 11.5, 16.5, spaceAfter=2, leftIndent=14, bulletFontSize=11.5),
    "question": _style("question", 13, 17, font=BOLD, color=TITLE, spaceBefore=9, spaceAfter=3, keepWithNext=1),
    "right": _style("right", 8, 10.2, alignment=TA_RIGHT),
    "middle": _style("middle", 8, 10.2, alignment=TA_CENTER),
    "left": _style("left", 8, 10.2, alignment=TA_LEFT),
}


@functools.cache
def letters() -> frozenset[int]:
    """Make the fonts known to reportlab; the code points that both have."""
    import matplotlib

    folder, held = Path(matplotlib.get_data_path()) / "fonts" / "ttf", []
    for name in (REGULAR, BOLD):
        font = TTFont(name, folder / f"{name}.ttf")
        pdfmetrics.registerFont(font)
        held.append(frozenset(font.face.charToGlyph))
    rl_config.useA85 = 0  # images as they are: a fifth smaller and faster than as letters
    pdfmetrics.registerFontFamily(REGULAR, normal=REGULAR, bold=BOLD, italic=REGULAR, boldItalic=BOLD)
    return held[0] & held[1]


def _is_drawn(letter: str) -> bool:
    """Whether it can stand on a page as it is: scripts that run from right to left would stand in the wrong order."""
    return ord(letter) in letters() and unicodedata.bidirectional(letter) not in ("R", "AL", "AN")


def drawn(text: str) -> str:
    """The text in letters that the font has; what has no plainer letter becomes a question mark."""
    if all(map(_is_drawn, text)):
        return str(text)
    return "".join(letter if _is_drawn(letter) else " " if letter.isspace() else _plainer(letter) for letter in text)


def _plainer(letter: str) -> str:
    parts = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return parts if parts and parts != letter and all(map(_is_drawn, parts)) else "?"


def person(value: object) -> str | None:
    """`Family, Given Middle` of a person name, by the first of its component groups that can be drawn; None where none can, "" if empty."""
    groups = [getattr(value, group, "") or "" for group in ("alphabetic", "ideographic", "phonetic")] if value else []
    groups = [group for group in groups if group.strip("^ ")]
    for group in groups:
        family, given, middle, prefix, suffix = [part.strip() for part in (group.split("^") + [""] * 5)[:5]]
        name = ", ".join(part for part in (family, " ".join(one for one in (prefix, given, middle) if one), suffix) if part)
        if "?" not in drawn(name.replace("?", "")):
            return Name(drawn(name))
    return None if groups else Name()


def date(value: object) -> str:
    """A DICOM date as the language writes dates; what is no such date, as the source says it."""
    text = str(value or "").strip()
    if len(text) != 8 or not text.isdigit():
        return Name(drawn(text))
    return say("{year}-{month}-{day}", year=Name(text[:4]), month=Name(text[4:6]), day=Name(text[6:]))


@dataclass(frozen=True)
class Identity:
    """Who it is, as the source says, in letters that can be drawn; empty where the source says nothing."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    study_date: str
    accession: str
    institution: str
    study: str
    referrer: str


def identity(provenance: Provenance) -> Identity:
    header = provenance.study.header
    name, referrer = person(header.get("PatientName")), person(header.get("ReferringPhysicianName"))
    unknown = say("(a name in letters that this page cannot show)")
    return Identity(
        unknown if name is None else name,
        _text(header, "PatientID"),
        date(header.get("PatientBirthDate")),
        _text(header, "PatientSex"),
        date(header.get("StudyDate")),
        _text(header, "AccessionNumber"),
        Name(drawn(provenance.institution or "")) or _text(header, "InstitutionName"),
        _text(header, "StudyDescription"),
        unknown if referrer is None else referrer,
    )


def _text(header: Dataset, keyword: str) -> str:
    return Name(drawn(str(header.get(keyword) or "").strip()))


class Paper:
    """One document in the making: paragraphs in its language, then its bytes."""

    def __init__(self, provenance: Provenance, head: str = HEADLINE) -> None:
        letters()
        self.language, self.who, self.head = provenance.language, identity(provenance), head

    def words(self, text: str) -> str:
        """A text in the language of the document, in letters that it has; a page can raise its powers, which plain text cannot."""
        return drawn(self.language(text).replace("10^-3", "10⁻³"))

    def paragraph(self, text: str, style: str = "body", bullet: str | None = None) -> Paragraph:
        return Paragraph(escape(self.words(text)), STYLES[style], bulletText=bullet)

    def bold(self, start: str, rest: str, style: str = "body") -> Paragraph:
        """A paragraph whose first words are bold."""
        return Paragraph(f"<b>{escape(self.words(start))}</b> {escape(self.words(rest))}", STYLES[style])

    def marked(self, mark: str, color: Color, text: str) -> Paragraph:
        """A cell whose text has a mark in front, both in one colour."""
        code = color.hexval().replace("0x", "#")
        return Paragraph(f'<font color="{code}">{mark} {escape(self.words(text))}</font>', STYLES["cell"])

    def pdf(self, story: Sequence[Flowable], title: str, has_limits: bool = True) -> bytes:
        """The PDF. `has_limits`: the limits of use stand at the foot of the first page."""
        buffer = BytesIO()
        document = BaseDocTemplate(buffer, pagesize=A4, invariant=1, title=self.words(title), author="Betz", lang=self.language.code,
                                   initialFontName=REGULAR, pageCompression=1)  # fmt: skip
        limits = self._limits() if has_limits else []
        below = FOOT + (sum(high + 1 for _, high in limits) + 18 if has_limits else 0.0)
        first, later = (
            Frame(MARGIN, foot, CONTENT_WIDTH, HEIGHT - HEAD - foot, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=2)
            for foot in (below, FOOT)
        )
        templates = [PageTemplate("first", [first], onPage=functools.partial(_draw_limits, limits), autoNextPageTemplate="later"),
                     PageTemplate("later", [later])]  # fmt: skip
        document.addPageTemplates(templates)
        document.build(list(story), canvasmaker=functools.partial(_Pages, furniture=self._furniture))
        return buffer.getvalue()

    def _limits(self) -> list[tuple[Paragraph, float]]:
        """The limits of use and how high each is."""
        made = [self.paragraph(limit, "small") for limit in LIMITS]
        return [(one, one.wrap(CONTENT_WIDTH - 16, HEIGHT)[1]) for one in made]

    def _furniture(self, canvas: Canvas, page: int, pages: int) -> None:
        who, language = self.who, self.words
        canvas.setFillColor(TITLE)
        canvas.setFont(BOLD, 9)
        canvas.drawString(MARGIN, HEIGHT - 30, "BETZ")
        canvas.setFillColor(SOFT)
        canvas.setFont(REGULAR, 8)
        canvas.drawString(MARGIN, HEIGHT - 41, language(self.head))
        canvas.setFillColor(INK)
        _right(canvas, language(who.name or "–"), BOLD, 9, HEIGHT - 30)
        line = say("born {birth_date} · study of {study_date} · ID {patient_id}", patient_id=who.patient_id or "–",
                   birth_date=who.birth_date or "–", study_date=who.study_date or "–")  # fmt: skip
        _right(canvas, language(line), REGULAR, 8, HEIGHT - 41)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.6)
        canvas.line(MARGIN, HEIGHT - 48, WIDTH - MARGIN, HEIGHT - 48)
        canvas.line(MARGIN, 37, WIDTH - MARGIN, 37)
        canvas.setFillColor(WARM)
        canvas.setFont(BOLD, 8)
        canvas.drawString(MARGIN, 25, language(BANNER))
        canvas.setFillColor(SOFT)
        _right(canvas, language(say("Page {page} of {pages}", page=page, pages=pages)), REGULAR, 8, 25)


def _draw_limits(limits: Sequence[tuple[Paragraph, float]], canvas: Canvas, _: BaseDocTemplate) -> None:
    """The limits of use at the foot of the first page, where nobody can miss them."""
    if not limits:
        return
    canvas.saveState()
    high = sum(each + 1 for _, each in limits) + 8
    canvas.setFillColor(FILL)
    canvas.rect(MARGIN, FOOT + 2, CONTENT_WIDTH, high, stroke=0, fill=1)
    top = FOOT + high - 2
    for paragraph, each in limits:
        top -= each + 1
        paragraph.drawOn(canvas, MARGIN + 8, top)
    canvas.restoreState()


def _right(canvas: Canvas, text: str, font: str, size: float, y: float) -> None:
    """A text that ends at the right margin; a long one is cut, so that it never runs into what stands on the left."""
    most = CONTENT_WIDTH - 190.0
    while pdfmetrics.stringWidth(text, font, size) > most:
        text = f"{text[:-2].rstrip()}…"
    canvas.setFont(font, size)
    canvas.drawRightString(WIDTH - MARGIN, y, text)


class _Pages(Canvas):
    """A canvas that knows how many pages there are when it draws what stands on each."""

    def __init__(self, *arguments: object, furniture: object, **named: object) -> None:
        super().__init__(*arguments, **named)
        self._furniture, self._held = furniture, []

    def showPage(self) -> None:
        self._held.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = len(self._held)
        for number, held in enumerate(self._held, start=1):
            self.__dict__.update(held)
            self._furniture(self, number, pages)
            super().showPage()
        super().save()
