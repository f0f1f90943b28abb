"""A program of pcxx as a child process: its progress is shown while it runs, and Ctrl-C ends it as in a terminal."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from . import _programs

WIPE = "\r\x1b[K"  # what the programs draw their progress over
COLUMNS = 100  # of a notebook


@dataclass
class Outcome:
    """What a program left behind: its exit code, what it printed, and its messages without the progress."""

    code: int
    output: str
    messages: list[str]


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def wants_progress() -> bool:
    """Whether anybody watches: a terminal or a notebook."""
    return in_notebook() or sys.stderr.isatty()


def run(program: str, words: Sequence[str], progress: bool | None = None) -> Outcome:
    """Runs a program to its end. Throws KeyboardInterrupt, with the program's last words, once it has ended after
    Ctrl-C; a second Ctrl-C kills it."""
    command = [str(_programs.program_path(program)), *words]
    environment = _programs.environment()
    with _Messages(wants_progress() if progress is None else progress) as messages:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages.end,
            env=environment,
            start_new_session=True,  # signals reach it through _wait alone
            text=True,
        )
        output, interrupted = _wait(child)
    if interrupted:
        raise KeyboardInterrupt(" ".join(messages.lines[-1:]))
    return Outcome(child.returncode, output, messages.lines)


def _wait(child: subprocess.Popen[str]) -> tuple[str, bool]:
    """What the program prints, and whether it was interrupted."""
    interrupted = False
    while True:
        try:
            return child.communicate()[0], interrupted
        except KeyboardInterrupt:
            child.send_signal(signal.SIGKILL if interrupted else signal.SIGINT)
            interrupted = True


class _Messages:
    """What a program writes to `end`, read by a thread: lines, and progress that is drawn over and over. With
    `show`, progress goes to the screen, and `end` is a terminal, as programs draw none elsewhere."""

    def __init__(self, show: bool) -> None:
        self.lines: list[str] = []
        self._columns = COLUMNS if in_notebook() else min(COLUMNS, shutil.get_terminal_size().columns)
        self._show = show
        self._source, self.end = pty.openpty() if show else os.pipe()
        if show:
            _set_up_terminal(self.end, self._columns)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.end)  # the program has closed its own, so that the thread comes to the end
        self._thread.join()
        os.close(self._source)

    def _read(self) -> None:
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        pending = ""
        while chunk := _read(self._source):
            *lines, pending = (pending + decode(chunk)).split("\n")
            self._keep(lines)
            self._draw(_undrawn(pending))
        self._keep([pending])
        self._draw("")

    def _keep(self, lines: Sequence[str]) -> None:
        self.lines += [text for line in lines if (text := _undrawn(line).strip())]

    def _draw(self, line: str) -> None:
        if self._show:
            sys.stderr.write("\r" + line.ljust(self._columns - 1) + ("" if line else "\r"))
            sys.stderr.flush()


def _undrawn(line: str) -> str:
    """What is left of a line that was wiped."""
    return line.rpartition(WIPE)[2]


def _read(source: int) -> bytes:
    try:
        return os.read(source, 65536)
    except OSError:  # the other side of a terminal is closed
        return b""


def _set_up_terminal(end: int, columns: int) -> None:
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    modes = termios.tcgetattr(end)
    modes[1] &= ~termios.OPOST  # lines end as they were written
    termios.tcsetattr(end, termios.TCSANOW, modes)
