"""The `config` of the self document: the settings the agent runs with, as Nomad's API names them.

Keys are CamelCase and differ from those of files; durations are integer nanoseconds, but for the
two of `Limits`, which are texts (public API: the struct `Config` in Nomad's
`command/agent/config.go`). Only sections that this agent has are written; `Gossip` is ours. The
gossip key is never shown, not even as redacted.
"""

from __future__ import annotations

from typing import Any

from .durations import format_duration
from .settings import AgentSettings, ServerJoin
from .version import NOMAD_API_LEVEL


def config_document(
    settings: AgentSettings, *, addresses: dict[str, str], advertised: dict[str, str]
) -> dict[str, Any]:
    """Return the document.

    Args:
        settings: What was configured, with the ports that were chosen.
        addresses: What is bound, by `HTTP`, `RPC`, `Serf`; several HTTP ones separated by spaces.
        advertised: What others are told, with ports, by the same keys.
    """
    limits = settings.limits
    return {
        "Addresses": addresses,
        "AdvertiseAddrs": advertised,
        "BindAddr": settings.bind_addr,
        "Client": {"Enabled": settings.client.enabled},
        "DataDir": settings.data_dir,
        "Datacenter": settings.datacenter,
        "DevMode": settings.dev_mode,
        "EnableDebug": settings.enable_debug,
        "Files": list(settings.files) or None,
        "Gossip": {
            "Admit": settings.gossip.admit,
            "Compression": settings.gossip.compression,
            "DeadNodeReclaimTime": _nanoseconds(settings.gossip.dead_node_reclaim_time),
            "Label": settings.gossip.label,
            "Profile": settings.gossip.profile,
            "QueryResponses": dict(settings.gossip.query_responses),
            "ReconnectInterval": _nanoseconds(settings.gossip.reconnect_interval),
            "ReconnectTimeout": _nanoseconds(settings.gossip.reconnect_timeout),
            "ResolveConflicts": settings.gossip.resolve_conflicts,
            "Tags": dict(settings.gossip.tags),
            "TombstoneTimeout": _nanoseconds(settings.gossip.tombstone_timeout),
            "UserEventSizeLimit": settings.gossip.user_event_size_limit,
        },
        "HTTPAPIResponseHeaders": dict(settings.http_api_response_headers),
        "LeaveOnInt": settings.leave_on_interrupt,
        "LeaveOnTerm": settings.leave_on_terminate,
        "Limits": {
            "HTTPMaxConnsPerClient": limits.http_max_conns_per_client,
            "HTTPSHandshakeTimeout": format_duration(limits.https_handshake_timeout),
            "RPCHandshakeTimeout": format_duration(limits.rpc_handshake_timeout),
            "RPCMaxConnsPerClient": limits.rpc_max_conns_per_client,
        },
        "LogJson": settings.log_json,
        "LogLevel": settings.log_level,
        "NodeName": settings.name,
        "Ports": {
            "HTTP": settings.ports.http,
            "RPC": settings.ports.rpc,
            "Serf": settings.ports.serf,
        },
        "Region": settings.region,
        "Server": {
            "BootstrapExpect": settings.server.bootstrap_expect,
            "Enabled": settings.server.enabled,
            "RejoinAfterLeave": settings.server.rejoin_after_leave,
            "RetryInterval": _nanoseconds(settings.server.retry_interval),
            "RetryJoin": list(settings.server.retry_join),
            "RetryMaxAttempts": settings.server.retry_max,
            "ServerJoin": _join_document(settings.server.server_join),
            "StartJoin": list(settings.server.start_join),
        },
        "Version": {
            "Revision": "",
            "Version": NOMAD_API_LEVEL,
            "VersionMetadata": "",
            "VersionPrerelease": "",
        },
    }


def _join_document(join: ServerJoin) -> dict[str, Any]:
    return {
        "RetryInterval": _nanoseconds(join.retry_interval),
        "RetryJoin": list(join.retry_join),
        "RetryMaxAttempts": join.retry_max,
        "StartJoin": list(join.start_join) or None,
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
