"""The processes that look at images, as the system shows them."""

from __future__ import annotations

import os
import time
from pathlib import Path

PATIENCE_S = 30


def descendants(pid: int) -> list[int]:
    """Every process under this one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        children += [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for child in (task / "children").read_text(encoding="ascii").split()
        ]
    except OSError:  # it has ended meanwhile
        return []
    return [found for child in children for found in (int(child), *descendants(int(child)))]


def lookers(under: int | None = None) -> list[int]:
    """Those that look at images, under this process unless another is named."""
    found = []
    for pid in descendants(os.getpid() if under is None else under):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"service.images.worker" in words:
            found.append(pid)
    return found


def wait_until_gone(pid: int) -> bool:
    """Whether a process ends, or has ended."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False
