"""English words that settle foldings which could be read two ways: a few hundred by hand, 12,000 by rank. stdlib only.

Owns what counts as a known word and how a run of letters is cut into known words. Judges nothing: a word is here
because people disguise it or because it stands beside those, not because it is harmful.
"""

from __future__ import annotations

from codecs import encode
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from itertools import product
from math import prod

# Words that are disguised often. Three-letter ones are few, since three letters match by accident.
DISGUISED = frozenset(
    """
ass cum die fag gay gun sex nig kys abuse anal arse asshole assholes bastard bitch bitches bitchy bleach bomb bombs
boobs bullshit child children chink chinks cock cocks cocaine coon cunt cunts cutting death deport dick dickhead dicks
drug drugs dyke dykes explosive faggot faggots fags fentanyl fuck fucked fucker fuckers fuckin fucking fucks gays
genocide gook gooks gore grenade hang hate hated hater haters hates hating heroin hitler hoes homo hooker idiot idiots
incest jews jihad kike kikes kill killed killer killers killing kills lesbian loser losers lynch meth molest moron
morons motherfucker murder murdered murderer muslim muslims naked nazi nazis negro nigga niggas nigger niggers noob
nude nudes overdose paki pakis pedo pedophile penis piss pissed poison porn porno prick pussies pussy queer racist rape
raped rapes rapist rapists retard retarded retards rifle scum shit shits shitty shoot shooting slave slaves slut sluts
slutty spic spics stab stabbed stupid suicidal suicide terrorist terrorists tits torture tranny trannies ugly vagina
violence wanker weapon weapons weed wetback whore whores worthless
""".split()  # noqa: SIM905 - hundreds of quotation marks say less
)
COMMON = frozenset(
    """
a about after again all am an and any anyone are as ask at away bad be because been before being better black body
bring but by call can cannot come could day dead deserve did do does done dont down drink eat every everyone family
find fire for from fuel get girl girls give go going good gonna had has have he hell help her here him his hope house
how i if ignore im in instructions into is it its jump just know leave let life like little live look love make man
me men mom more mother my need never new no nobody not now of off old on one only or other our out over people please
previous pretty really right rope said say school see self send she should show so some soon stay stop such system
take tell that the their them then there they thing think this those time to today tomorrow tonight too trash try
under until up us use very wait wanna want was water way we well were what when where which white who why will wish
with woman women wont work world would wrists yes you young your yours yourself yourselves hello friend
""".split()  # noqa: SIM905 - hundreds of quotation marks say less
)
KNOWN = DISGUISED | COMMON
_ENDINGS = ("s", "es", "ed", "ing", "er", "ers", "y")
_INFLECTED = frozenset(word + ending for word in DISGUISED for ending in _ENDINGS if len(word + ending) > 4)
_LONGEST = 17  # letters of the longest word that is tried
# Words by length and first letter, which is the one that is never masked.
_BY_SHAPE = {
    shape: tuple(word for word in sorted(KNOWN) if (len(word), word[0]) == shape)
    for shape in {(len(word), word[0]) for word in KNOWN}
}
# Words that stand in most English texts and mean nothing backwards or in ROT13.
TELLTALES = frozenset(
    word for word in COMMON if len(word) > 2 and word[::-1] not in KNOWN and encode(word, "rot13") not in KNOWN
)
_SURE_MASKS = frozenset("*#%•✱@")  # "-", "." and "_" stand inside ordinary words too
_MAX_CUT = 80  # letters; a longer run of single letters is not a phrase that someone spelled out


@cache
def ranks() -> Mapping[str, int]:
    """The most frequent English words with their rank from 0: whole words of the encoder's vocabulary (Apache-2.0)."""
    words = (files("service") / "data" / "words.txt").read_text(encoding="ascii").split()
    return {word: rank for rank, word in enumerate(words)}


@cache
def _ranked_shapes() -> Mapping[tuple[int, str], tuple[str, ...]]:
    """Ranked words by length and first letter, the most frequent first."""
    shapes: dict[tuple[int, str], list[str]] = {}
    for word in ranks():
        shapes.setdefault((len(word), word[0]), []).append(word)
    return {shape: tuple(words) for shape, words in shapes.items()}


def is_known(word: str) -> bool:
    """Whether a lower-case word, or what is left of it without a common ending, is in the vocabulary."""
    return word in KNOWN or word in _INFLECTED


def best_spelling(options: list[str], limit: int = 64) -> str | None:
    """The one known word among the spellings that choosing a part from each of `options` gives.

    `options` is a list of groups, each a string whose parts are divided by "|"; at most `limit` spellings are tried.
    """
    if len(options) > _LONGEST:
        return None
    groups = [option.split("|") for option in options]
    if prod(map(len, groups)) > limit:
        return None
    spellings = list(map("".join, product(*groups)))
    known = [word for word in spellings if is_known(word)]
    if known:
        return next((word for word in known if word in DISGUISED), known[0])
    ranked = [word for word in spellings if word in ranks()]
    return min(ranked, key=ranks().__getitem__, default=None)


def cut(run: str) -> list[str] | None:
    """The fewest known words that a lower-case run of letters is made of, or None where it is not made of them."""
    if not 5 <= len(run) <= _MAX_CUT:
        return None
    best: list[list[str] | None] = [[]] + [None] * len(run)
    for end in range(1, len(run) + 1):
        for start in range(max(0, end - _LONGEST), end):
            before, word = best[start], run[start:end]
            if before is None or not (is_known(word) or word in ("u", "r")):
                continue
            if best[end] is None or len(before) + 1 < len(best[end] or ()):
                best[end] = [*before, word]
    return best[-1]


def unmasked(word: str, masks: str) -> str | None:
    """The known word that a lower-case word with letters masked can only be, or None; often disguised ones first.

    A reading in which just vowels are masked is preferred, since that is how people do it.
    """
    usual = {"s**t": "shit", "f***": "fuck", "b****": "bitch", "n****r": "nigger"}.get(word)
    all_fits = [
        known
        for known in _BY_SHAPE.get((len(word), word[:1]), ())
        if all(a == b or a in masks for a, b in zip(word, known, strict=True))
    ]
    fits = [fit for fit in all_fits if fit in DISGUISED]
    if not fits and sum(letter in masks for letter in word) == 1:
        fits = all_fits
    vowels = [fit for fit in fits if all(b in "aeiou" for a, b in zip(word, fit, strict=True) if a in masks)]
    if len(vowels) == 1:
        return vowels[0]
    if len(fits) == 1 or usual:
        return fits[0] if len(fits) == 1 else usual
    return _most_frequent_fit(word)


def _most_frequent_fit(word: str) -> str | None:
    """The most frequent word that a word with masked vowels can be."""
    for known in _ranked_shapes().get((len(word), word[:1]), ()):
        if all(a == b or (a in _SURE_MASKS and b in "aeiou") for a, b in zip(word, known, strict=True)):
            return known
    return None
