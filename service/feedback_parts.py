"""The assembly of what is kept: the store, the keys of receipts, and the parts that learn from feedback.

Owns the concrete stores. Refuses to know the model, HTTP and the command line; `wiring` owns every lifetime.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from service.backends.secret import load_secrets
from service.backends.sqlite_store import SqliteStore
from service.bank_records import WholeStore
from service.config import Settings
from service.errors import StoreRefused, StoreUnavailable
from service.feedback.desk import FeedbackDesk, Judge
from service.feedback.ledger import Ledger
from service.feedback.loops import Loops
from service.feedback.receipts import Receipts
from service.feedback.traffic import Traffic
from service.feedback.tuning import Tuning
from service.feedback.versions import PolicyVersions
from service.goal_files import load_goals
from service.metrics import Metrics
from service.policy import LivePolicies

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Keep:
    """Where state lies, the keys that receipts are signed with, and the secret that others are derived from."""

    store: WholeStore
    receipts: Receipts
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class State:
    """The parts that feedback and thresholds need, around one store."""

    feedback: FeedbackDesk
    versions: PolicyVersions
    tuning: Tuning
    ledger: Ledger
    loops: Loops


async def open_keep(stack: AsyncExitStack, settings: Settings, *, stateful: bool = True) -> Keep:
    """The store and the keys; opened early, so that a wrong setting is told before the model is loaded."""
    store: WholeStore
    if not stateful:
        secret = [secrets.token_bytes(32)]
        store = await SqliteStore.open(None)
    else:
        given = None if settings.secret is None else settings.secret.get_secret_value()
        secret = await asyncio.to_thread(load_secrets, given, settings.data_dir)
        if settings.store_url is None:
            store = await SqliteStore.open(settings.data_dir / "weir.db")
        else:
            # Here, so that who keeps everything on one host loads no client of Redis.
            from service.backends.redis_store import RedisStore

            store = await RedisStore.open(settings.store_url.get_secret_value())
    stack.push_async_callback(store.close)
    return Keep(store, Receipts(secret, days=settings.receipt_days), secret[0])


def build_state(
    keep: Keep, settings: Settings, metrics: Metrics, policies: LivePolicies, judge: Judge, artifact: tuple[str, str]
) -> State:
    """The parts, not yet running. `artifact` is its version and its whole digest."""
    version, digest = artifact
    store, traffic = keep.store, Traffic()
    versions = PolicyVersions(policies.current, digest, policies, store, metrics)
    tuning = Tuning(versions, store, load_goals(DATA / "thresholds.toml", settings.policy_dir), version)
    return State(
        FeedbackDesk(keep.receipts, store, policies, judge, version, metrics),
        versions,
        tuning,
        Ledger(keep.receipts, traffic, policies, metrics, settings.audit_share),
        Loops(
            *(versions, tuning, traffic, store, metrics),
            owner=secrets.token_hex(8),
            policies=tuple(policies.current.policies),
            adapt_every_s=settings.adapt_every_s,
        ),
    )


async def start_loops(stack: AsyncExitStack, state: State) -> None:
    """Take the thresholds of the store, then keep up with it."""
    try:
        await state.versions.refresh(force=True)
    except StoreUnavailable as error:
        raise StoreRefused("The store does not answer.") from error
    state.loops.start()
    stack.push_async_callback(state.loops.close)
