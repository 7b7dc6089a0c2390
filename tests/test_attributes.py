"""Attributes as compositions of evidence; the shipped table, and what is refused in one."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.advert import SIGNS, advert_signs
from service.attributes import DEFAULT_ATTRIBUTES, Attribute, gather, load_attributes
from service.errors import PolicyInvalid
from service.stages.lexicon import load_lexicon
from service.taxonomy import CATEGORIES, Action
from service.types import Finding, Judgement, Verdict

ORIGINAL = (
    *(
        "TOXICITY",
        "SEVERE_TOXICITY",
        "IDENTITY_ATTACK",
        "INSULT",
        "PROFANITY",
        "THREAT",
        "SEXUALLY_EXPLICIT",
        "FLIRTATION",
    ),
    *("ATTACK_ON_AUTHOR", "ATTACK_ON_COMMENTER", "INCOHERENT", "INFLAMMATORY", "LIKELY_TO_REJECT", "OBSCENE", "SPAM"),
    *("UNSUBSTANTIAL", "AFFINITY_EXPERIMENTAL", "TOXICITY_EXPERIMENTAL", "THREAT_EXPERIMENTAL", "RESPECT_EXPERIMENTAL"),
)


def verdict(rules: tuple[str, ...] = (), **scores: float) -> Verdict:
    given = {name.replace("__", "/"): score for name, score in scores.items()}
    judgements = tuple(Judgement(name, given.get(name, 0.01), 0.5, Action.ALLOW) for name in CATEGORIES)
    findings = tuple(Finding("toxicity", 0.25, "keyword", f"lexicon:{rule}") for rule in rules)
    return Verdict(Action.ALLOW, judgements, findings, "default", "default-1", "m", "en")


def score(name: str, of: Verdict, text: str = "text") -> float:
    return load_attributes().scored[name].score(gather(of, text))


def test_every_name_of_the_original_is_known() -> None:
    known = load_attributes()
    assert all(name in known for name in ORIGINAL)
    assert "APPROVED" not in known and "toxicity" not in known
    assert known.scored["TOXICITY_EXPERIMENTAL"] == known.scored["TOXICITY"]
    assert not known.unscored & set(known.scored)


def test_rules_that_the_table_names_are_in_the_lexicon() -> None:
    named = {key for attribute in load_attributes().scored.values() for key in attribute.weights if "lexicon:" in key}
    assert named
    assert named <= {f"lexicon:{pattern.rule.id}" for pattern in load_lexicon().patterns}


@pytest.mark.parametrize(
    ("name", "category"),
    [("TOXICITY", "toxicity"), ("IDENTITY_ATTACK", "hate"), ("INSULT", "harassment"), ("SEXUALLY_EXPLICIT", "sexual")],
)
def test_one_category_alone_is_its_own_score(name: str, category: str) -> None:
    for value in (0.0, 0.001, 0.37, 0.9999, 1.0):
        assert score(name, verdict(**{category: value})) == pytest.approx(value, abs=1e-6)


def test_compositions_rise_with_their_evidence() -> None:
    rude = verdict(toxicity=0.9)
    assert score("PROFANITY", verdict(("profanity-stems-en",), toxicity=0.9)) > score("PROFANITY", rude)
    assert score("SEVERE_TOXICITY", verdict(toxicity=0.99, harassment=0.99, hate=0.9)) > 0.8
    assert score("SEVERE_TOXICITY", rude) < 0.5 < score("TOXICITY", rude)
    assert score("THREAT", verdict(violence=0.9, harassment__threatening=0.9)) > 0.8
    assert score("THREAT", verdict(violence=0.9, hate__threatening=0.9)) > 0.8
    assert score("THREAT", verdict(violence=0.9)) < 0.5


@pytest.mark.parametrize("name", list(load_attributes().scored))
def test_scores_are_probabilities_at_the_extremes(name: str) -> None:
    calm = verdict(**dict.fromkeys(CATEGORIES, 0.0))
    grave = verdict(("profanity-stems-en", "profanity-en"), **dict.fromkeys(CATEGORIES, 1.0))
    low, high = score(name, calm, "A quiet sentence."), score(name, grave, "FREE prize!!! Click www.x.com, win $500")
    assert 0.0 <= low < 0.05 and 0.95 < high <= 1.0


def test_signs_of_advertising() -> None:
    assert set(advert_signs("hello")) == set(SIGNS)
    assert not any(advert_signs("hello there, see you on the 24th").values())
    signs = advert_signs("WIN a FREE prize! Claim £500 now at www.example.com or call 0800 123 456")
    assert min(signs["link"], signs["number"], signs["money"]) == 1.0
    assert signs["offer"] == 1.0 and 0.0 < signs["shouting"] < 1.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weights = { toxicity = 1.0 }", "weights = { rudeness = 1.0 }"),
        ("weights = { toxicity = 1.0 }", 'weights = { "advert:colour" = 1.0 }'),
        ('truth = "hate"', 'truth = "heat"'),
        ("bias = -2.0", 'bias = "low"'),
        ("bias = -2.0", "offset = -2.0"),
        ('same_as = "PROFANITY"', 'same_as = "NOTHING"'),
        ("[unscored]", "[unscored"),
        ("[unscored]", "[other]"),
    ],
)
def test_a_table_that_is_wrong_stops_the_start(tmp_path: Path, old: str, new: str) -> None:
    text = DEFAULT_ATTRIBUTES.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "perspective.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyInvalid):
        load_attributes(path)


def test_a_missing_rule_is_no_evidence() -> None:
    attribute = Attribute("X", 0.0, {"lexicon:nothing": 2.0, "toxicity": 1.0})
    assert attribute.score({"toxicity": 0.0}) == 0.5
