"""Frames of our own writing, and what they expand to."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from models.contrast import KINDS, Frame, Sentence, expand, fill, load_frames
from service.taxonomy import CATEGORIES

FRAMES = load_frames()
TEN = list(expand(FRAMES, 10, seed=1))


def test_frames_are_named_once_and_label_what_there_is() -> None:
    assert len(FRAMES) > 100
    assert max(Counter(frame.id for frame in FRAMES).values()) == 1
    for frame in FRAMES:
        assert {*frame.labels, *frame.open, *frame.innocent_open} <= set(CATEGORIES)
        assert frame.kind in KINDS and frame.phenomenon and (frame.harmful or frame.innocent)


def test_a_third_is_held_out() -> None:
    share = sum(frame.held_out for frame in FRAMES) / len(FRAMES)
    assert abs(share - 1 / 3) < 0.08


def test_no_text_is_both_harmful_and_innocent() -> None:
    """In the same context, that is: harmless alone and harmful as an answer is what some frames are about."""
    sides: dict[tuple[str, str], set[bool]] = {}
    for sentence in TEN:
        sides.setdefault((sentence.text.lower(), sentence.context.lower()), set()).add(sentence.harmful)
    assert [text for text, found in sides.items() if len(found) > 1] == []


def test_nothing_is_left_to_expand() -> None:
    left = re.compile(r"\{[a-z_0-9]+\}|\[[^\[\]]*\|[^\[\]]*\]")  # other braces are pasted code
    assert [s.text for s in TEN if left.search(s.text) or left.search(s.context)] == []
    assert all(s.text.strip() == s.text and s.text for s in TEN)


def test_expansion_hangs_on_the_seed_alone() -> None:
    def texts(frames: list[Frame], seed: int) -> list[tuple[str, str]]:
        return [(s.text, s.context) for s in expand(frames, 4, seed)]

    assert texts(FRAMES, 7) == texts(FRAMES, 7) != texts(FRAMES, 8)
    assert set(texts(FRAMES[:5], 7)) <= set(texts(FRAMES, 7))  # a new frame does not change the others' sentences


def test_each_side_has_different_sentences_and_no_more_than_asked_for() -> None:
    sides: dict[tuple[str, bool], list[str]] = {}
    for sentence in TEN:
        sides.setdefault((sentence.frame.id, sentence.harmful), []).append(sentence.text)
    assert all(len(texts) == len(set(texts)) <= 10 for texts in sides.values())
    assert {frame.id for frame in FRAMES if frame.harmful} == {name for name, harmful in sides if harmful}


def only(sentences: list[Sentence], harmful: bool) -> Sentence:
    (found,) = [sentence for sentence in sentences if sentence.harmful == harmful]
    return found


def test_labels_say_what_is_known() -> None:
    frame = Frame(
        "f",
        "p",
        "post",
        "t",
        ("bad",),
        ("good",),
        ("hate/threatening",),
        open=("violence",),
        innocent_open=("toxicity",),
    )
    sentences = list(expand([frame], 1, seed=0))
    bad, good = only(sentences, True).labels, only(sentences, False).labels
    assert (bad["hate/threatening"], bad["hate"], bad["sexual"]) == (1.0, 1.0, 0.0) and "violence" not in bad
    assert set(good.values()) == {0.0} and "toxicity" not in good and "violence" in good


def test_choices_and_slots_are_filled_in() -> None:
    slots = {"who": ["[he|she] and {pet}"], "pet": ["a cat"]}
    found = {fill("{who} [sat|slept]", slots, random.Random(n)) for n in range(50)}
    assert found == {f"{who} and a cat {verb}" for who in ("he", "she") for verb in ("sat", "slept")}
    with pytest.raises(ValueError, match="circle"):
        fill("{a}", {"a": ["{a}"]}, random.Random(0))


WRONG = {
    "used twice": "[[frames]]\nid='a'\nphenomenon='p'\nkind='post'\ninnocent=['x']\n" * 2,
    "kind 'letter'": "[[frames]]\nid='a'\nphenomenon='p'\nkind='letter'\ninnocent=['x']\n",
    "need labels": "[[frames]]\nid='a'\nphenomenon='p'\nkind='post'\nharmful=['x']\n",
    "'rude' is not a category": "[[frames]]\nid='a'\nphenomenon='p'\nkind='post'\nharmful=['x']\nlabels=['rude']\n",
    "slot {who} is not defined": "[[frames]]\nid='a'\nphenomenon='p'\nkind='post'\ninnocent=['{who}']\n",
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_frame_is_named(tmp_path: Path, sentence: str) -> None:
    (tmp_path / "mine.toml").write_text(WRONG[sentence], encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(sentence)):
        load_frames(tmp_path)
