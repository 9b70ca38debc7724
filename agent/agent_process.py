"""The agent as a process: its log, its signals, its exit code.

`run_process` is what the command `rookery agent` calls. It opens the log, runs the task tree of
`agent.py` under trio, and turns whatever comes out into an exit code and, for errors that are the
user's to mend, one line on stderr without a traceback.

Signals, as Nomad has them: SIGINT and SIGTERM stop (gracefully if `leave_on_interrupt` or
`leave_on_terminate` says so), a second one of either stops at once; SIGHUP reads the settings again
and applies what can change while running (`reloading.py`); SIGPIPE is ignored.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import structlog
import trio

from .agent import Agent, Frontend, Ready, StartError, StopKind, node_name
from .logs import LogOutput, configure_logs
from .reloading import RELOADABLE, changed_settings
from .settings import AgentSettings
from .settings_sources import SettingsError
from .version import NOMAD_API_LEVEL, VERSION

EXPECTED_ERRORS = (SettingsError, StartError)
"""What users can mend: told in one line, without a traceback."""

LoadSettings = Callable[[], AgentSettings]


def run_process(
    load: LoadSettings, make_frontend: Callable[[AgentSettings], Frontend], *, descriptor: int = 1
) -> int:
    """Run an agent to its end; return the process's exit code.

    Args:
        load: Reads the settings: now, and again at every SIGHUP.
        make_frontend: Gives what answers HTTP.
        descriptor: Where the log goes; standard output by default, as with Nomad.
    """
    try:
        settings = load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    output = LogOutput(descriptor, level=settings.log_level.lower(), is_json=settings.log_json)
    configure_logs(output)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        agent = Agent(settings, make_frontend(settings))
        return trio.run(_supervise, agent, output, load, strict_exception_groups=True)
    except BaseException as error:
        _report(error)
        return 1
    finally:
        output.close()


async def _supervise(agent: Agent, output: LogOutput, load: LoadSettings) -> int:
    """Run the agent with its signals."""
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with trio.open_signal_receiver(*handled) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_handle_signals, signals, agent, output, load)
            exit_code = await agent.run(task_status=_Announcement(agent.settings, output))
            nursery.cancel_scope.cancel()
    return exit_code


async def _handle_signals(
    signals: AsyncIterator[int], agent: Agent, output: LogOutput, load: LoadSettings
) -> None:
    settings = agent.settings
    async for number in signals:
        log = structlog.get_logger("agent").bind(signal=signal.Signals(number).name)
        if number == signal.SIGHUP:
            await _reload(agent, output, load)
            continue
        log.info("signal_caught")
        is_leave = (
            settings.leave_on_interrupt if number == signal.SIGINT else settings.leave_on_terminate
        )
        agent.stop(StopKind.LEAVE if is_leave else StopKind.AT_ONCE)


async def _reload(agent: Agent, output: LogOutput, load: LoadSettings) -> None:
    """Read the settings again, apply what can be, and say what was and what was not."""
    log = structlog.get_logger("agent")
    try:
        # In a thread: parsing takes milliseconds, and a file may lie on a slow disk.
        new = await trio.to_thread.run_sync(load)
    except SettingsError as error:
        # The fault lies in a file, not in our stack, so no traceback.
        log.error("reload_refused", error=str(error), applied="nothing")  # noqa: TRY400
        return
    changed = changed_settings(agent.settings, new)
    wanted = [name for name in changed if name in RELOADABLE]
    refused = agent.reload(new, wanted)
    output.set_level(agent.settings.log_level.lower())
    for name, reason in refused.items():
        log.error("reload_refused", setting=name, error=reason)
    needs_restart = [name for name in changed if name not in RELOADABLE]
    # A warning where something was not applied: the new level may hide what is merely information.
    write = log.warning if needs_restart else log.info
    write(
        "reloaded",
        applied=[name for name in wanted if name not in refused],
        needs_restart=needs_restart,
    )


class _Announcement:
    """Says in one line that the agent is ready, and where it answers.

    Written whatever the log level is: scripts and people wait for it.
    """

    def __init__(self, settings: AgentSettings, output: LogOutput) -> None:
        self._settings = settings
        self._output = output

    def started(self, value: Ready | None = None) -> None:
        assert value is not None, "an agent is ready somewhere"
        settings = self._settings
        self._output.log(
            "info",
            "agent",
            "agent_ready",
            {
                "http": " ".join(value.http),
                "serf": value.serf,
                "rpc": value.rpc,
                "node": node_name(settings),
                "region": settings.region,
                "datacenter": settings.datacenter,
                "version": VERSION,
                "nomad_api": NOMAD_API_LEVEL,
            },
        )


def _report(error: BaseException) -> None:
    """Tell why the agent ended: in one line if the user can mend it, else in the log."""
    causes = list(leaf_errors(error))
    for cause in causes:
        if isinstance(cause, EXPECTED_ERRORS):
            sys.stderr.write(f"{cause}\n")
            return
    log = structlog.get_logger("agent")
    for cause in causes:
        if isinstance(cause, KeyboardInterrupt):
            log.info("interrupted")
        elif not isinstance(cause, trio.Cancelled):
            log.error("agent_failed", cause=f"{type(cause).__name__}: {cause}", exc_info=cause)


def leaf_errors(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in an exception group, however deep, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaf_errors(inner)
    else:
        yield error
