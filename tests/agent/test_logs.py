"""The log's way out: levels, one thread that writes, and what happens when there is too much."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from rookery.agent import logs
from rookery.agent.logs import (
    LINES_WAITING_MAX,
    REPEATS_MAX,
    REPEATS_NAMES_MAX,
    REPEATS_WINDOW,
    LogOutput,
    Repeats,
    configure_logs,
)


class Capture:
    """A pipe as the log's descriptor, and what came through it."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def read(self) -> list[str]:
        """Close the writing end and return the lines."""
        os.close(self.writing)
        with os.fdopen(self.reading, encoding="utf-8") as file:
            return file.read().splitlines()


@pytest.fixture
def capture() -> Iterator[Capture]:
    """A pipe to log into; structlog is put back afterwards."""
    yield Capture()
    structlog.reset_defaults()


@pytest.fixture
def configured(capture: Capture) -> Callable[..., LogOutput]:
    """Configure the log of this process to write into the pipe."""

    def configure(level: str = "info", **more: Any) -> LogOutput:
        output = LogOutput(capture.writing, level=level, wall_clock=lambda: 0.0, **more)
        configure_logs(output)
        return output

    return configure


def test_line_has_the_loggers_name_and_bound_keys(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """`get_logger` names the logger; bound keys come first."""
    output = configured()
    structlog.get_logger("gossip").bind(node="a").info("member_joined", name="b")
    output.close()
    (line,) = capture.read()
    assert line.endswith(" [INFO]  gossip: member_joined: node=a name=b")


def test_logger_made_before_the_configuration_follows_it(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """Module-level loggers exist before the agent configures anything."""
    early = structlog.get_logger("http")
    output = configured()
    early.warning("late")
    output.close()
    assert capture.read()[0].endswith("[WARN]  http: late")


def test_level_decides_what_is_written_and_can_change(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """Below the level nothing is written; SIGHUP changes it while running."""
    output = configured("warn")
    log = structlog.get_logger("a")
    for write in (log.trace, log.debug, log.info, log.warning, log.error):
        write("one")
    output.set_level("trace")
    for write in (log.trace, log.debug):
        write("two")
    log.log("warning", "three")
    output.close()
    levels = [line.split("[")[1].split("]")[0] for line in capture.read()]
    assert levels == ["WARN", "ERROR", "TRACE", "DEBUG", "WARN"]


def test_exception_is_logged_with_its_traceback(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """`exception`, `exc_info=error` and `exc_info=True` all show it."""
    output = configured()
    log = structlog.get_logger("a")
    try:
        raise ValueError("boom")  # noqa: TRY301
    except ValueError as error:
        log.exception("one")
        log.error("two", exc_info=error)  # noqa: TRY400
        log.error("three", exc_info=True)
    output.close()
    assert sum("ValueError: boom" in line for line in capture.read()) == 3


def test_json_is_written_when_asked_for(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """`log_json` gives one object a line."""
    output = configured(is_json=True)
    structlog.get_logger("a").info("b", c=1)
    output.close()
    (line,) = capture.read()
    record = json.loads(line)
    assert record.pop("@timestamp").startswith(("1970-01-01T", "1969-12-31T"))
    assert record == {"@level": "info", "@message": "b", "@module": "a", "c": 1}


def test_lines_are_dropped_and_counted_when_nobody_reads(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """A reader that stands still holds nobody up; afterwards the log says how many are missing."""
    output = configured()
    log = structlog.get_logger("a")
    fill(capture.writing)  # the thread's first write waits
    for number in range(LINES_WAITING_MAX + 100):
        log.info("line", number=number)
    # One line may be in the thread's hands besides those waiting.
    assert 99 <= output.dropped <= 100

    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(read_all(capture.reading)))
    reader.start()
    output.close()
    os.close(capture.writing)
    reader.join()
    assert any(
        line.endswith(f"[WARN]  agent: log_lines_dropped: count={output.dropped}") for line in lines
    )


def fill(descriptor: int) -> None:
    """Write into a pipe until it takes no more."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(descriptor, b"x" * 65536):
            pass
    os.set_blocking(descriptor, True)


def read_all(descriptor: int) -> list[str]:
    """Read a pipe to its end, less the bytes it was filled with."""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read().lstrip("x").splitlines()


def test_closing_does_not_wait_for_a_reader_that_stands_still(
    capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends even if its output is stuck."""
    monkeypatch.setattr(logs, "CLOSE_SECONDS_MAX", 0.01)
    fill(capture.writing)
    output = LogOutput(capture.writing, level="info")
    output.log("info", "a", "b", {})
    output.close()
    os.close(capture.reading)  # now the thread's write fails, and it ends


def test_closed_pipe_is_survived(configured: Callable[..., LogOutput], capture: Capture) -> None:
    """When the reader has gone, lines are lost and counted, and the agent goes on."""
    output = configured()
    os.close(capture.reading)
    structlog.get_logger("a").info("b")
    output.close()
    assert output.unwritten == 1
    os.close(capture.writing)


def test_repeated_warning_is_held_back_and_counted(
    capture: Capture, configured: Callable[..., LogOutput]
) -> None:
    """Of one warning so many lines come in a window; the next one says what was left out."""
    now = [0.0]
    output = configured(monotonic_clock=lambda: now[0])
    log = structlog.get_logger("a")
    for _ in range(REPEATS_MAX + 5):
        log.warning("w")
        log.info("i")
    log.warning("other")
    now[0] = REPEATS_WINDOW
    log.warning("w")
    log.warning("w")
    output.close()
    lines = capture.read()
    assert sum(": w" in line for line in lines) == REPEATS_MAX + 2
    assert sum(": i" in line for line in lines) == REPEATS_MAX + 5
    assert lines[-2].endswith(": w: held_back=5")
    assert lines[-1].endswith(": w")


def test_table_of_repeats_is_bounded() -> None:
    """Even if event names were made of a peer's data, memory would not grow."""
    repeats = Repeats()
    for number in range(REPEATS_NAMES_MAX * 3):
        repeats.held_back("a", str(number), 0.0)
    assert len(repeats._windows) <= REPEATS_NAMES_MAX + 1
