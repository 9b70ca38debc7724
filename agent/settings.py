"""The agent's settings: every option, its type, its default and its meaning.

A settings file's sections are the structs here and its keys their fields, so this module is the
reference of what may be written in one (the names are Nomad's, public API:
`command/agent/config.go`; the section `gossip` is ours). Where values come from and how they are
merged is `settings_files.py`; which addresses follow from them is `addresses.py`.

A duration is written with its unit (`30s`, `1m30s`) and read as a `Duration`, float seconds. A key
or token is a `Secret`. Structs are frozen: a changed setting is a new struct.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .secret import Secret

HTTP_PORT_DEFAULT = 4646
RPC_PORT_DEFAULT = 4647
SERF_PORT_DEFAULT = 4648

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")


class Duration(float):
    """Seconds that are written with their unit in files and flags."""


Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's ports. 0 lets the system choose a free one; the choice is logged at start."""

    http: Port = HTTP_PORT_DEFAULT
    """TCP port of the HTTP API."""

    rpc: Port = RPC_PORT_DEFAULT
    """TCP port that other servers reach this one at; members see it in the `port` tag."""

    serf: Port = SERF_PORT_DEFAULT
    """Gossip port, UDP and TCP alike; also the default port of addresses to join."""


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses to bind, without ports. An empty one means `bind_addr`."""

    http: str = ""
    """HTTP listeners; several are separated by spaces."""

    rpc: str = ""
    """RPC listener."""

    serf: str = ""
    """Gossip, UDP and TCP."""


class Advertise(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses told to others, each with or without a port.

    Empty means the bind address if others can reach it, else the first private address of this
    host. A loopback address is advertised only when it is written here, or in dev mode.
    """

    http: str = ""
    """Where the HTTP API is to be reached."""

    rpc: str = ""
    """Where servers reach this one; the `rpc_addr` tag is its host part."""

    serf: str = ""
    """Where members send gossip."""


class ServerJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Which pools to join at start. `start_join` and `retry_join` exclude each other."""

    start_join: tuple[str, ...] = ()
    """Addresses joined once, before the agent is ready. When none can be joined the agent exits."""

    retry_join: tuple[str, ...] = ()
    """Addresses joined in the background, again and again until one attempt succeeds."""

    retry_interval: Duration = Duration(30.0)
    """Wait between two attempts of `retry_join`. Shorter finds a late seed sooner and logs more."""

    retry_max: Count = 0
    """Attempts of `retry_join` after which the agent exits with code 1; 0 never gives up."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The server role: a member of the gossip pool."""

    enabled: bool = False
    """Whether this agent is a server. On in dev mode."""

    bootstrap_expect: Count = 0
    """How many servers of a region elect the first leader together: 1 elects itself, N waits for N,
    0 waits to be told. 1 in dev mode. Members see it in the tags `bootstrap` and `expect`."""

    encrypt: Secret = Secret()
    """Gossip key, base64 of 16, 24 or 32 bytes. Written to the keyring file at the first start;
    from then on the file counts. Empty: gossip is not encrypted."""

    server_join: ServerJoin = ServerJoin()
    """Which pools to join at start."""

    rejoin_after_leave: bool = False
    """Whether a start after a graceful leave looks for the members known then. Without it only an
    agent that was stopped otherwise (killed, crashed, host restarted) rejoins by itself."""

    start_join: tuple[str, ...] = ()
    """Deprecated form of `server_join.start_join`; mixing both forms is an error."""

    retry_join: tuple[str, ...] = ()
    """Deprecated form of `server_join.retry_join`."""

    retry_interval: Duration = Duration(0.0)
    """Deprecated form of `server_join.retry_interval`; 0 means not given."""

    retry_max: Count = 0
    """Deprecated form of `server_join.retry_max`."""

    @property
    def has_deprecated_join(self) -> bool:
        """Whether any of the deprecated forms was used."""
        return bool(self.start_join or self.retry_join or self.retry_interval or self.retry_max)

    @property
    def join(self) -> ServerJoin:
        """What to join at start, whichever form it was written in."""
        if not self.has_deprecated_join:
            return self.server_join
        return ServerJoin(
            start_join=self.start_join,
            retry_join=self.retry_join,
            retry_interval=self.retry_interval or self.server_join.retry_interval,
            retry_max=self.retry_max,
        )


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """The client role. So far it goes with the server role only, on the same agent."""

    enabled: bool = False
    """Whether this agent is a client. On in dev mode."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one remote side may take of this agent."""

    http_max_conns_per_client: int = 100
    """Open HTTP connections from one IP address; 0 sets no limit."""

    https_handshake_timeout: Duration = Duration(5.0)
    """Longest TLS handshake of an HTTP connection; 0 sets no limit."""

    rpc_max_conns_per_client: int = 100
    """Open RPC connections from one IP address; 0 sets no limit, else it must be over 25, for
    streams share the allowance with plain calls."""

    rpc_handshake_timeout: Duration = Duration(5.0)
    """Longest wait for the first byte of an RPC connection; 0 sets no limit."""


class Gossip(msgspec.Struct, frozen=True, kw_only=True):
    """The gossip pool. This section is rookery's own; Nomad has nothing of it."""

    profile: Literal["lan", "wan", "local"] = "lan"
    """Timing of probes, suspicion and gossip: `lan` finds a dead member in a few seconds, `wan`
    (what Nomad uses) in about forty, `local` in under two. Should be the same on every member."""

    label: str = ""
    """Separates pools: packets of another label are refused. At most 255 bytes of UTF-8; the same
    on every member, and empty in a pool with agents older than memberlist 0.3."""

    compression: bool = True
    """Whether packets and streams are compressed when that makes them shorter. Peers need not
    agree: both kinds are always understood."""

    dead_node_reclaim_time: Duration = Duration(0.0)
    """After a member was failed or had left for so long, another address may take its name. 0 never
    lets it: the old address must come back, or the member be reaped first."""

    admit: Literal["any", "servers"] = "any"
    """Whom a join accepts: `any` member, or only `servers`, as Nomad does, which refuses plain Serf
    agents."""

    reconnect_interval: Duration = Duration(30.0)
    """Time between tries to reach somebody who is missing: failed members, and those of earlier
    pools. Shorter finds them sooner after a partition; each try is a TCP connection."""

    reconnect_timeout: Duration = Duration(72 * 3600.0)
    """How long a failed member stays listed before it is reaped. Longer keeps its name and address
    reserved for its return (plain Serf agents reap after 24h)."""

    tombstone_timeout: Duration = Duration(24 * 3600.0)
    """How long a member that left stays listed, so that old gossip about it is recognised. Too
    short, and a slow member may bring it back as failed."""

    tags: dict[str, str] = {}
    """Tags of this agent besides those it needs itself (`role`, `region`, …, which are refused
    here). All tags together take at most 512 bytes. Read again on SIGHUP."""

    resolve_conflicts: bool = True
    """Whether the pool votes when another node claims this agent's name at another address; who
    loses exits with code 3. Nomad does not vote; there both stay, and the name flaps."""

    query_responses: dict[str, str] = {}
    """What to answer to queries, by the query's name; `*` stands for all names not written here.
    Each at most 16 KiB; above some 900 bytes an answer costs a TCP connection. `rookery.info` is
    answered by default. Read again on SIGHUP."""

    user_event_size_limit: Annotated[int, msgspec.Meta(ge=1, le=9216)] = 512
    """Bytes of a user event that is fired here, name and payload. Members with a lower limit take
    larger ones all the same, but only what fits a packet (some 1300 bytes) arrives."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one agent, as merged from defaults, files and flags."""

    name: str = ""
    """Node name; empty means the host's. The gossip member is called `<name>.<region>`."""

    region: str = "global"
    """Region, the part of the world whose servers elect one leader. No NUL."""

    datacenter: str = "dc1"
    """Datacenter within the region. No NUL."""

    data_dir: str = ""
    """Absolute path of the directory for state: keyring, node id. Required outside dev mode; in dev
    mode nothing is ever written to disk."""

    bind_addr: str = "0.0.0.0"
    """Address that every listener binds unless `addresses` says otherwise; `127.0.0.1` in dev
    mode. May be a template such as `{{ GetPrivateIP }}`."""

    ports: Ports = Ports()
    addresses: Addresses = Addresses()
    advertise: Advertise = Advertise()

    log_level: str = "INFO"
    """`TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`, in any case. `DEBUG` in dev mode."""

    log_json: bool = False
    """Whether log lines are JSON objects."""

    leave_on_interrupt: bool = False
    """Whether SIGINT makes the agent leave the pool gracefully (others list it as left). Without it
    the agent ends at once and others find out by probing (they list it as failed)."""

    leave_on_terminate: bool = False
    """The same for SIGTERM."""

    enable_debug: bool = False
    """Whether host data and profiles are served when ACLs are off. On in dev mode."""

    http_api_response_headers: dict[str, str] = {}
    """Headers added to every answer under /v1."""

    server: Server = Server()
    client: Client = Client()
    limits: Limits = Limits()
    gossip: Gossip = Gossip()

    dev_mode: bool = False
    """Whether `-dev` was given. Not a key of files."""

    files: tuple[str, ...] = ()
    """The files that were loaded, in order. Not a key of files."""


NOT_IN_FILES = frozenset({"dev_mode", "files"})
"""Fields of `AgentSettings` that the loader fills in; as keys of a file they are unknown."""

DEV_MODE = AgentSettings(
    bind_addr="127.0.0.1",
    log_level="DEBUG",
    enable_debug=True,
    server=Server(enabled=True, bootstrap_expect=1),
    client=Client(enabled=True),
    dev_mode=True,
)
"""What `-dev` starts from in place of the defaults; files and flags are merged over it."""
