"""The agent's task tree: start, ready, stop.

    settings -> addresses -> keyring, id, snapshot -> ports bound -> gossip pool -> HTTP ->
    start_join -> ready

    snapshot ⊃ pool, watching it ⊃ HTTP ⊃ joining at start, waiting for a stop

The innermost starts last and stops first: HTTP drains, then the leave is announced and given time
to travel, then the pool ends, then the snapshot is written to the disk. Ports are bound and files
read before the pool exists, so whatever is wrong with the settings ends the start before any other
member has heard of us.

How it ends decides the exit code (public API: `handleSignals` in Nomad's
`command/agent/command.go`):

- a graceful leave that finished: 0;
- a stop without leave, a leave that took over `LEAVE_SECONDS_MAX`, or a second request: 1;
- the pool voted that our name is another node's: `NAME_LOST_EXIT_CODE`;
- an error nobody expected: 1, with its cause in the log. Any task's failure ends the whole agent;
the
  exception groups that come of it are taken apart in `agent_process.py`, and nowhere else.

What it leaves out: signals, the log, the process (`agent_process.py`), and HTTP itself, which
arrives as a `Frontend`: http/ knows the agent and not the other way round.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog
import trio

from ..gossip.pool import JoinResult, Pool
from ..gossip.pool_settings import PoolSettings
from ..gossip.serf.snapshot import Remembered
from ..gossip.serf.tags import TagsTooLarge
from ..gossip.transport import BindError
from ..gossip.wire.keyring import Keyring
from .addresses import AgentAddresses, HostInterfaces, Interfaces, find_addresses, join_host_port
from .data_dir_lock import data_dir_lock
from .durations import format_duration
from .event_ring import EventRing
from .keyring_file import load_keyring
from .listeners import bind_problem, open_http_listeners, reserve_rpc_port
from .nomad_guard import admission
from .own_tags import OwnTags
from .pool_watch import PoolWatch
from .query_responses import QueryResponses
from .reloading import take_over
from .self_config import config_document
from .server_id import load_server_id
from .server_tags import server_tags
from .service import AgentService, GossipUnavailable
from .settings import AgentSettings, Ports, ServerJoin
from .settings_sources import SettingsError
from .snapshot_file import SnapshotFile, load_snapshot, snapshot_path
from .version import NOMAD_API_LEVEL, VERSION

LEAVE_SECONDS_MAX = 5.0
"""How long a graceful leave may take; Nomad's limit. A leave in a pool that answers takes some two
seconds: the broadcasts, then one second for them to travel."""

NAME_LOST_EXIT_CODE = 3
"""Exit code of an agent whose name the pool knows by another address. A service manager should not
start it again (systemd: `RestartPreventExitStatus=3`): the name would be contested again. Other
codes have other meanings already: 1 is any other end, 2 is taken by interpreters and shells."""

DRAIN_SECONDS_MAX = 1.0
"""How long requests in progress may go on once the agent stops. Every answer but a join's takes
milliseconds, and who asked us to stop is waiting."""

NOMAD_VERSIONS = bytes((1, 5, 2, 2, 5, 4))
"""Lowest, highest, current protocol of memberlist, then of Serf: those of a Nomad 1.2 server. Serf
protocol 4 of 5 differs from the pool's own default in nothing we do; it is what members show."""


class StartError(Exception):
    """The agent cannot start or go on, for a reason that is nobody's bug; `str()` is one line."""


class StopKind(enum.Enum):
    """How the agent was asked to stop."""

    LEAVE = "leave"
    """Tell the pool, so that members list us as left."""

    AT_ONCE = "at once"
    """End; members find out by probing and list us as failed."""


class Frontend(Protocol):
    """What answers requests on the agent's HTTP listeners, until cancelled; `http.server.serve`."""

    async def __call__(
        self,
        service: AgentService,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[object],
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a running agent answers."""

    http: tuple[str, ...]
    """URLs, one a listener."""

    serf: str
    """The advertised gossip address, `host:port`."""

    rpc: str
    """The advertised RPC address, `host:port`."""


@dataclass(slots=True)
class _Bound:
    """Everything that was opened before the pool: sockets, and what follows from their ports."""

    pool: Pool
    watch: PoolWatch
    responses: QueryResponses
    snapshot: SnapshotFile | None
    listeners: list[trio.SocketListener]
    rpc: socket.socket
    addresses: AgentAddresses
    ports: Ports
    service: AgentService
    ready: Ready

    def close(self) -> None:
        self.rpc.close()
        for listener in self.listeners:
            listener.socket.close()


class Agent:
    """One agent. `run` it once; `stop` it from any task."""

    def __init__(
        self,
        settings: AgentSettings,
        frontend: Frontend,
        *,
        interfaces: Interfaces | None = None,
    ) -> None:
        self.settings = settings
        self._frontend = frontend
        self._interfaces = interfaces or HostInterfaces()
        self._log = structlog.get_logger("agent")
        self._stop_requested = trio.Event()
        self._stop_kind = StopKind.AT_ONCE
        self._forced = trio.CancelScope()
        self._is_name_lost = False
        self._bound: _Bound | None = None

    def stop(self, kind: StopKind) -> None:
        """Ask the agent to stop. A second request ends a stop in progress at once."""
        if self._stop_requested.is_set():
            self._forced.cancel()
            return
        self._stop_kind = kind
        self._stop_requested.set()

    async def run(self, *, task_status: trio.TaskStatus[Ready] = trio.TASK_STATUS_IGNORED) -> int:
        """Run until stopped; return the exit code.

        Raises:
            SettingsError: A setting is no good on this host; nothing was started.
            StartError: Joining at start failed.
        """
        exit_code = 1
        # A second request cancels everything from here on, and what was going to be 0 stays 1.
        with self._forced, data_dir_lock(self._server_directory()):
            bound = self._bound = await self._bind()
            try:
                async with trio.open_nursery() as snapshot_nursery:
                    if bound.snapshot is not None:
                        await snapshot_nursery.start(bound.snapshot.run)
                    exit_code = await self._run_pool(bound, task_status)
                    snapshot_nursery.cancel_scope.cancel()
            finally:
                bound.close()
        return exit_code

    async def _run_pool(self, bound: _Bound, task_status: trio.TaskStatus[Ready]) -> int:
        """Take part in the pool and serve until asked to stop; return the exit code."""
        async with trio.open_nursery() as nursery:
            await nursery.start(bound.watch.run)
            # `run` would bind too; it was done already, to learn the port.
            await nursery.start(bound.pool.run)
            await self._serve(bound, task_status)
            exit_code = await self._end(bound.pool)
            nursery.cancel_scope.cancel()
        return exit_code

    def reload(self, settings: AgentSettings, names: Iterable[str]) -> dict[str, str]:
        """Apply settings to the running agent; `self.settings` has them afterwards.

        Args:
            settings: As read again.
            names: Which of them to apply, of `reloading.RELOADABLE`.

        Returns:
            What could not be applied: setting to reason.
        """
        bound = self._bound
        if bound is None:
            return dict.fromkeys(names, "the agent is still starting")
        refused: dict[str, str] = {}
        applied = []
        for name in names:
            try:
                if name == "gossip.tags":
                    bound.service.reload_tags(settings.gossip.tags)
                elif name == "gossip.query_responses":
                    bound.responses.reload(settings.gossip.query_responses)
            except (ValueError, GossipUnavailable) as error:
                refused[name] = str(error)
            else:
                applied.append(name)
        self.settings = take_over(self.settings, settings, applied)
        bound.service.show_config(self._config(bound.addresses, bound.ports))
        return refused

    def _give_up_name(self) -> None:
        """Stop at once: a leave would be about the node that keeps the name."""
        self._is_name_lost = True
        if not self._stop_requested.is_set():
            self.stop(StopKind.AT_ONCE)

    # --- start ---------------------------------------------------------------------------------

    async def _bind(self) -> _Bound:
        """Open everything, in the order that fails fastest, and say what is where."""
        settings = self.settings
        addresses = find_addresses(settings, self._interfaces)
        server_directory = self._server_directory()
        loaded = load_keyring(server_directory, settings.server.encrypt)
        if loaded.warning:
            self._log.warning("keyring_file_wins", note=loaded.warning)
        server_id = load_server_id(server_directory)
        listeners = await open_http_listeners(addresses.http, settings.ports.http)
        opened: list[socket.socket | trio.socket.SocketType] = [one.socket for one in listeners]
        try:
            rpc = reserve_rpc_port(addresses.rpc, settings.ports.rpc)
            opened.append(rpc)
            told = addresses.advertise_rpc
            tags = server_tags(
                settings,
                server_id=server_id,
                rpc_host=told.host,
                rpc_port=told.port or rpc.getsockname()[1],
            )
            own_tags = OwnTags(tags, settings.gossip.tags)
            remembered, snapshot = self._open_snapshot(server_directory)
            pool_settings = self._pool_settings(addresses, own_tags, loaded.keyring, remembered)
            pool = Pool(pool_settings, snapshot=snapshot)
            _bind_pool(pool, addresses.serf, settings.ports.serf)
        except BaseException:
            for sock in opened:
                sock.close()
            raise
        ports = Ports(
            http=listeners[0].socket.getsockname()[1],
            rpc=rpc.getsockname()[1],
            serf=pool.address.port,
        )
        ready = Ready(
            http=tuple(f"http://{join_host_port(host, ports.http)}" for host in addresses.http),
            serf=addresses.advertise_serf.text(ports.serf),
            rpc=told.text(ports.rpc),
        )
        events = EventRing()
        responses = QueryResponses(self._info(), settings.gossip.query_responses)
        watch = PoolWatch(
            pool,
            events=events,
            responses=responses,
            keyring=loaded.keyring,
            server_directory=server_directory,
            give_up=self._give_up_name,
        )
        service = self._service(pool, addresses, ports, own_tags, events)
        return _Bound(
            pool, watch, responses, snapshot, listeners, rpc, addresses, ports, service, ready
        )

    def _server_directory(self) -> Path | None:
        """Return where state is kept; None in dev mode, which keeps none."""
        settings = self.settings
        return None if settings.dev_mode else Path(settings.data_dir) / "server"

    def _open_snapshot(
        self, server_directory: Path | None
    ) -> tuple[Remembered | None, SnapshotFile | None]:
        """Read what an earlier life has left, and prepare to leave the same; not in dev mode."""
        if server_directory is None:
            return None, None
        path = snapshot_path(server_directory)
        loaded = load_snapshot(path, rejoin_after_leave=self.settings.server.rejoin_after_leave)
        return loaded.remembered, SnapshotFile(path, loaded)

    def _info(self) -> dict[str, str]:
        """Return what the query `rookery.info` is answered by."""
        settings = self.settings
        return {
            "version": VERSION,
            "nomad_api": NOMAD_API_LEVEL,
            "node": node_name(settings),
            "region": settings.region,
            "datacenter": settings.datacenter,
        }

    def _pool_settings(
        self,
        addresses: AgentAddresses,
        tags: OwnTags,
        keyring: Keyring | None,
        remembered: Remembered | None,
    ) -> PoolSettings:
        settings = self.settings
        return PoolSettings(
            node_name=f"{node_name(settings)}.{settings.region}",
            bind=addresses.serf,
            port=settings.ports.serf,
            advertise=addresses.advertise_serf.host,
            advertise_port=addresses.advertise_serf.port,
            tags=tags.merged(),
            profile=settings.gossip.profile,
            overrides={"versions": NOMAD_VERSIONS},
            keyring=keyring,
            label=settings.gossip.label,
            compression=settings.gossip.compression,
            dead_node_reclaim_time=settings.gossip.dead_node_reclaim_time,
            admit=admission(settings),
            remembered=remembered,
            reconnect_interval=settings.gossip.reconnect_interval,
            reconnect_timeout=settings.gossip.reconnect_timeout,
            tombstone_timeout=settings.gossip.tombstone_timeout,
            user_event_size_limit=settings.gossip.user_event_size_limit,
            resolves_conflicts=settings.gossip.resolve_conflicts,
        )

    def _service(
        self,
        pool: Pool,
        addresses: AgentAddresses,
        ports: Ports,
        tags: OwnTags,
        events: EventRing,
    ) -> AgentService:
        """Return the service; `ports` are those that were chosen."""
        settings = self.settings
        return AgentService(
            node_name=node_name(settings),
            region=settings.region,
            datacenter=settings.datacenter,
            has_server=settings.server.enabled,
            has_client=settings.client.enabled,
            response_headers=settings.http_api_response_headers,
            pool=pool,
            tags=tags,
            events=events,
            config=self._config(addresses, ports),
        )

    def _config(self, addresses: AgentAddresses, ports: Ports) -> dict[str, Any]:
        """Return the settings we run with, as the API shows them."""
        return config_document(
            msgspec.structs.replace(self.settings, ports=ports),
            addresses={
                "HTTP": " ".join(addresses.http),
                "RPC": addresses.rpc,
                "Serf": addresses.serf,
            },
            advertised={
                "HTTP": addresses.advertise_http.text(ports.http),
                "RPC": addresses.advertise_rpc.text(ports.rpc),
                "Serf": addresses.advertise_serf.text(ports.serf),
            },
        )

    # --- run -----------------------------------------------------------------------------------

    async def _serve(self, bound: _Bound, task_status: trio.TaskStatus[Ready]) -> None:
        """Answer HTTP, join, and say that we are ready; returns when asked to stop, drained."""
        async with trio.open_nursery() as http_nursery:
            await http_nursery.start(self._frontend, bound.service, bound.listeners)
            http_nursery.start_soon(self._join_at_start, bound, task_status)
            await self._stop_requested.wait()
            self._log.info("stopping", how=self._stop_kind.value)
            http_nursery.cancel_scope.cancel()

    async def _join_at_start(self, bound: _Bound, task_status: trio.TaskStatus[Ready]) -> None:
        """Join as configured: once before we are ready, or again and again afterwards."""
        join = self.settings.server.join
        if join.start_join:
            result = await bound.service.join(join.start_join)
            self._log_join(result)
            if not result.joined:
                causes = "; ".join(error.message for error in result.errors)
                raise StartError(f"Error joining: {causes} (start_join, -join)")
        task_status.started(bound.ready)
        if join.retry_join:
            await self._retry_join(bound.service, join)

    async def _retry_join(self, service: AgentService, join: ServerJoin) -> None:
        """Join until one attempt succeeds."""
        attempts = 0
        while True:
            result = await service.join(join.retry_join)
            self._log_join(result)
            if result.joined:
                return
            attempts += 1
            if join.retry_max and attempts >= join.retry_max:
                raise StartError(
                    f"gave up joining {', '.join(join.retry_join)} after {attempts} attempts"
                    " (retry_max; 0 never gives up)"
                )
            self._log.warning("join_will_be_retried", wait=format_duration(join.retry_interval))
            await trio.sleep(join.retry_interval)

    def _log_join(self, result: JoinResult) -> None:
        for error in result.errors:
            self._log.warning("join_failed", address=error.address, error=error.message)
        if result.joined:
            self._log.info("joined", exchanges=result.joined)

    async def _end(self, pool: Pool) -> int:
        """Leave if asked to; return the exit code."""
        if self._is_name_lost:
            return NAME_LOST_EXIT_CODE
        if self._stop_kind is StopKind.AT_ONCE:
            return 1
        with trio.move_on_after(LEAVE_SECONDS_MAX) as limit:
            await pool.leave()
        if limit.cancelled_caught:
            self._log.error("leave_timed_out", after=format_duration(LEAVE_SECONDS_MAX))
            return 1
        self._log.info("left")
        return 0


def node_name(settings: AgentSettings) -> str:
    """Return the node's name: the configured one, or the host's."""
    return settings.name or socket.gethostname()


def _bind_pool(pool: Pool, host: str, port: int) -> None:
    """Bind the gossip port.

    Raises:
        SettingsError: It cannot be bound, or the settings do not fit the protocol.
    """
    try:
        pool.bind()
    except BindError as error:
        if isinstance(error.__cause__, OSError):
            raise bind_problem("serf", host, port, error.__cause__) from None
        raise SettingsError(f"serf: {error}") from None
    except TagsTooLarge as error:
        raise SettingsError(
            "region, datacenter, gossip.tags: too long to be told to members"
            f" ({error}); write shorter ones"
        ) from None
    except ValueError as error:
        raise SettingsError(f"gossip: {error}") from None
