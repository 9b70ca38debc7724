"""What no single source can know: whether the merged settings can run.

Each check yields where the value stands and one line about it; the line is told as an error of the
last source that set the value, so the reader knows which file or flag to change. Texts that Nomad
has for the same fault are kept (public API: `command/agent/command.go`, `readConfig` and
`isValidConfig`), with what to write instead behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..gossip.wire.limits import LABEL_SIZE_MAX, META_SIZE_MAX
from .own_tags import TagRefused, check_tag
from .query_responses import RESPONSE_SIZE_MAX
from .secret import Secret
from .settings import LOG_LEVELS, AgentSettings, Gossip, ServerJoin
from .settings_sources import KeyPath, SettingsError, Source

RPC_CONNECTIONS_MIN = 25
"""`rpc_max_conns_per_client` must be over this, or 0: long-lived streams share the allowance."""


def check(settings: AgentSettings, sources: Sequence[Source]) -> None:
    """Refuse settings that cannot run.

    Raises:
        SettingsError: The first thing wrong, told as an error of the last source that set it.
    """
    for path, problem in _problems(settings):
        for source in reversed(sources):
            if source.sets(path):
                raise source.error(path, problem)
        raise SettingsError(problem)


def _problems(settings: AgentSettings) -> Iterable[tuple[KeyPath, str]]:
    """Yield what is wrong: where the value stands, and one line about it."""
    server = settings.server
    if not server.enabled:
        if settings.client.enabled:
            yield (
                ("client", "enabled"),
                "client-only agents are not there yet; set server.enabled = true as well",
            )
        yield (
            ("server", "enabled"),
            "Must specify either server, client or dev mode for the agent."
            " Give -dev, or -server with -data-dir",
        )
    yield from _text_problems(settings)
    yield from _data_dir_problems(settings)
    yield from _join_problems(settings)
    yield from _limit_problems(settings)
    yield from _gossip_problems(settings.gossip)
    if server.encrypt and (problem := _key_problem(server.encrypt)):
        yield (("server", "encrypt"), f"Invalid encryption key: {problem}")


def _text_problems(settings: AgentSettings) -> Iterable[tuple[KeyPath, str]]:
    for name in ("region", "datacenter"):
        if "\0" in getattr(settings, name):
            yield ((name,), f"{name} contains a NUL; write plain text")
    if any(character in settings.name for character in "\0/ \t\r\n"):
        # "name/address" is how an address to join names the member expected there.
        yield (
            ("name",),
            f"{settings.name!r} has a slash, a blank or a NUL; write a name like web-1",
        )
    if settings.log_level.upper() not in LOG_LEVELS:
        choices = ", ".join(LOG_LEVELS)
        yield (("log_level",), f"Invalid log level: {settings.log_level!r}; write one of {choices}")
    if len(settings.gossip.label.encode()) > LABEL_SIZE_MAX:
        yield (("gossip", "label"), f"longer than {LABEL_SIZE_MAX} bytes; write a shorter one")
    for name, value in settings.http_api_response_headers.items():
        if not _is_header(name, value):
            problem = f"{name!r} is no HTTP header; use letters, digits and -, and one line of text"
            yield (("http_api_response_headers",), problem)


def _is_header(name: str, value: str) -> bool:
    """Whether a header can be sent: a token for a name, and no line break in the value."""
    is_token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_token and value.isprintable()


def _data_dir_problems(settings: AgentSettings) -> Iterable[tuple[KeyPath, str]]:
    if settings.dev_mode:
        return
    if not settings.data_dir:
        problem = 'Must specify "data_dir" config option or "data-dir" CLI flag'
        yield (("data_dir",), f"{problem}; write the absolute path of a directory for state")
    elif not settings.data_dir.startswith("/"):
        yield (
            ("data_dir",),
            f"data-dir must be given as an absolute path: got {settings.data_dir}",
        )


def _join_problems(settings: AgentSettings) -> Iterable[tuple[KeyPath, str]]:
    server, join = settings.server, settings.server.join
    at = ("server", "server_join")
    if server.has_deprecated_join and server.server_join != ServerJoin():
        yield (
            at,
            "server_join and the older server.start_join, server.retry_join, …"
            " exclude each other; keep server_join",
        )
    if join.start_join and join.retry_join:
        yield ((*at, "start_join"), "start_join and retry_join exclude each other; keep one")
    if join.retry_interval <= 0:
        yield ((*at, "retry_interval"), 'must be more than 0; write a time such as "30s"')
    for name in ("start_join", "retry_join"):
        for address in getattr(join, name):
            if address.startswith("provider="):
                problem = f"cloud discovery ({address[:40]!r}) is not supported; write addresses"
                yield ((*at, name), problem)


def _limit_problems(settings: AgentSettings) -> Iterable[tuple[KeyPath, str]]:
    limits = settings.limits
    for name in msgspec.structs.asdict(limits):
        if getattr(limits, name) < 0:
            yield (("limits", name), f"{name} must be >= 0; 0 sets no limit")
    if 0 < limits.rpc_max_conns_per_client <= RPC_CONNECTIONS_MIN:
        problem = f"must be over {RPC_CONNECTIONS_MIN}, or 0 for no limit"
        yield (("limits", "rpc_max_conns_per_client"), problem)


def _gossip_problems(gossip: Gossip) -> Iterable[tuple[KeyPath, str]]:
    if gossip.dead_node_reclaim_time < 0:
        yield (("gossip", "dead_node_reclaim_time"), 'must not be negative; "0s" switches it off')
    for name in ("reconnect_interval", "reconnect_timeout", "tombstone_timeout"):
        if getattr(gossip, name) <= 0:
            yield (("gossip", name), 'must be more than 0; write a time such as "30s"')
    for name in gossip.tags:
        try:
            check_tag(name)
        except TagRefused as error:
            yield (("gossip", "tags"), f"{error}; write another name")
    size = sum(_size(name) + _size(text) for name, text in gossip.tags.items())
    if size > META_SIZE_MAX:
        problem = (
            f"{size} bytes, but all tags together may have {META_SIZE_MAX}; write shorter ones"
        )
        yield (("gossip", "tags"), problem)
    for name, text in gossip.query_responses.items():
        if _size(text) > RESPONSE_SIZE_MAX:
            problem = f'"{name}" is answered by over {RESPONSE_SIZE_MAX} bytes; write less'
            yield (("gossip", "query_responses"), problem)
        if name.startswith("_serf_"):
            problem = f'"{name}" is Serf\'s own query, which is answered already; leave it out'
            yield (("gossip", "query_responses"), problem)


def _size(text: str) -> int:
    """Return a text's size in bytes; JSON may hold half characters, which are sent as `?`."""
    return len(text.encode("utf-8", "replace"))


def _key_problem(key: Secret) -> str:
    """Say what is wrong with a gossip key, without showing it; empty when nothing is."""
    # Imported here: it brings AES along, which only an agent with a key needs so early.
    from ..gossip.wire.keyring import KeyringError, from_base64

    try:
        from_base64(key.reveal())
    except KeyringError as error:
        return f"{error}; write base64 of 32 random bytes (head -c 32 /dev/urandom | base64)"
    return ""
