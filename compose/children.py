"""Child processes that end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, so that a Ctrl-C reaches the parent alone, which stops it in order.

    On Linux the kernel ends it with SIGTERM when the parent is killed; elsewhere it then lives on.
    """
    return subprocess.Popen(
        list(command),
        env=dict(env) if env is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def stop(child: subprocess.Popen[bytes], timeout_s: float) -> int:
    """SIGTERM, then after `timeout_s` SIGKILL; the exit status."""
    return stop_all([child], timeout_s)[0]


def stop_all(running: Sequence[subprocess.Popen[bytes]], timeout_s: float) -> list[int]:
    """SIGTERM to all at once, then after `timeout_s` SIGKILL to those that are left; their exit statuses."""
    until = time.monotonic() + timeout_s
    for child in running:
        if child.poll() is None:
            child.terminate()
    for child in running:
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    return [child.wait() for child in running]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
