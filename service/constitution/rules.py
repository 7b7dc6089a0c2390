"""Rules in words: absolutes about groups, dehumanising talk, coercion, deception and steps towards harm.

Owns the wordings. Refuses to know principles and scores of the classifier. A wording is taken as said by the text
itself; what is quoted, denied or condemned is seen by `cues` and costs a score half of its strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from service.constitution.cues import distanced
from service.constitution.evidence import Evidence, Pattern, pattern, places

_GROUP = (
    r"(?:jews|muslims|christians|hindus|sikhs|buddhists|atheists|blacks|black people|white people|whites|asians|arabs|"
    r"africans|mexicans|latinos|immigrants|migrants|refugees|foreigners|women|men|girls|boys|females|males|gays|"
    r"gay people|lesbians|homosexuals|trans people|disabled people|old people|the elderly|poor people|the poor|gypsies|"
    r"roma|indians|chinese people|germans|russians|americans|europeans|liberals|conservatives|teenagers|fat people|"
    r"homeless people|the homeless)"
)
_ALL = r"(?:all|every single one of the|every one of the|each and every one of the|most)(?: of)?(?: the| these| those)?"
_BAD = (
    r"(?:stupid|lazy|dirty|criminals?|thieves|liars|terrorists?|rapists?|violent|dangerous|greedy|inferior|evil|dumb|"
    r"the same|untrustworthy|dishonest|weak|irrational|hysterical|savages?|uncivilised|uncivilized|backward|disgusting|"
    r"parasites?|a burden|useless|less intelligent|not to be trusted|bad at|unfit|mentally ill|perverts?|sluts?)"
)
_NEVER = (
    r"(?:are (?:always|never|simply|just|all|inherently|naturally|by nature|genetically)|always|never|cannot|can't)"
)

_ABSOLUTES: tuple[Pattern, ...] = (
    pattern(0.85, rf"{_ALL} {_GROUP}(?: who)? (?:are|is|want|lie|steal|hate|cheat)(?: to)?(?: \w+){{0,3}}? {_BAD}"),
    pattern(
        0.8, rf"{_GROUP} are (?:all|always|inherently|naturally|by nature|genetically|simply|just) (?:\w+ )?{_BAD}"
    ),
    pattern(0.7, rf"{_GROUP} (?:are|will be) (?:\w+ )?{_BAD}"),
    pattern(
        0.65, rf"{_GROUP} {_NEVER} (?:be trusted|tell the truth|work|learn|change|drive|think|lead|do anything right)"
    ),
    pattern(
        0.75,
        rf"{_GROUP} (?:do not|don't|should not|shouldn't|must not) (?:belong|vote|be allowed|have (?:any )?rights|work)",
    ),
    pattern(0.6, rf"(?:that is|that's|it's) (?:just )?what {_GROUP} (?:are|do)(?: like)?"),
)
_DEHUMANISING: tuple[Pattern, ...] = (
    pattern(
        0.85,
        rf"(?:they|these people|those people|you people|{_GROUP}) (?:are|were) (?:all |just |nothing but |like )*"
        r"(?:vermin|animals|cockroaches|rats|pigs|apes|monkeys|subhumans?|sub-human|not human|garbage|trash|filth|scum|a plague|a disease|a cancer)",
    ),
    pattern(
        0.8,
        r"(?:you are|you're|he is|she is|he's|she's) (?:a )?(?:subhuman|not even human|less than human|a waste of (?:space|air|oxygen|skin))",
    ),
    pattern(0.7, r"(?:nobody|no one) (?:would|will) (?:ever )?(?:miss|love|want) you"),
)
_COERCION: tuple[Pattern, ...] = (
    pattern(
        0.8,
        r"(?:do|sign|send|pay|say|give|come|tell|show|buy|agree|keep quiet)\b[^.!?\n]{0,60}? or (?:else|i(?:'ll| will| am going to)|we(?:'ll| will)|you(?:'ll| will) (?:regret|lose|be sorry|pay|never))",
    ),
    pattern(
        0.8,
        r"if you (?:don't|do not|won't|refuse|leave|tell|ever)\b[^.!?\n]{0,60}?,? (?:i(?:'ll| will| am going to)|we(?:'ll| will)|you(?:'ll| will) (?:regret|lose|be sorry|pay for|never see))",
    ),
    pattern(0.7, r"you (?:have no|don't have a|do not have a|have got no) choice"),
    pattern(
        0.7,
        r"(?:you owe (?:me|us) (?:this|that|it)|after (?:everything|all) (?:i|we)(?:'ve| have)? (?:done|did) for you)",
    ),
    pattern(
        0.7, r"if you (?:really |truly )?(?:loved|cared (?:about|for)|respected) (?:me|us|your \w+),? you(?:'d| would)"
    ),
    pattern(
        0.6,
        r"(?:don't|do not) (?:tell|talk to|ask|trust) (?:anyone|anybody|your (?:parents|mother|father|friends|doctor|teacher|lawyer|family)|the police)",
    ),
    pattern(0.6, r"(?:nobody|no one) (?:else )?will (?:ever )?(?:believe|help) you"),
    pattern(0.6, r"you(?:'d| would) be (?:stupid|a fool|crazy|an idiot) (?:not to|to refuse|to say no)"),
)
_DECEPTION: tuple[Pattern, ...] = (
    pattern(
        0.75,
        r"(?:pretend|claim|act like|say) (?:to be|you(?:'re| are)|that you(?:'re| are)) (?:a|an|the|from|their|his|her)\b[^.!?\n]{0,60}? (?:so (?:that )?|to (?:get|make|trick|gain|obtain))",
    ),
    pattern(
        0.75,
        r"(?:trick|fool|deceive|mislead|manipulate|gaslight|con|dupe|brainwash) (?:him|her|them|your|the|people|customers|voters|users|someone|anyone|old|elderly)",
    ),
    pattern(
        0.7,
        r"(?:without (?:him|her|them|your \w+|anyone|the \w+) (?:ever )?(?:knowing|noticing|realizing|realising|finding out)|behind (?:his|her|their) back)",
    ),
    pattern(
        0.65,
        r"(?:make|have) (?:him|her|them|people) (?:believe|think|doubt)\b[^.!?\n]{0,40}?(?:even though|although|false|not true|a lie|crazy)",
    ),
    pattern(0.6, r"(?:hide|bury|conceal) (?:the|any|all) (?:fee|fees|cost|costs|risk|risks|truth|side effects|clause)"),
    pattern(
        0.6,
        r"(?:fake|forged?|made-up|invented) (?:reviews?|testimonials?|documents?|evidence|receipts?|ids?|invoices?|quotes?)",
    ),
)
_STEPS: tuple[Pattern, ...] = (
    pattern(
        0.75,
        r"(?:how to|steps to|here is how|here's how|instructions (?:for|to)|guide to|recipe for)\b[^.!?\n]{0,40}?"
        r"(?:make|build|build(?:ing)?|cook|synthesi[sz]e|poison|stab|kill|strangle|kidnap|blackmail|stalk|steal|break into|hot-?wire|hack|launder|counterfeit|forge|smuggle)"
        r"\b[^.!?\n]{0,40}?(?:bombs?|explosives?|meth|weapons?|poison|someone|a person|people|him|her|your (?:wife|husband|neighbou?r|boss|ex)|cars?|houses?|accounts?|money|cards?|passports?|drugs?)",
    ),
    pattern(
        0.7,
        r"(?:first|then|next|finally|step \d+:?),? (?:you )?(?:mix|heat|add|grind|attach|wire|load|pick the lock|disable the (?:alarm|camera)|cut (?:his|her|their))\b[^.!?\n]{0,60}?(?:explosive|detonator|fuse|nitrate|acetone|gasoline|petrol|bleach|ammonia|throat|lock|alarm|camera)",
    ),
)

_CERTAINTY: tuple[Pattern, ...] = (
    pattern(
        0.7,
        r"(?:will|is going to|are going to|'ll) (?:definitely|certainly|surely|undoubtedly|absolutely|without (?:a )?doubt)",
    ),
    pattern(
        0.7,
        r"(?:that is|that's|this is|it is|it's) (?:absolutely |completely )?(?:certain|a certainty|a sure thing|guaranteed)",
    ),
    pattern(
        0.7,
        r"(?:there is|there's|without|beyond) (?:absolutely )?(?:no|any|a|the slightest|a shadow of a) (?:doubt|question)(?: about it)?",
    ),
    pattern(
        0.7,
        r"(?:no question about it|mark my words|you can (?:rely|bet|count) on it|i (?:guarantee|promise)(?: you)?(?: that)?)",
    ),
    pattern(
        0.7,
        r"i (?:know|can tell|can see)\b[^.!?\n]{0,40}? (?:for sure|for certain|for a fact|without (?:having )?(?:met|seen|asked|examined) (?:him|her|them|you|it))",
    ),
    pattern(0.65, r"you (?:definitely|certainly|clearly|obviously) (?:have|suffer from|are suffering from)"),
)

WORDINGS = {
    "certainty": _CERTAINTY,
    "group-absolutes": _ABSOLUTES,
    "dehumanising": _DEHUMANISING,
    "coercion": _COERCION,
    "deception": _DECEPTION,
    "harm-steps": _STEPS,
}
# Letters of which each wording of a list holds some.
SIGNS: dict[str, tuple[str, ...]] = {
    "certainty": (
        "certain",
        "definite",
        "sure",
        "doubt",
        "guarant",
        "promise",
        "absolutely",
        "question",
        "mark my",
        "can bet",
        "can rely",
        "can count",
        "fact",
        "without",
        "clearly",
        "obviously",
    ),
    "group-absolutes": (
        *(
            "jews",
            "muslims",
            "christians",
            "hindus",
            "sikhs",
            "buddhists",
            "atheists",
            "blacks",
            "people",
            "whites",
            "asians",
        ),
        *(
            "arabs",
            "africans",
            "mexicans",
            "latinos",
            "migrants",
            "refugees",
            "foreigners",
            "men",
            "girls",
            "boys",
            "males",
        ),
        *("gays", "lesbians", "homosexuals", "elderly", "poor", "gypsies", "roma", "indians", "germans", "russians"),
        *("americans", "europeans", "liberals", "conservatives", "teenagers", "homeless"),
    ),
    "dehumanising": (
        "vermin",
        "animals",
        "roach",
        "rats",
        "pigs",
        "apes",
        "monkeys",
        "human",
        "garbage",
        "trash",
        "filth",
        "scum",
        "plague",
        "disease",
        "cancer",
        "waste of",
        "nobody",
        "no one",
    ),
    "coercion": (
        " or ",
        "if you",
        "choice",
        "owe",
        "for you",
        "don't",
        "do not",
        "nobody",
        "no one",
        "stupid",
        "fool",
        "crazy",
        "idiot",
    ),
    "deception": (
        "to be",
        "you're",
        "you are",
        "trick",
        "fool",
        "deceive",
        "mislead",
        "manipulate",
        "gaslight",
        "con ",
        "dupe",
        "brainwash",
        "without",
        "behind",
        "believe",
        "think",
        "doubt",
        "hide",
        "bury",
        "conceal",
        "fake",
        "forge",
        "made-up",
        "invented",
    ),
    "harm-steps": ("how", "step", "instructions", "guide", "recipe", "first", "then", "next", "finally"),
}
DISTANCE_SHARE = 0.5  # of a wording's strength that is left where the text keeps its distance from it


class WordingDetector:
    """A Detector over one list of wordings."""

    def __init__(self, ground: str) -> None:
        self._ground = ground
        self._patterns = WORDINGS[ground]

    def __call__(self, text: str) -> Sequence[Evidence]:
        """Where the wordings stand, each weakened where the text keeps its distance from it."""
        return [
            replace(one, score=one.score * DISTANCE_SHARE) if distanced(text, one.span) else one
            for one in places(text, self._patterns, self._ground, SIGNS[self._ground])
        ]
