"""A bare FastAPI echo under uvicorn: what HTTP alone costs. Started by the bench as a process of its own.

Owns that application. Refuses to do any work: it parses the body and answers with it, filled up to a given size.

    python -m loadtest.echo PORT REPLY_BYTES
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI


def create_echo(reply_bytes: int) -> FastAPI:
    """An application whose replies have about so many bytes."""
    app = FastAPI(openapi_url=None)

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        size = len(str(body.get("input", "")))
        return {"echo": body, "filling": "x" * max(0, reply_bytes - size)}

    return app


if __name__ == "__main__":
    application = create_echo(int(sys.argv[2]))
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
