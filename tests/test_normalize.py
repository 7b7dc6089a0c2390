"""What the readings of a text promise: innocent text is left alone, disguises are undone, offsets lead back.

Owns the cases by which the foldings are held to that. Refuses to know any model or verdict.
"""

from __future__ import annotations

from base64 import b64encode
from random import Random
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.obfuscation import OBFUSCATIONS, obfuscate
from service.normalize import MAX_VIEWS, Readings, View, views

PHRASE = "kill yourself"
# What no folding can undo for certain: the share of disguised phrases of which a reading must still show the words.
HARD = {"typos": 0.0, "ocr_noise": 0.5}

INNOCENT = (
    """
👨‍👩‍👧‍👦 family|🇫🇷 🇩🇪|👍🏽 ok|1️⃣ 2️⃣ #️⃣|❤️ ☠️ 🏴‍☠️|🏴󠁧󠁢󠁥󠁮󠁧󠁿 England
می‌خواهم بروم|क्षत्रिय क्‍ष|مرحبا بالعالم|שָׁלוֹם עֲלֵיכֶם
Tiếng Việt rất đẹp|Δv is 3 km/s|α-helix|TNFα and NFκB|Привет, как дела
она не моя|Ελληνικά|日本語テキスト|한국어|café naïve|+1 (555) 123-4567|1337
the 1337 crew|U.S.A.|e.g. this|at 5 a.m. today|J. R. R. Tolkien
Plan A / B / C|A, B, C|1 2 3|a b c d e f|C-3PO|R2-D2|M4A1 rifle
for i in x: a[i] += 1|I a m fine|AT&T|fish & chips|100% sure
mp3 b2b covid-19 4x4 v1.2.3 h264|World War III|AAA batteries|www.example.com
me@example.com|https://ex.com/a1b2?x=3&y=4|it costs $5 or US$20
3d printing 2nd 1st 10th 5pm 3am|4chan 7zip|S.W.A.T. team
internationalization|d41d8cd98f00b204e9800998ecf8427e
550e8400-e29b-41d4-a716-446655440000|2023-10-05 12:30
gpt-4o and i18n k8s a11y|self-harm|yes/no|x + y + z = 3|Hi!how are you
great!thanks|printf("%4d %s")|c++ c#|u r a star|Q1 2024 H1N1 B12
x86_64 e2e p2p|O2 CO2 H2O|size 5'11"|*so* good|ㅋㅋ 안녕
""".replace("\n", "|")
    .strip("|")
    .split("|")
)

DISGUISED = {
    "k1ll y0ur$3lf": PHRASE,
    "h@te": "hate",
    "k i l l  y o u r s e l f": PHRASE,
    "k i l l y o u r s e l f": PHRASE,
    "k.i.l.l y.o.u.r.s.e.l.f": PHRASE,
    "k_i l*l": "kill",
    "k 1 l l": "kill",
    "u r a b i t c h": "u r a bitch",
    "f*ck": "fuck",
    "F@CKING": "fucking",
    "sh!t": "shit",
    "kkkiiiillll yourself": PHRASE,
    "soooo k1lll y0urself": "soo kill yourself",
    "kіll yоurѕеlf": PHRASE,
    "ᴋɪʟʟ ʏᴏᴜʀꜱᴇʟꜰ": PHRASE,
    "🅺🅸🅻🅻": "kill",
    "k\u0335i\u0335l\u0335l\u0335": "kill",
    "flesruoy llik": PHRASE,
    "xvyy lbhefrys": PHRASE,
    "6b696c6c20796f757273656c66": PHRASE,
    "6b 69 6c 6c 20 79 6f 75": "kill you",
    "\\x6b\\x69\\x6c\\x6c": "kill",
    "k\\u0069ll\\u0020yourself": PHRASE,
    "\\u{6b}\\u{69}\\u{6c}\\u{6c}": "kill",
    "01101011 01101001 01101100 01101100": "kill",
    "&amp;#107;ill yourself": PHRASE,
    "YTJsc2JDQjViM1Z5YzJWc1pnPT0=": PHRASE,
    "к.i.l.l": "kill",
}

anything = st.text(st.characters(exclude_categories=()), max_size=60)
tricky = st.lists(
    st.sampled_from(
        [*"kil1! 0$@*._-&;#%4é\u0301\u0336\u200b\u200d\ufe0f\u202e\u202c\n\tаеｋ𝓴½´ﷺ가ᅡㅋ", "&amp;", "%6b", "\ud800"]
    )
    | st.sampled_from([*DISGUISED, *INNOCENT]),
    max_size=12,
).map("".join)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_text_has_one_reading_which_is_itself(text: str) -> None:
    assert [(view.name, view.text) for view in views(text)] == [("plain", text)]


@pytest.mark.parametrize(("text", "meant"), DISGUISED.items())
def test_a_disguise_is_undone_in_some_reading(text: str, meant: str) -> None:
    assert any(meant in view.text.casefold() for view in views(text))


@pytest.mark.parametrize("name", OBFUSCATIONS)
def test_an_obfuscation_is_undone_in_some_reading(name: str) -> None:
    hits = 0
    for seed in range(12):
        disguised = obfuscate(f"just {PHRASE}", name, Random(seed))
        hits += any(PHRASE in view.text.casefold() for view in views(disguised))
    assert hits >= 12 * HARD.get(name, 1.0)


@pytest.mark.parametrize("name", OBFUSCATIONS)
def test_an_obfuscation_takes_any_text_and_repeats_itself(name: str) -> None:
    for text in ("", "a", "I am", "Tiếng Việt\n\n日本 x", "It is a long day, isn't it?"):
        assert obfuscate(text, name, Random(1)) == obfuscate(text, name, Random(1))


def test_there_are_enough_obfuscations() -> None:
    assert len(OBFUSCATIONS) >= 12
    with pytest.raises(KeyError):
        obfuscate("text", "no such", Random(0))


@pytest.mark.parametrize(
    ("text", "found", "source"),
    [
        ("say k\u200bi\u200bll now", "kill", "k\u200bi\u200bll"),
        ("ｋｉｌｌ him", "kill", "ｋｉｌｌ"),
        ("so k i l l  him", "kill", "k i l l"),
        ("x &#107;ill", "kill", "&#107;ill"),
        ("½ kiiiill", "kill", "kiiiill"),
        ("e\u0301te\u0301 k1ll", "kill", "k1ll"),
        ("decode a2lsbCB5b3Vyc2VsZg== ok", "kill", "a2lsbCB5b3Vyc2VsZg=="),
    ],
)
def test_a_find_leads_back_to_where_it_was_written(text: str, found: str, source: str) -> None:
    view = next(view for view in views(text) if found in view.text)
    at = view.text.index(found)
    start, end = view.original_span(at, at + len(found))
    assert text[start:end] == source


def check_map(view: View, text: str) -> None:
    size = len(view.text)
    if view.starts is None or view.ends is None:
        assert size == len(text)
    else:
        assert len(view.starts) == len(view.ends) == size
        assert list(view.starts) == sorted(view.starts)
        assert list(view.ends) == sorted(view.ends)
        assert all(0 <= low < high <= len(text) for low, high in zip(view.starts, view.ends, strict=True))
    for start, end in ((0, size), (0, 0), (size // 2, size // 2 + 1), (size, size + 9), (-3, 2)):
        low, high = view.original_span(start, end)
        assert 0 <= low <= high <= len(text)
        assert low < high or not text


def base64_of(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_cover_does_not_push_out_what_is_hidden() -> None:
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "hello my friends")
    hidden = base64_of("i will k1ll y0u t0night my friend")
    found = views(f"Hi {tags} {hidden} and \u202eskrow siht\u202c h e l l o we are soooo h4ppy f*ck bу")
    assert len(found) == MAX_VIEWS
    assert any("will kill you" in view.text for view in found)
    assert "folded" in {view.name for view in found}


@pytest.mark.parametrize("filler", ["\u115f", "\u1160", "\u3164", "\uffa0", "\u3164\u200b\u3164"])
def test_a_filler_parts_words_as_it_is_seen_to(filler: str) -> None:
    assert views(f"how{filler}to{filler}do it")[0].text == "how to do it"
    assert any("kill" in view.text for view in views(f"go k{filler}i{filler}l{filler}l them"))


def test_a_long_payload_does_not_keep_the_next_one_shut() -> None:
    text = f"{base64_of('the cat sat on the mat and was happy ' * 600)} {base64_of('I will kill you tonight')}"
    assert any("I will kill you" in view.text for view in views(text))


@pytest.mark.parametrize("entity", ["&#00000000105;", "&#x0000000069;", "i&#8288;", "i&#8204;", "i&#x200e;"])
def test_entities_of_odd_forms_and_of_what_is_not_seen(entity: str) -> None:
    assert views(f"go k{entity}ll them")[0].text == "go kill them"


@quick
@given(anything | tricky)
def test_any_text_has_bounded_readings_with_sound_maps(text: str) -> None:
    found = views(text)
    assert found[0].name == "plain"
    assert 1 <= len(found) <= MAX_VIEWS
    assert len({view.text for view in found}) == len(found)
    for view in found:
        check_map(view, text)


@quick
@given(anything | tricky)
def test_the_plain_reading_of_a_plain_reading_is_itself(text: str) -> None:
    plain = views(text)[0].text
    assert views(plain)[0].text == plain


@quick
@given(st.text("abcdefghij KLM.,'\n", max_size=60))
def test_ordinary_letters_keep_their_places(text: str) -> None:
    plain = views(text)[0]
    for at, letter in enumerate(plain.text):
        start, end = plain.original_span(at, at + 1)
        assert letter in text[start:end]


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "a.",
        "a\u200b",
        "k\u0301\u0302\u0303\u0336",
        "&amp;",
        "%41",
        "a!",
        "!",
        "1",
        "41 ",
        "QUJD",
        "a@",
        "_",
        "aaab ",
        "\\x41",
    ],
)
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    """20,000 characters in well under what one quadratic step would take; the bound is loose for slow machines."""
    text = unit * (20_000 // len(unit))
    start = perf_counter()
    found = views(text)
    assert perf_counter() - start < 2.0
    assert sum(len(view.text) for view in found) <= MAX_VIEWS * 8 * len(text)


def test_readings_are_those_of_the_text_that_is_asked_for() -> None:
    read = Readings()
    for text in ("plain", "k i l l  all of them", "plain", ""):
        assert read(text) == views(text)
    text = "f\u200bree"
    assert read(text) is read(text)
