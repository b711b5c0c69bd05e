"""Colours of masks that can be told apart on grey images: a fixed list, in the order of the segments.

Each colour is the one of sRGB that lies farthest (CIEDE2000) from all before it, among those of lightness 50 to 86 and a chroma above 35:
light enough on dark brain, and none of them grey. The first 12 are 21 apart at least, the first 20 17, all 30 13.
"""

from __future__ import annotations

# CIELab: L*, a*, b*
COLORS = (
    (54, 78, 66), (86, -84, 78), (70, -12, -42), (50, 90, -78), (78, 12, 78), (50, -36, 12), (78, 36, 0), (86, -48, -6),
    (50, -6, 54), (50, 78, 6), (70, 24, -42), (50, 24, -72), (74, 30, 36), (74, -18, 42), (50, 24, 48), (70, -54, 24),
    (66, 72, -36), (50, 24, -30), (58, -48, 60), (58, 36, 18), (62, -36, -6), (62, 6, 36), (86, -12, 78), (66, 30, 72),
    (82, -30, -24), (86, -30, 24), (58, 36, -6), (82, 30, -24), (54, 48, -72), (54, -12, -36),
)  # fmt: skip


def color(number: int) -> tuple[float, float, float]:
    """The CIELab colour of the segment with that number, from 1 on; after the last the list begins again."""
    lightness, a, b = COLORS[(number - 1) % len(COLORS)]
    return float(lightness), float(a), float(b)
