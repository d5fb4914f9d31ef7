"""Signals that end a process: the command line stops a training at the end of an iteration, with everything saved."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C; what a cluster sends before it kills; a terminal that was closed


class Stopped(KeyboardInterrupt):
    """A training was asked to stop. Its message says why; code: the exit code of the command line."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


@contextlib.contextmanager
def stopping(ask: Callable[[Stopped], None]) -> Iterator[None]:
    """While this lasts, the first signal only asks for a stop; a second one raises `Stopped` at once.

    A signal that the process ignores stays ignored, as SIGHUP under nohup. Outside the main thread nothing changes,
    since Python handles signals in that thread alone.
    """
    before, asked = {}, []

    def handle(number: int, frame: object) -> None:
        stop = Stopped(signal.Signals(number).name, 128 + number)
        if asked:
            raise stop
        asked.append(stop)
        ask(stop)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):  # no SIGHUP on Windows
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
