"""The agent's log: levels, one way out, and two guards against too much of it.

Everybody logs through structlog with an event name and keys (`structlog.get_logger("gossip")` names
the logger); `configure_logs` decides here what becomes of it. A line is formatted at once and
handed to a thread that writes it, because a terminal that is scrolled, a full disk or a pipe nobody
reads can hold a write up for ever, and an agent that waits is declared dead by its peers. The
thread's queue is bounded: beyond `LINES_WAITING_MAX` lines are dropped, and a line says how many
once there is room.

The second guard is against saying the same thing too often: of one warning or error (same logger,
same event) at most `REPEATS_MAX` lines are written in `REPEATS_WINDOW` seconds, and the next one
afterwards says how many were held back. Other levels are not held back: what happens to a thousand
members is a thousand pieces of news.

The level can be changed while the agent runs (SIGHUP).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from .log_lines import LEVEL_NUMBERS, format_json, format_line

LINES_WAITING_MAX = 4096
"""Lines kept for a slow reader, about a megabyte. A burst of a thousand members joining fits."""

CLOSE_SECONDS_MAX = 1.0
"""How long the last lines may take at the end. A reader that takes none must not keep us from
ending."""

REPEATS_MAX = 20
"""Lines of one warning or error in a window: enough to see what it is about and from whom."""

REPEATS_WINDOW = 10.0
"""Seconds. Two lines a second on average can be left unread for a day without filling a disk."""

REPEATS_NAMES_MAX = 1024
"""Different events watched at once. Names are written in our code, so this is never reached; it
keeps a mistake (a name built from a peer's data) from growing the table."""

Clock = Callable[[], float]


class Repeats:
    """Counts equal lines, and says which to hold back. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def held_back(self, logger: str, event: str, now: float) -> int | None:
        """Count a line; return None to hold it back, else how many like it were held back."""
        if len(self._windows) > REPEATS_NAMES_MAX:
            self._windows.clear()
        started, count = self._windows.get((logger, event), (now, 0))
        before = 0
        if now - started >= REPEATS_WINDOW:
            before, started, count = max(0, count - REPEATS_MAX), now, 0
        self._windows[logger, event] = (started, count + 1)
        return before if count < REPEATS_MAX else None


class LogOutput:
    """Where lines go, from which level on, in which form.

    Attributes:
        threshold: Number of the lowest level written.
        dropped: Lines dropped since the start because their reader was too slow.
        unwritten: Lines lost since the start to errors of the file descriptor (disk full, pipe
        closed).
    """

    def __init__(
        self,
        descriptor: int,
        *,
        level: str,
        is_json: bool = False,
        wall_clock: Clock = time.time,
        monotonic_clock: Clock = time.monotonic,
    ) -> None:
        """Start writing to a file descriptor, which stays the caller's to close."""
        self.threshold = LEVEL_NUMBERS[level]
        self.dropped = 0
        self.unwritten = 0
        self._descriptor = descriptor
        self._format = format_json if is_json else format_line
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._repeats = Repeats()
        self._waiting: queue.Queue[str | None] = queue.Queue(LINES_WAITING_MAX)
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def set_level(self, level: str) -> None:
        """Change the lowest level written."""
        self.threshold = LEVEL_NUMBERS[level]

    def log(self, level: str, logger: str, event: str, fields: dict[str, Any]) -> None:
        """Write one line, unless there are too many of its kind or nobody reads them."""
        if LEVEL_NUMBERS[level] >= LEVEL_NUMBERS["warn"]:
            before = self._repeats.held_back(logger, event, self._monotonic_clock())
            if before is None:
                return
            if before:
                fields = {**fields, "held_back": before}
        self._enqueue(self._format(level, logger, event, fields, self._wall_clock()))

    def _enqueue(self, line: str) -> None:
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, at most for `CLOSE_SECONDS_MAX`, and stop."""
        deadline = self._monotonic_clock() + CLOSE_SECONDS_MAX
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS_MAX)
        except queue.Full:
            return  # nobody reads; the thread is a daemon and ends with the process
        self._thread.join(max(0.0, deadline - self._monotonic_clock()))

    def _write_lines(self) -> None:
        """Write lines until told to stop. Runs in the thread."""
        told = 0
        while (line := self._waiting.get()) is not None:
            if self.dropped > told:
                count, told = self.dropped - told, self.dropped
                fields = {"count": count}
                line += self._format(
                    "warn", "agent", "log_lines_dropped", fields, self._wall_clock()
                )
            data = line.encode("utf-8", "backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.unwritten += 1


class _Named:
    """What structlog calls a logger: a name, and where its lines go."""

    def __init__(self, output: LogOutput, name: str = "agent") -> None:
        self.output = output
        self.name = name


class AgentLogger(structlog.BoundLoggerBase):
    """The methods that everybody calls: `logger.info("member_joined", name=…)`."""

    _logger: _Named

    def trace(self, event: str, **fields: Any) -> None:
        self._log("trace", event, fields)

    def debug(self, event: str, **fields: Any) -> None:
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log("warn", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._log("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        self._log("error", event, {"exc_info": True, **fields})

    def log(self, level: str, event: str, **fields: Any) -> None:
        """Log at a level given by name."""
        self._log({"warning": "warn", "critical": "error"}.get(level, level), event, fields)

    warn = warning
    critical = error

    def _log(self, level: str, event: str, fields: dict[str, Any]) -> None:
        output = self._logger.output
        if LEVEL_NUMBERS[level] < output.threshold:
            return
        merged = {**self._context, **fields}
        name = str(merged.pop("logger", self._logger.name))
        _explain_exception(merged)
        output.log(level, name, event, merged)


def _explain_exception(fields: dict[str, Any]) -> None:
    """Turn structlog's `exc_info` (True, an exception, or a triple) into the exception itself."""
    given = fields.pop("exc_info", None)
    if given is True:
        import sys

        given = sys.exc_info()[1]
    elif isinstance(given, tuple):
        given = given[1]
    if given is not None and given is not False:
        fields["traceback"] = given


def configure_logs(output: LogOutput) -> None:
    """Send everything that is logged through structlog in this process to `output`."""
    structlog.configure(
        processors=[],
        wrapper_class=AgentLogger,
        logger_factory=lambda *names: _Named(output, *names[:1]),
        context_class=dict,
        # Loggers are module globals, made before this runs, and tests configure more than once.
        cache_logger_on_first_use=False,
    )
