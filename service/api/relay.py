"""A request to a language model, relayed: its prompt is judged, then the upstream asked, then the reply edited.

Owns this order, for every dialect that has an editor, streamed or not. Refuses to know the dialects' fields. The
upstream is called only for a prompt that passed, and its connection is closed when the caller leaves.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from service.api.body import each, read_json, while_connected
from service.api.errors import json_response
from service.api.event_stream import EventStream
from service.api.prompt_images import check_size, judging, load_prompt
from service.api.prompt_turns import Prompt
from service.api.quota import charge
from service.api.reply_gate import Hooks, ReplyGate, ending_of
from service.api.reply_steps import DONE, Event, MalformedEvent, ReplyEditor
from service.api.running_streams import RunningStreams
from service.api.segment_judge import SegmentJudge
from service.api.stream_measures import StreamMeasures
from service.backends.sse import EventReader, MalformedStream
from service.backends.upstream import Answer, Upstream, UpstreamFault, UpstreamKind, passed_headers
from service.config import Settings
from service.errors import BadInput, WeirError
from service.stream_rules import StreamRules, holds_back
from service.streaming import Channel
from service.types import Verdict

if TYPE_CHECKING:
    from service.runtime import Runtime

POLICY_HEADER = "x-weir-policy"
MOST_REPLY_BYTES = 16 << 20  # of a reply that comes in one piece
MOST_ERROR_BYTES = 1 << 16
_PLAIN = re.compile(r"[a-z0-9_]{1,64}")


class UpstreamFailed(WeirError):
    """The upstream did not answer, or not as its dialect promises."""

    status = 502
    code = "upstream_failed"

    def __init__(self, message: str, code: str = "upstream_failed", status: int = 502) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class UpstreamRefused(UpstreamFailed):
    """The upstream's own refusal, in its own code: of no closed set, so that metrics and logs say `label`."""

    label = "upstream_refused"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the relay is told of a dialect."""

    kind: UpstreamKind
    path: str
    read_prompt: Callable[[dict[str, Any], bool], Prompt]
    make_editor: Callable[[dict[str, Any]], ReplyEditor]
    to_events: Callable[[Event], Iterator[Event]]
    from_events: Callable[[Iterable[Event]], Event]

    @property
    def name(self) -> str:
        """What metrics call it: the path's word."""
        return self.path.split("/")[2]


async def relay(request: Request, dialect: Dialect, upstream_name: str = "default") -> Response:
    """Answer one request in its dialect. Raises WeirError where nothing of a reply was shown yet."""
    runtime: Runtime = request.app.state.runtime
    body = await read_json(request)
    if not isinstance(body, dict):
        raise BadInput("This must be a JSON object.")
    streamed = body.get("stream") or False
    if not isinstance(streamed, bool) or not isinstance(body.get("model"), str):
        raise BadInput("The request needs a model, and stream must be true or false.", param="model")
    policy = request.state.caller.choose_policy(request.headers.get(POLICY_HEADER))
    rules = runtime.policies.get(policy).stream
    try:
        prompt = dialect.read_prompt(body, rules.allow_unjudged_parts)
    except RecursionError:
        raise BadInput("The request is nested too deeply.") from None
    await charge(request, 1 + sum(map(len, prompt.images.values())))
    verdict = await while_connected(request, _judge_prompt(runtime, prompt, policy, rules))
    editor, idle_s = dialect.make_editor(body), runtime.settings.stream_idle_s
    running: RunningStreams = request.app.state.running_streams
    audited = streamed and rules.mode != "observe"
    measures = StreamMeasures(runtime, running, dialect.name, timed=streamed, audited=audited)
    if verdict is not None:
        request.state.action = verdict.action.wire
    if verdict is not None and holds_back(verdict, rules):
        measures.stopped("prompt", verdict)
        measures.end("stopped")
        events = editor.stop(ending_of(verdict))
        if not streamed:
            return json_response(dialect.from_events(events))
        return EventStream(AsyncExitStack(), _at_once(events), editor, idle_s)
    upstream = runtime.upstream(dialect.kind, upstream_name)
    context = prompt.turns[-1:] if rules.judge_in_context else ()
    judge = SegmentJudge(runtime, policy, rules, context)
    hooks = Hooks(partial(running.patience, runtime), judge.enter, measures)
    gate = ReplyGate(editor, partial(_channel, judge, rules), rules.hold_ms, hooks)
    async with AsyncExitStack() as stack:
        stack.enter_context(running.one(runtime))
        stack.push(partial(_conclude, request, gate, measures, partial(measures.audit, policy, context)))
        asking = _ask(request, upstream, dialect.path, body, stack)
        answer = await while_connected(request, running.within(runtime, asking))
        if not streamed:
            return await while_connected(request, _whole(dialect, answer, gate))
        if answer.media_type != "text/event-stream":
            raise UpstreamFailed("The upstream answered with something else than a stream.", "upstream_malformed")
        return EventStream(stack.pop_all(), gate.edited(_events(answer)), editor, idle_s)


def _channel(judge: SegmentJudge, rules: StreamRules, whole: bool) -> Channel:
    return Channel(judge, rules, whole=whole, revise=judge.revise)


def _conclude(
    request: Request,
    gate: ReplyGate,
    measures: StreamMeasures,
    audit: Callable[[], None],
    kind: type[BaseException] | None,
    error: BaseException | None,
    trace: TracebackType | None,
) -> None:
    """Count how a reply has ended; `error` is what kept it from beginning, if anything did."""
    if gate.strictest is not None:
        request.state.action = gate.strictest.action.wire
    if gate.stopped is not None:
        measures.stopped("reply", gate.stopped)
    if gate.failed or not isinstance(error, WeirError):
        measures.failed(gate.failed)
        measures.end(gate.end)
    else:
        measures.failed(error.label if isinstance(error, UpstreamRefused) else error.code)
        measures.end("failed")
    audit()


async def _judge_prompt(runtime: Runtime, prompt: Prompt, policy: str, rules: StreamRules) -> Verdict | None:
    """The strictest verdict on a prompt's turns; None where there is nothing said. Images at addresses are pinned."""
    check_size(prompt, runtime.settings.max_body_bytes)
    allow = rules.allow_unjudged_parts
    parts = await load_prompt(runtime, prompt, policy, judge_system=rules.judge_system, allow_unjudged=allow)
    verdicts = await each(judging([(part, runtime.moderate) for part in parts], allow_unjudged=allow))
    return max(verdicts, key=lambda verdict: (holds_back(verdict, rules), verdict.action), default=None)


async def _ask(request: Request, upstream: Upstream, path: str, body: dict[str, Any], stack: AsyncExitStack) -> Answer:
    """Send the body as it was read; raises UpstreamFailed unless the answer is a good one.

    It is written anew: of a key that stands twice another reader may take the one that was not judged.
    """
    runtime: Runtime = request.app.state.runtime
    given = request.headers.items()
    headers = passed_headers(given, upstream, spent=spent_headers(given, runtime.settings))
    client = runtime.upstream_client
    assert client is not None  # there is an upstream
    try:
        written = json.dumps(body, allow_nan=False).encode("ascii")
    except (ValueError, RecursionError):
        raise BadInput("A number is out of range, or the request is nested too deeply.") from None
    try:
        sent = client.send(upstream, path, headers, written)
        answer = await stack.enter_async_context(sent)
        if answer.status >= 300:
            raise await _refused(answer)
    except UpstreamFault as fault:
        status = 504 if fault.kind in ("timeout", "stall") else 502
        raise UpstreamFailed("The upstream could not be asked.", f"upstream_{fault.kind}", status) from None
    return answer


def spent_headers(headers: Iterable[tuple[str, str]], settings: Settings) -> frozenset[str]:
    """The headers that hold a key of Weir's own, whether or not it was what opened the door."""
    own = {key.sha256 for key in (*settings.api_keys, *settings.admin_keys)}
    held = {name: value.strip() for name, value in headers if name in ("authorization", "x-api-key")}
    if held.get("authorization", "")[:7].lower() == "bearer ":
        held["authorization"] = held["authorization"][7:].strip()
    return frozenset(name for name, key in held.items() if hashlib.sha256(key.encode("latin-1")).hexdigest() in own)


async def _refused(answer: Answer) -> UpstreamFailed:
    """The upstream's own refusal: its status and its code, none of its words, for they may quote the prompt."""
    code = "upstream_refused"
    try:
        error = json.loads(await _read(answer, MOST_ERROR_BYTES))["error"]
        given = error.get("code") or error.get("type")
        code = given if isinstance(given, str) and _PLAIN.fullmatch(given) else code
    except (ValueError, KeyError, TypeError, AttributeError, MalformedEvent):
        code = "upstream_refused"  # a page of some proxy, or no words at all
    status = answer.status if answer.status >= 400 else 502
    error = UpstreamRefused(f"The upstream refused the request with status {answer.status}.", code, status)
    wait = answer.retry_after
    error.retry_after_s = int(wait) if wait.isdecimal() and len(wait) < 10 else None
    return error


async def _read(answer: Answer, most: int) -> bytes:
    read = bytearray()
    async for piece in answer.pieces:
        read += piece
        if len(read) > most:
            raise MalformedEvent("the reply is too long")
    return bytes(read)


async def _whole(dialect: Dialect, answer: Answer, gate: ReplyGate) -> Response:
    """A reply in one piece, through the same gate."""

    async def events() -> AsyncGenerator[Event, None]:
        try:
            reply = json.loads(await _read(answer, MOST_REPLY_BYTES))
        except (ValueError, RecursionError):
            raise MalformedEvent("the reply is no JSON") from None
        if not isinstance(reply, dict):
            raise MalformedEvent("the reply is no object")
        for event in dialect.to_events(reply):
            yield event

    left = [event async for event in gate.edited(events())]
    if gate.failed:
        raise UpstreamFailed("The upstream's reply cannot be used.", gate.failed)
    return json_response(dialect.from_events(left))


async def _events(answer: Answer) -> AsyncGenerator[Event, None]:
    """The upstream's events as JSON; MalformedEvent or MalformedStream where they are none."""
    reader = EventReader()
    async for piece in answer.pieces:
        for found in reader.feed(piece):
            if found.data.strip() == DONE["type"]:
                yield DONE
                continue
            try:
                event = json.loads(found.data)
            except (ValueError, RecursionError):
                raise MalformedStream("an event is no JSON") from None
            if not isinstance(event, dict):
                raise MalformedStream("an event is no object")
            yield event
    reader.finish()


async def _at_once(events: list[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
