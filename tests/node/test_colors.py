"""Colours that a reader can tell apart."""

import numpy as np
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from node.colors import COLORS, color


def test_no_two_are_alike_and_a_screen_can_show_each():
    colors = np.array([color(number) for number in range(1, len(COLORS) + 1)])
    shown = rgb2lab(lab2rgb(colors[None]))[0]
    assert np.abs(shown - colors).max() < 1
    apart = deltaE_ciede2000(shown[:, None], shown[None]) + 1000 * np.eye(len(shown))
    assert apart[:12, :12].min() > 20 and apart[:20, :20].min() > 16 and apart.min() > 12


def test_after_the_last_they_begin_again():
    assert color(len(COLORS) + 1) == color(1)
