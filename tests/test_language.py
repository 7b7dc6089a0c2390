"""Which language a text is in. Slang and dialect are English here: being thought foreign must not cost anyone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.language import LanguageDetector

DETECTOR = LanguageDetector(("en",))


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog and runs away.",
        "lol",
        "u r so dumb bruh",
        "wyd tn tryna slide thru",
        "finna pull up on dis fool deadass no cap",
        "he be trippin fr fr ion even know what to tell him",
        "she ain't never been about that life, he stay lyin on folks",
        "Dey don't be knowin nothin bout us out here",
        "gm chat who tryna run it back in ranked rn im cracked no cap ong",
        "wah you a seh, mi nah go deh today",
        "k y s",
        "ich bin müde",  # too short to say
    ],
)
def test_english_in_all_its_forms_is_measured(text: str) -> None:
    assert DETECTOR(text) == ("en", True)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("de", "Das ist ein ganz normaler Satz über das Wetter in Hamburg und seine Bewohner."),
        ("fr", "Je voudrais réserver une table pour deux personnes demain soir, s'il vous plaît."),
        ("es", "Necesito ayuda con mi tarea de matemáticas porque no entiendo las fracciones"),
        ("ru", "Сегодня мы поедем за город, чтобы навестить бабушку и собрать грибы."),
        ("ar", "ذهبنا أمس إلى السوق لشراء الخضروات والفواكه الطازجة للعائلة"),
        ("zh", "今天天气很好，我们一起去公园散步，然后去吃饭吧。"),
        ("el", "Καλημέρα σας, πώς είστε σήμερα;"),
    ],
)
def test_other_languages_are_named_and_not_measured(code: str, text: str) -> None:
    assert DETECTOR(text) == (code, False)
    assert DETECTOR(text * 200) == (code, False)  # of a long text a sample is read


@pytest.mark.parametrize("text", ["", " ", "12345 !!!", "😀😀", "\u200b\n", "+49 40 123-456", "\ud800"])
def test_without_letters_there_is_no_language(text: str) -> None:
    assert DETECTOR(text) == ("und", True)


def test_a_measured_language_is_measured() -> None:
    both = LanguageDetector(("en", "de"))
    assert both("Das ist ein ganz normaler Satz über das Wetter in Hamburg und seine Bewohner.") == ("de", True)


def test_a_foreign_script_is_never_taken_for_a_measured_language() -> None:
    assert DETECTOR("Ћао свима, како сте данас, драги моји пријатељи?")[1] is False


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_an_answer(text: str) -> None:
    code, measured = DETECTOR(text)
    assert code and isinstance(measured, bool)
