"""The screen's student: learns which words make a teacher's logit and doubt, and does not see its batch-mates."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from models.encoder import VOCABULARY
from models.screen_student import D, Student, answers, teach

ALARM = 2000


def lessons(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Random texts; one in three holds ALARM, which is all that the teacher looks at."""
    rng = np.random.default_rng(seed)
    ids, targets, doubt = [], np.full((count, 2), -6.0, dtype=np.float32), np.zeros(count, dtype=np.float32)
    for n in range(count):
        text = rng.integers(3000, 3100, rng.integers(1, 12)).astype(np.int32)
        if n % 3 == 0:
            text[rng.integers(len(text))] = ALARM
            targets[n, 1], doubt[n] = 3.0, 1.0
        ids.append(text)
    return ids, targets, doubt


def student() -> Student:
    torch.manual_seed(5)
    return Student(2, torch.randn(VOCABULARY, D) * 0.15)


def test_it_learns_what_the_teacher_says_and_doubts():
    taught = student()
    teach(taught, *lessons(768, 1), passes=8, seed=1)
    ids, targets, doubt = lessons(300, 2)
    said = answers(taught, ids)
    assert said[doubt == 1, -1].min() > said[doubt == 0, -1].max()
    assert said[doubt == 1, 1].mean() > said[doubt == 0, 1].mean() + 3
    assert abs(said[:, 0] - targets[:, 0]).mean() < 1.5


def test_a_text_that_the_teacher_was_not_asked_about_teaches_doubt_alone():
    taught = student()
    ids, targets, doubt = lessons(300, 1)
    head = taught.head.weight[:2].detach().clone()
    teach(taught, ids, np.full_like(targets, np.nan), doubt, passes=1, seed=1)
    assert torch.isfinite(taught.head.weight).all()
    assert (taught.head.weight[:2] - head).abs().max() < 0.01  # weight decay, no gradient


def test_company_changes_no_answer():
    taught = student()
    ids, _, _ = lessons(40, 3)
    together = answers(taught, ids)
    alone = np.concatenate([answers(taught, [text]) for text in ids])
    assert np.allclose(together, alone, atol=1e-4)


def test_no_text_is_told():
    with pytest.raises(ValueError, match="no text"):
        answers(student(), [])
