"""Weir: a self-hosted harm-moderation gateway."""

__version__ = "0.1.0"
