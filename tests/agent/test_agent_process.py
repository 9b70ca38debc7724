"""The agent as a process, run in this one: its exit code, its log, its error lines."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
import structlog
import trio
from rookery.agent.agent import StartError
from rookery.agent.agent_process import leaf_errors, run_process
from rookery.agent.settings import DEV_MODE, AgentSettings
from rookery.agent.settings_sources import SettingsError

PORTS = msgspec.structs.replace(DEV_MODE.ports, http=0, rpc=0, serf=0)
SETTINGS = msgspec.structs.replace(DEV_MODE, name="a", ports=PORTS)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe for the log; structlog and SIGPIPE are put back afterwards."""
    before = signal.getsignal(signal.SIGPIPE)
    yield os.pipe()
    structlog.reset_defaults()
    signal.signal(signal.SIGPIPE, before)


def run(pipe: tuple[int, int], behaviour: Any, load: Any = lambda: SETTINGS) -> tuple[int, str]:
    """Run an agent whose frontend behaves so; return the exit code and the log."""
    reading, writing = pipe

    async def frontend(
        service: Any,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[object],
    ) -> None:
        task_status.started()
        behaviour()
        await trio.sleep_forever()

    exit_code = run_process(load, lambda settings: frontend, descriptor=writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        return exit_code, file.read()


def interrupt() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def test_signal_ends_the_agent(pipe: tuple[int, int]) -> None:
    """Without leave_on_interrupt the exit code is 1, and the log says what happened."""
    exit_code, log = run(pipe, interrupt)
    assert exit_code == 1
    assert "signal_caught: signal=SIGINT" in log
    assert 'stopping: how="at once"' in log


def test_interrupt_leaves_when_configured(pipe: tuple[int, int]) -> None:
    """With leave_on_interrupt the agent leaves, and the exit code is 0."""
    settings = msgspec.structs.replace(SETTINGS, leave_on_interrupt=True)
    exit_code, log = run(pipe, interrupt, lambda: settings)
    assert exit_code == 0
    assert "agent: left" in log


def test_signals_are_put_back(pipe: tuple[int, int]) -> None:
    """Afterwards Ctrl-C is Python's again."""
    run(pipe, interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_unexpected_error_is_logged_with_its_cause(
    pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug ends the agent with 1; the log has the cause, not a group of groups."""

    def fail() -> None:
        raise LookupError("bug")

    exit_code, log = run(pipe, fail)
    assert exit_code == 1
    assert '[ERROR] agent: agent_failed: cause="LookupError: bug"' in log
    assert "  | Traceback (most recent call last):" in log
    assert capsys.readouterr().err == ""


def test_error_the_user_can_mend_is_one_line(
    pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for a join that failed at the start."""

    def fail() -> None:
        raise StartError("Error joining: nobody there")

    exit_code, log = run(pipe, fail)
    assert exit_code == 1
    assert "Traceback" not in log
    assert capsys.readouterr().err == "Error joining: nobody there\n"


def test_bad_settings_are_one_line(
    pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started, nothing logged."""

    def load() -> AgentSettings:
        raise SettingsError("-region: bad")

    assert run(pipe, interrupt, load) == (1, "")
    assert capsys.readouterr().err == "-region: bad\n"


def test_groups_are_taken_apart() -> None:
    """Every single error comes out, however deep."""
    one, two, three = ValueError("1"), KeyError("2"), RuntimeError("3")
    group = ExceptionGroup("a", [one, ExceptionGroup("b", [two, ExceptionGroup("c", [three])])])
    assert list(leaf_errors(group)) == [one, two, three]
    assert list(leaf_errors(one)) == [one]
