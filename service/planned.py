"""Settings of features that are not built yet: accepted from the first day, and named in a warning.

Owns which they are. Refuses to know what they will do.
"""

from __future__ import annotations

from service.config import PREFIX, Settings


def not_in_use(settings: Settings) -> tuple[str, ...]:
    """Names of settings that were set and do nothing in this version, because their feature is not built yet."""
    harmless: dict[str, object] = {"screen": "off"}
    waiting = ("screen",)
    return tuple(
        PREFIX + name.upper()
        for name in waiting
        if name in settings.model_fields_set and getattr(settings, name) != harmless.get(name)
    )
