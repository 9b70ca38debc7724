"""`rookery agent`: run an agent in the foreground.

Flags become one more source of settings, behind the files; each value keeps the flag it came from,
so an error names it. Flags are texts here whatever they mean: their types are those of the
settings, and are checked there, with the same words for files and flags.

This is also where the parts are put together: http/ is given to the agent as its frontend by name,
because the agent must not depend on it.
"""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from ..addresses import split_host_port
from ..settings_sources import KeyPath, SettingsError, Source, list_files
from .options import RookeryCommand, flag, option

if TYPE_CHECKING:
    from ..agent import Frontend
    from ..settings import AgentSettings

FRONTEND = "rookery.http.server:serve"
FRONTEND_SETTINGS = "rookery.http.settings:HttpSettings"

SETTING_OF_FLAG: Mapping[str, KeyPath] = {
    "server": ("server", "enabled"),
    "client": ("client", "enabled"),
    "node": ("name",),
    "region": ("region",),
    "dc": ("datacenter",),
    "data-dir": ("data_dir",),
    "bind": ("bind_addr",),
    "http-port": ("ports", "http"),
    "rpc-port": ("ports", "rpc"),
    "serf-port": ("ports", "serf"),
    "encrypt": ("server", "encrypt"),
    "bootstrap-expect": ("server", "bootstrap_expect"),
    "join": ("server", "server_join", "start_join"),
    "retry-join": ("server", "server_join", "retry_join"),
    "retry-interval": ("server", "server_join", "retry_interval"),
    "retry-max": ("server", "server_join", "retry_max"),
    "rejoin": ("server", "rejoin_after_leave"),
    "log-level": ("log_level",),
    "log-json": ("log_json",),
}
"""Which setting each flag sets. `-advertise` sets three, and is not here."""


@click.command(cls=RookeryCommand)
@flag("dev", "Both roles on 127.0.0.1, debug log, nothing written to disk. For trying things out.")
@option(
    "config",
    "Settings in HCL or JSON: a file, or a directory of *.hcl and *.json. Repeatable; later files"
    " win, flags win over files.",
    metavar="PATH",
    multiple=True,
)
@flag("server", "Be a server: a member of the gossip pool.")
@flag("client", "Be a client too.")
@option("node", "Node name. Default: the host's name.", metavar="NAME")
@option("region", "Region. Default: global.", metavar="NAME")
@option("dc", "Datacenter. Default: dc1.", metavar="NAME")
@option("data-dir", "Absolute path of the directory for state.", metavar="PATH")
@option("bind", "Address to bind. Default: 0.0.0.0, with -dev 127.0.0.1.", metavar="ADDRESS")
@option(
    "advertise",
    "Address others reach this agent at; a port counts for gossip. Default: the bound address, or"
    " the first private one of this host.",
    metavar="ADDRESS[:PORT]",
)
@option("http-port", "Port of the HTTP API, 0 for any free one. Default: 4646.", metavar="PORT")
@option("rpc-port", "Port for other servers, 0 for any free one. Default: 4647.", metavar="PORT")
@option("serf-port", "Gossip port, 0 for any free one. Default: 4648.", metavar="PORT")
@option("encrypt", "Gossip key: base64 of 16, 24 or 32 bytes.", metavar="KEY")
@option("bootstrap-expect", "How many servers elect the first leader together.", metavar="N")
@option(
    "join",
    "Address to join before the agent is ready; without success it exits. Repeatable.",
    metavar="ADDRESS",
    multiple=True,
)
@option(
    "retry-join",
    "Address to join in the background until it works. Repeatable.",
    metavar="ADDRESS",
    multiple=True,
)
@option("retry-interval", "Wait between attempts of -retry-join. Default: 30s.", metavar="TIME")
@option(
    "retry-max",
    "Attempts of -retry-join after which to exit. Default: 0, never.",
    metavar="N",
)
@flag("rejoin", "After a graceful leave, too, look for the members known then.")
@option("log-level", "TRACE, DEBUG, INFO, WARN or ERROR. Default: INFO.", metavar="LEVEL")
@flag("log-json", "Write the log as JSON.")
def agent(dev: bool | None, config: tuple[str, ...], **flags: Any) -> int:
    """Run an agent in the foreground.

    It is ready when it logs agent_ready with its addresses. Ctrl-C stops it.
    """
    from ..agent_process import run_process
    from ..settings_merging import load_settings

    try:
        source = flags_source(flags)
        for path in config:
            if not path or not list_files(path):
                click.echo(f'No configuration loaded from "{path}"', err=True)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    return run_process(lambda: load_settings(config, source, dev=bool(dev)), make_frontend)


def flags_source(flags: Mapping[str, Any]) -> Source:
    """Return the flags that were given as a source of settings.

    Args:
        flags: Values by the parameter's name; None or empty ones were not given.

    Raises:
        SettingsError: `-advertise` is no address.
    """
    values: dict[str, Any] = {}
    labels: dict[KeyPath, str] = {}
    for name, value in flags.items():
        flag_name = name.replace("_", "-")
        if value is None or value == ():
            continue
        for path, part in _settings_of(flag_name, value):
            section = values
            for key in path[:-1]:
                section = section.setdefault(key, {})
            section[path[-1]] = part
            labels[path] = f"-{flag_name}"
    return Source("", values, labels)


def _settings_of(flag_name: str, value: Any) -> list[tuple[KeyPath, Any]]:
    """Return what a flag sets: paths and values."""
    if flag_name != "advertise":
        return [(SETTING_OF_FLAG[flag_name], list(value) if isinstance(value, tuple) else value)]
    host, _ = split_host_port(value, "-advertise")
    return [
        (("advertise", "http"), host),
        (("advertise", "rpc"), host),
        (("advertise", "serf"), value),
    ]


def make_frontend(settings: AgentSettings) -> Frontend:
    """Return what answers HTTP: http/'s server with the limits of the settings."""
    from ..agent import DRAIN_SECONDS_MAX

    limits = pkgutil.resolve_name(FRONTEND_SETTINGS)(
        connections_per_client_max=settings.limits.http_max_conns_per_client,
        drain_timeout=DRAIN_SECONDS_MAX,
    )
    return cast("Frontend", functools.partial(pkgutil.resolve_name(FRONTEND), settings=limits))
