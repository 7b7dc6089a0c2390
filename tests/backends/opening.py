"""How a suite opens one more store over the same data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from service.bank_records import WholeStore

Open = Callable[[], Awaitable[WholeStore]]
