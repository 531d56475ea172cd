"""SIGKILL from inside: nobody outside of a process can aim at the middle of its next save."""

from __future__ import annotations

import os
import random
import signal
import threading
import time


class Doom:
    """Kills this process at some moment of the save that follows, once it is ``armed``."""

    def __init__(self) -> None:
        self.armed = False

    def strike(self, dice: random.Random) -> None:
        """Let the time run: between 0.1 ms, when nothing has been sent, and 50 ms, when a server may hang."""
        if self.armed:
            seconds = 10 ** dice.uniform(-4, -1.3)
            threading.Thread(target=_kill_after, args=(seconds,), daemon=True).start()


def _kill_after(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)
