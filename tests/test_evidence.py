"""What is kept of a content: never a verdict, never what a stage was missing from, never across callers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.evidence import Evidence, EvidenceCache, Source
from service.metrics import Metrics
from service.types import Content, Finding, Turn

ROOM = 1 << 20
CONTENT = Content("some text", (Turn("before", "user"),), "user", "default", True, "caller", True)
OTHERS = [
    replace(CONTENT, text="some text "),
    replace(CONTENT, context=(Turn("before", "assistant"),)),
    replace(CONTENT, context=(Turn("before", "user"), Turn(""))),
    replace(CONTENT, role="assistant"),
    replace(CONTENT, explain=False),
    replace(CONTENT, scope="another"),
    replace(CONTENT, images=(b"",)),
]


class Gather:
    """Counts how often it was asked."""

    def __init__(self, *failed: str) -> None:
        self.calls = 0
        self.failed = failed

    async def __call__(self, content: Content) -> Evidence:
        self.calls += 1
        return Evidence(
            (Finding("hate", 0.5, "semantic", "model:x"),), "en", True, self.failed, False, {"semantic": 1.0}
        )


def cache(scoped: bool = True, most_bytes: int = ROOM) -> EvidenceCache:
    return EvidenceCache(b"secret", ("artifact",), scoped=scoped, most_bytes=most_bytes, metrics=Metrics())


async def test_the_same_content_is_gathered_once_and_under_any_policy() -> None:
    kept, gather = cache(), Gather()
    first, source = await kept.of(CONTENT, gather)
    again, other = await kept.of(replace(CONTENT, policy="kids"), gather)
    assert (source, other, gather.calls) == (Source.GATHERED, Source.KEPT, 1)
    assert again.findings == first.findings and not again.timings_ms


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
async def test_whatever_a_stage_is_fed_makes_another(other: Content) -> None:
    kept, gather = cache(), Gather()
    await kept.of(CONTENT, gather)
    assert (await kept.of(other, gather))[1] is Source.GATHERED


async def test_evidence_on_images_hangs_on_the_images_and_on_their_lists() -> None:
    lists = ["1"]
    kept, gather = (
        EvidenceCache(
            *(b"secret", ("artifact",)), scoped=True, most_bytes=ROOM, metrics=Metrics(), of_images=lambda: lists[0]
        ),
        Gather(),
    )
    large = bytes(1 << 20)
    for images, source in (
        ((b"ab", b"c"), Source.GATHERED),
        ((b"a", b"bc"), Source.GATHERED),
        ((b"ab", b"c"), Source.KEPT),
        ((large,), Source.GATHERED),
        ((large,), Source.KEPT),
    ):
        assert (await kept.of(replace(CONTENT, images=images), gather))[1] is source
    await kept.of(CONTENT, gather)
    lists[0] = "2"
    assert (await kept.of(replace(CONTENT, images=(b"ab", b"c")), gather))[1] is Source.GATHERED
    assert (await kept.of(CONTENT, gather))[1] is Source.KEPT


async def test_callers_share_where_that_is_wanted() -> None:
    kept, gather = cache(scoped=False), Gather()
    await kept.of(CONTENT, gather)
    assert (await kept.of(replace(CONTENT, scope="another"), gather))[1] is Source.KEPT


async def test_what_is_not_to_be_stored_is_neither_kept_nor_read() -> None:
    kept, gather = cache(), Gather()
    await kept.of(replace(CONTENT, store=False), gather)
    assert len(kept) == 0
    await kept.of(CONTENT, gather)
    assert (await kept.of(replace(CONTENT, store=False), gather))[1] is Source.GATHERED and gather.calls == 3


async def test_what_the_constitution_has_a_say_in_is_neither_kept_nor_read() -> None:
    kept, gather = cache(), Gather()
    asked = replace(CONTENT, constitution="auto")
    await kept.of(CONTENT, gather)
    assert (await kept.of(asked, gather))[1] is Source.GATHERED
    assert (await kept.of(asked, gather))[1] is Source.GATHERED and gather.calls == 3


async def test_what_a_stage_is_missing_from_is_not_kept() -> None:
    kept, gather = cache(), Gather("semantic")
    await kept.of(CONTENT, gather)
    assert len(kept) == 0


async def test_room_is_bounded() -> None:
    kept, gather = cache(most_bytes=20_000), Gather()
    for n in range(200):
        await kept.of(Content(f"text {n}"), gather)
    assert 0 < len(kept) < 40


@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from(["", "user"])), min_size=1, max_size=3), st.data())
async def test_two_contents_are_never_written_alike(parts: list[tuple[str, str]], data: st.DataObject) -> None:
    made = Content(parts[0][0], tuple(Turn(*part) for part in parts[1:]), parts[0][1])
    text = data.draw(st.text(max_size=3))
    other = Content(text, made.context[::-1], made.role)
    if made != other:
        kept, gather = cache(), Gather()
        await kept.of(made, gather)
        assert (await kept.of(other, gather))[1] is Source.GATHERED
