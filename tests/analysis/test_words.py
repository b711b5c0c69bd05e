"""A sentence is English text, and can be said in another language with the same values."""

import copy

from analysis.words import Words, joined, packed, say, translated, unpacked

GERMAN = {"it holds {share:.1f} % of the {side} gyrus": "der Gyrus {side} ist zu {share:.1f} % erfasst",
          "left": "links", "cut: {why}": "abgeschnitten: {why}"}


def german(text: str) -> str:
    return translated(text, lambda one: GERMAN.get(one, one), ",")


def test_it_is_english_text():
    words = say("it holds {share:.1f} % of the {side} gyrus", share=41.25, side="left")
    assert words == "it holds 41.2 % of the left gyrus"
    assert f"{words}." == "it holds 41.2 % of the left gyrus."
    assert say("100 % of {}") == "100 % of {}"


def test_it_is_said_again_with_the_same_values():
    words = say("it holds {share:.1f} % of the {side} gyrus", share=41.25, side="left")
    assert german(words) == "der Gyrus links ist zu 41,2 % erfasst"
    assert german(say("cut: {why}", why=words)) == "abgeschnitten: der Gyrus links ist zu 41,2 % erfasst"
    assert german(copy.deepcopy(words)) == german(words)


def test_it_goes_to_another_process_with_its_memory():
    words = say("cut: {why}", why=say("it holds {share:.1f} % of the {side} gyrus", share=41.25, side="left"))
    assert unpacked(packed(words)) == words and german(unpacked(packed(words))) == german(words)
    for plain in ("the analysis was stopped", "12", "{}", "[]"):
        assert unpacked(packed(plain)) == plain


def test_joined_parts_are_translated_one_by_one():
    words = joined(["left", say("cut: {why}", why="{odd}")], "; ")
    assert words == "left; cut: {odd}"
    assert german(words) == "links; abgeschnitten: {odd}"
    assert joined([]) == "" and isinstance(joined([]), Words)


def test_what_has_no_translation_stays():
    assert german("somewhere") == "somewhere"
    assert german(say("a value of {x:.2f}", x=1.5)) == "a value of 1,50"
