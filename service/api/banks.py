"""/v1/images/banks: lists of known images, for admins.

Owns the fields of these requests and replies. Refuses to know how hashes are kept and compared. Reading needs an admin
key too: whoever knows a list can try pictures against it. A bank holds for every policy, so that a key which is bound
to some may not touch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from service.api.admin import require_admin
from service.api.body import parse, read_json
from service.api.errors import json_response
from service.api.schema import ErrorReply, takes
from service.bank_records import Bank, Change, HashKind, KnownHash
from service.errors import BadInput, Forbidden
from service.images.bank_desk import MOST_AT_ONCE, MOST_DESCRIPTION, BankDesk
from service.images.hash_lists import MOST_NOTE, check_note, read_hash, read_hash_lines
from service.taxonomy import Action

if TYPE_CHECKING:
    from service.runtime import Runtime

MOST_EVENTS = 100
MOST_LISTED = 1_000
_TABLES = ("text/csv", "text/plain")


class BankBody(BaseModel):
    """What the images of a bank are, and what is to be done with what matches them."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"category": "violence/graphic", "action": "block"}}
    )

    category: str
    action: Literal["flag", "review", "block"]
    description: Annotated[str, Field(max_length=MOST_DESCRIPTION)] = ""


class HashBody(BaseModel):
    """One image by its hash: 64 hexadecimal digits, after `pdq:` or `sha256:` where `kind` does not say it."""

    model_config = ConfigDict(extra="forbid")

    hash: str
    kind: Literal["pdq", "sha256"] | None = None
    note: Annotated[str, Field(max_length=MOST_NOTE)] = ""


class HashesBody(BaseModel):
    """Some hashes; more are sent in several requests."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"hashes": [{"hash": "pdq:" + "f8f8f0ce" * 8}]}}
    )

    hashes: list[HashBody] = Field(min_length=1)


router = APIRouter(
    prefix="/v1/images/banks",
    tags=["images"],
    responses={"4XX": {"model": ErrorReply}, "5XX": {"model": ErrorReply}},
)


def _desk(request: Request) -> tuple[BankDesk, str]:
    """The desk and the admin's name."""
    runtime: Runtime = request.app.state.runtime
    admin = require_admin(request, runtime.settings)
    if admin.policies:
        raise Forbidden("This key is bound to policies, and a bank holds for all of them.")
    assert runtime.banks is not None  # `wiring` gives every runtime one
    return runtime.banks, admin.name


@router.get("", summary="All lists of known images")
async def banks(request: Request) -> Response:
    """By name, with how many hashes each has."""
    desk, _ = _desk(request)
    return json_response({"banks": [to_bank(bank) for bank in await desk.banks()]})


@router.get("/{bank}", summary="A list, and who did what with it")
async def bank(request: Request, bank: str) -> Response:
    """The newest 100 events, newest first."""
    desk, _ = _desk(request)
    found = await desk.bank(bank)
    events = await desk.trail(bank, MOST_EVENTS)
    trail = [{"kind": e.kind, "actor": e.actor, "at": e.at, "detail": dict(e.detail)} for e in events]
    return json_response(to_bank(found) | {"trail": trail})


@router.put("/{bank}", summary="Make a list, or change what it calls for", openapi_extra=takes(BankBody))
async def set_bank(request: Request, bank: str) -> Response:
    """One that is there keeps its hashes. In force in every process within a second."""
    desk, author = _desk(request)
    body = parse(BankBody, await read_json(request))
    action = Action[body.action.upper()]
    return json_response(to_bank(await desk.set_bank(bank, body.category, action, body.description, author=author)))


@router.delete("/{bank}", summary="Take a list away")
async def delete_bank(request: Request, bank: str) -> Response:
    """With all its hashes."""
    desk, author = _desk(request)
    await desk.delete_bank(bank, author=author)
    return Response(status_code=204)


@router.get("/{bank}/hashes", summary="The hashes of a list")
async def hashes(request: Request, bank: str) -> Response:
    """In the order in which they came, `limit` at a time; `next` is what `after` is to be for those that follow."""
    desk, _ = _desk(request)
    limit = max(1, min(_number(request, "limit", MOST_LISTED), MOST_LISTED))
    changes = await desk.page(bank, _number(request, "after", 0), limit)
    listed = [to_hash(change) for change in changes if not change.removed]
    return json_response({"hashes": listed, "next": changes[-1].revision if len(changes) == limit else None})


@router.put("/{bank}/hashes", summary="Add hashes to a list", openapi_extra=takes(HashesBody))
async def put_hashes(request: Request, bank: str) -> Response:
    """As JSON, or as a file of text/csv or text/plain, whose bare hashes are of the kind that `kind` names."""
    desk, author = _desk(request)
    put = await desk.put_hashes(bank, await _hashes(request), author=author)
    return json_response({"added": put.added, "unchanged": put.unchanged})


@router.delete("/{bank}/hashes", summary="Take hashes from a list", openapi_extra=takes(HashesBody))
async def remove_hashes(request: Request, bank: str) -> Response:
    """Given as for adding; those that are not there are passed over."""
    desk, author = _desk(request)
    return json_response({"removed": await desk.remove_hashes(bank, await _hashes(request), author=author)})


@router.delete("/{bank}/hashes/{known}", summary="Take one hash from a list")
async def remove_hash(request: Request, bank: str, known: str) -> Response:
    """`pdq:` or `sha256:` and 64 hexadecimal digits."""
    desk, author = _desk(request)
    return json_response({"removed": await desk.remove_hashes(bank, [read_hash(known)], author=author)})


async def _hashes(request: Request) -> list[KnownHash]:
    """The hashes of a body; more than may come at once are refused by the desk."""
    kind = _kind(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() in _TABLES:
        try:
            text = (await request.body()).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadInput("The file is not UTF-8.") from None
        return list(read_hash_lines(text.splitlines(), kind))
    body = parse(HashesBody, await read_json(request))
    found = []
    for n, given in enumerate(body.hashes[: MOST_AT_ONCE + 1]):
        try:
            known = read_hash(given.hash, given.kind or kind)
            found.append(KnownHash(known.kind, known.value, check_note(given.note)))
        except BadInput as error:
            raise BadInput(error.message, param=f"hashes.{n}") from None
    return found


def _kind(request: Request) -> HashKind | None:
    given = request.query_params.get("kind")
    if given is None or given == "pdq":
        return None if given is None else "pdq"
    if given != "sha256":
        raise BadInput("A kind is pdq or sha256.", param="kind")
    return "sha256"


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdecimal() or len(given) > 15:
        raise BadInput("This must be a whole number.", param=name)
    return int(given)


def to_bank(bank: Bank) -> dict[str, Any]:
    """A bank as JSON."""
    return {
        "name": bank.name,
        "category": bank.category,
        "action": bank.action.wire,
        "description": bank.description,
        "hashes": bank.hashes,
        "revision": bank.revision,
    }


def to_hash(change: Change) -> dict[str, Any]:
    """A hash as JSON, in the form in which it may be put."""
    known = change.known
    return {"hash": known.value.hex(), "kind": known.kind, "note": known.note}
