"""LiteLLM's dialect: /beta/litellm_basic_guardrail_api, what its proxy asks before a prompt and while a reply grows.

Owns LiteLLM's words for a verdict. Refuses to know where segments end and how they are remembered. Whatever is not one
of its three actions LiteLLM reads as NONE, and an error as the operator's choice to fail open or closed: so a prompt or
a reply that could not be judged is an error, never an action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import each, parse, read_json, while_connected
from service.api.errors import json_response
from service.api.litellm_reply import Ask, ReplyJudge
from service.api.litellm_request import GuardrailRequest, to_conversation, tool_texts
from service.api.prompt_turns import Prompt
from service.api.relay import POLICY_HEADER
from service.api.schema import GuardrailReply, takes
from service.api.segment_memo import SegmentMemo
from service.errors import Overloaded, ScorerFailed
from service.policy import Policy
from service.stream_rules import holds_back
from service.taxonomy import CATEGORIES, Action
from service.types import Content, Turn, Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

PATH = "/beta/litellm_basic_guardrail_api"
ASK_AGAIN_S = 0.1


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
        return _blocked("It holds an image or another part that is not text, which is not judged here.", "prompt"), None
    system = tuple(Turn(text, "system") for text in found.instructions)
    prompt = Prompt(found.turns, len(found.turns) - found.newest, system)
    contents = prompt.contents(policy.name, judge_system=rules.judge_system)
    budget_s = runtime.settings.request_budget_s
    judge, count = _patient(runtime.judge, budget_s), _patient(runtime.moderate, budget_s)
    newest = [partial(count, content) for content in contents[: prompt.newest]]
    earlier = [partial(memo.recall, content, policy.version, judge) for content in contents[prompt.newest :]]
    verdicts = await each([*newest, *earlier])
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
    if wanted.images and not policy.stream.allow_unjudged_parts:
        return {**_blocked("It holds an image, which is not judged here.", "reply"), **held}, strictest
    if [text.text for text in shown] != texts:
        return {"action": "GUARDRAIL_INTERVENED", "texts": [text.text for text in shown], **held}, strictest
    return {"action": "NONE", **held}, strictest


def _blocked(reason: str, what: str) -> dict[str, Any]:
    """LiteLLM shows `blocked_reason` to its user word for word."""
    return {"action": "BLOCKED", "blocked_reason": f"The {what} was held back. {reason}"}


def _reason(stops: Iterable[Verdict]) -> str:
    """Why, for an end user: no numbers, nothing quoted. ScorerFailed where a missing stage is all there is to say."""
    strictest = max(stops, key=_strictness)
    if strictest.action < Action.BLOCK and not strictest.whole:
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
