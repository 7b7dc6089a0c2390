"""LiteLLM's dialect: /beta/litellm_basic_guardrail_api, what its proxy asks before a prompt and while a reply grows.

Owns LiteLLM's words for a verdict. Refuses to know where segments end and how they are remembered. Whatever is not one
of its three actions LiteLLM reads as NONE, and an error as the operator's choice to fail open or closed: so a prompt or
a reply that could not be judged is an error, never an action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import each, parse, read_json, while_connected
from service.api.errors import json_response
from service.api.litellm_reply import Ask, ReplyJudge
from service.api.litellm_request import GuardrailRequest, sources_of, to_conversation, tool_texts
from service.api.prompt_images import check_size, judging, load_prompt
from service.api.prompt_turns import Prompt
from service.api.quota import charge
from service.api.relay import POLICY_HEADER
from service.api.schema import GuardrailReply, takes
from service.api.segment_memo import SegmentMemo
from service.errors import BadInput, Overloaded, ScorerFailed
from service.policy import Policy
from service.stream_rules import holds_back
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Turn, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

PATH = "/beta/litellm_basic_guardrail_api"
ASK_AGAIN_S = 0.1
_NO_IMAGE = "It holds an image that cannot be judged here."


class Busy(Overloaded):
    """The queue stayed full. To LiteLLM a 429 is a failure of the user's request; a 503 is the operator's to decide."""

    status = 503


router = APIRouter(tags=["litellm"])


@router.post(
    PATH,
    summary="Judge a prompt or a growing reply, as LiteLLM's generic guardrail",
    openapi_extra=takes(GuardrailRequest),
    responses={200: {"model": GuardrailReply}},
)
async def guardrail(request: Request) -> Response:
    """What LiteLLM's proxy calls: once for a prompt, every few chunks for a reply."""
    runtime: Runtime = request.app.state.runtime
    wanted = parse(GuardrailRequest, await read_json(request))
    named = request.state.caller.choose_policy(wanted.policy, request.headers.get(POLICY_HEADER))
    policy = runtime.policies.get(named)
    request.state.items = len(wanted.texts or ())
    request.state.chars = sum(map(len, wanted.texts or ()))
    if wanted.input_type == "request":  # a reply is asked about again as it grows
        await charge(request, max(1, len(wanted.texts or ())) + len(wanted.images or ()))
    side = _judge_prompt if wanted.input_type == "request" else _judge_reply
    work = side(wanted, runtime, request.app.state.segment_memo, policy)
    reply, verdict = await while_connected(request, work)
    if verdict is not None:
        request.state.action = verdict.action.wire
    return json_response(reply)


async def _judge_prompt(
    wanted: GuardrailRequest, runtime: Runtime, memo: SegmentMemo, policy: Policy
) -> tuple[dict[str, Any], Verdict | None]:
    """The newest turn's texts in the light of the turns before, and these alone, as they were judged then."""
    found, rules = to_conversation(wanted), policy.stream
    if found.unjudged and not rules.allow_unjudged_parts:
        return _blocked("It holds a part that is neither text nor an image, which is not judged here.", "prompt"), None
    system = tuple(Turn(text, "system") for text in found.instructions)
    prompt = Prompt(found.turns, len(found.turns) - found.newest, system, found.images)
    check_size(prompt, runtime.settings.max_body_bytes)
    budget_s, allow = runtime.settings.request_budget_s, rules.allow_unjudged_parts
    count = _patient(runtime.moderate, budget_s)
    recall = partial(memo.recall, policy_version=policy.version, judge=_patient(runtime.judge, budget_s))
    try:
        parts = await load_prompt(runtime, prompt, policy.name, judge_system=rules.judge_system, allow_unjudged=allow)
        asked = [(part, count if part.newest else recall) for part in parts]
        verdicts = await each(judging(asked, allow_unjudged=allow))
    except BadInput:  # an error would be the operator's to let through, and whoever sends such an image chooses it
        return _blocked(_NO_IMAGE, "prompt"), None
    if stops := [verdict for verdict in verdicts if holds_back(verdict, rules)]:
        return _blocked(_reason(stops), "prompt"), max(stops, key=_strictness)
    return {"action": "NONE"}, max(verdicts, key=_strictness, default=None)


async def _judge_reply(
    wanted: GuardrailRequest, runtime: Runtime, memo: SegmentMemo, policy: Policy
) -> tuple[dict[str, Any], Verdict | None]:
    """Every text so far, and the tool calls, which come whole and at the end."""
    texts, calls = wanted.texts or [], tool_texts(wanted.tool_calls or ())
    budget_s = runtime.settings.request_budget_s
    judge = ReplyJudge(_patient(runtime.judge, budget_s), _patient(runtime.moderate, budget_s), memo, policy)
    judged = await each(
        [*(partial(judge.judged, text) for text in texts), *(partial(judge.judged, call, whole=True) for call in calls)]
    )
    shown = judged[: len(texts)]
    held = {"stream_holdback_chars": [text.held for text in shown]}
    strictest = max((text.strictest for text in judged if text.strictest), key=_strictness, default=None)
    if stops := [text.stopped for text in judged if text.stopped]:
        return {**_blocked(_reason(stops), "reply"), **held}, max(stops, key=_strictness)
    if wanted.images and (refusal := await _judge_reply_images(wanted.images, runtime, policy)) is not None:
        return {**_blocked(refusal, "reply"), **held}, strictest
    if [text.text for text in shown] != texts:
        return {"action": "GUARDRAIL_INTERVENED", "texts": [text.text for text in shown], **held}, strictest
    return {"action": "NONE", **held}, strictest


async def _judge_reply_images(images: Sequence[Any], runtime: Runtime, policy: Policy) -> str | None:
    """Why images of a reply are held back; None where they are not."""
    allow = policy.stream.allow_unjudged_parts
    count = _patient(runtime.moderate, runtime.settings.request_budget_s)
    strings = [value for value in images if isinstance(value, str)]
    if len(strings) < len(images) and not allow:
        return _NO_IMAGE
    turns = tuple(Turn("", "assistant") for _ in strings)
    prompt = Prompt(turns, len(turns), images={n: sources_of([value]) for n, value in enumerate(strings)})
    try:
        parts = await load_prompt(runtime, prompt, policy.name, judge_system=False, allow_unjudged=allow)
        verdicts = await each(judging([(part, count) for part in parts], allow_unjudged=allow))
    except BadInput:
        return _NO_IMAGE
    stops = [verdict for verdict in verdicts if holds_back(verdict, policy.stream)]
    return _reason(stops) if stops else None


def _blocked(reason: str, what: str) -> dict[str, Any]:
    """LiteLLM shows `blocked_reason` to its user word for word."""
    return {"action": "BLOCKED", "blocked_reason": f"The {what} was held back. {reason}"}


def _reason(stops: Iterable[Verdict]) -> str:
    """Why, for an end user: no numbers, nothing quoted. ScorerFailed where a missing stage is all there is to say."""
    strictest = max(stops, key=_strictness)
    if strictest.action < Action.BLOCK and not strictest.whole:
        if all(":" in entry for entry in strictest.degraded):  # no stage: an image that is damaged or unreadable
            return _NO_IMAGE
        raise ScorerFailed("A stage could not judge, and the policy lets nothing pass unjudged.")
    if strictest.top is None:
        return "The content policy does not let it pass."
    return f"It looks like {CATEGORIES[strictest.top.category].phrase}."


def _strictness(verdict: Verdict) -> tuple[Action, bool]:
    """A verdict in which every stage had its say explains more than one that lacks a stage."""
    return verdict.action, verdict.whole


def _patient(ask: Ask, budget_s: float) -> Ask:
    """The same, asked again while the queue is full; Busy once the budget is spent."""

    async def asking(content: Content) -> Verdict:
        loop = asyncio.get_running_loop()
        until = loop.time() + budget_s
        while True:
            try:
                return await ask(content)
            except Overloaded:
                if loop.time() + ASK_AGAIN_S > until:
                    raise Busy("There is no room for this text now.") from None
            await asyncio.sleep(ASK_AGAIN_S)

    return asking
