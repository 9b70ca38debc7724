"""What merged settings must satisfy before anything starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rookery.agent.settings import AgentSettings
from rookery.agent.settings_sources import SettingsError, Source

Load = Callable[..., AgentSettings]
SERVER = 'data_dir = "/d"\nserver { enabled = true }\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Must specify either server, client or dev mode for the agent."),
        ("client { enabled = true }", "client-only agents are not there yet"),
        (
            "server { enabled = true }",
            'Must specify "data_dir" config option or "data-dir" CLI flag',
        ),
        (
            'data_dir = "d/e"\nserver { enabled = true }',
            "data-dir must be given as an absolute path: got d/e",
        ),
        (SERVER + 'log_level = "LOUD"', "Invalid log level: 'LOUD'; write one of TRACE, DEBUG"),
        (SERVER + 'region = "a\\u0000"', "region contains a NUL"),
        (SERVER + 'datacenter = "a\\u0000"', "datacenter contains a NUL"),
        (SERVER + 'name = "a/b"', "write a name like web-1"),
        (SERVER + 'name = "a b"', "write a name like web-1"),
        (SERVER + f'gossip {{ label = "{"x" * 256}" }}', "longer than 255 bytes"),
        (SERVER + 'http_api_response_headers { A = "x\\ny" }', "no HTTP header"),
        (SERVER + 'http_api_response_headers = { "A B" = "x" }', "no HTTP header"),
        (
            SERVER + "limits { http_max_conns_per_client = -1 }",
            "http_max_conns_per_client must be >= 0",
        ),
        (
            SERVER + 'limits { https_handshake_timeout = "-1s" }',
            "https_handshake_timeout must be >= 0",
        ),
        (SERVER + "limits { rpc_max_conns_per_client = 25 }", "must be over 25"),
        (SERVER + 'gossip { dead_node_reclaim_time = "-1s" }', "must not be negative"),
        (SERVER + 'gossip { reconnect_interval = "-1s" }', "must be more than 0"),
        (SERVER + 'gossip { reconnect_timeout = "-1s" }', "must be more than 0"),
        (SERVER + 'gossip { tombstone_timeout = "-1s" }', "must be more than 0"),
        (SERVER + 'gossip { tags { dc = "x" } }', 'tag "dc" is the agent\'s own'),
        (SERVER + f'gossip {{ tags {{ a = "{"x" * 512}" }} }}', "513 bytes, but all tags"),
        (
            SERVER + f'gossip {{ query_responses {{ a = "{"x" * 16385}" }} }}',
            '"a" is answered by over 16384 bytes',
        ),
        (SERVER + 'gossip { query_responses { _serf_ping = "x" } }', "Serf's own query"),
        (SERVER + "gossip { user_event_size_limit = 9217 }", "from 1 to 9216"),
    ],
)
def test_settings_that_cannot_run_are_refused(load: Load, text: str, message: str) -> None:
    """Each fault has its line; texts Nomad has are kept."""
    with pytest.raises(SettingsError) as caught:
        load(text, dev=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'server { server_join { start_join = ["a"]\n retry_join = ["b"] } }',
            "exclude each other",
        ),
        (
            'server { start_join = ["a"]\n server_join { retry_join = ["b"] } }',
            "exclude each other",
        ),
        ('server { server_join { retry_join = ["provider=aws x=y"] } }', "not supported"),
        ('server { server_join { retry_interval = "-1s" } }', "must be more than 0"),
        ('server { encrypt = "AAAA" }', "Invalid encryption key: key size must be 16, 24 or 32"),
        ('server { encrypt = "%%%%" }', "Invalid encryption key: the key is not base64"),
    ],
)
def test_server_settings_that_cannot_run_are_refused(load: Load, text: str, message: str) -> None:
    """Joining and encryption are checked before anything starts."""
    with pytest.raises(SettingsError) as caught:
        load(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'log_level = "trace"',
        'log_level = "Warn"',
        f'gossip {{ label = "{"x" * 255}" }}',
        "limits { rpc_max_conns_per_client = 26 }",
        "limits { rpc_max_conns_per_client = 0 }",
        'http_api_response_headers { Access-Control-Allow-Origin = "*" }',
        'server { encrypt = "AAAAAAAAAAAAAAAAAAAAAA==" }',
    ],
)
def test_settings_at_the_limit_are_accepted(load: Load, text: str) -> None:
    """What is just allowed is allowed."""
    assert load(text).server.enabled


def test_fault_is_told_as_an_error_of_the_last_source_that_set_it(load: Load) -> None:
    """Of two files and a flag, the one to change is named."""
    with pytest.raises(SettingsError, match=r"file-1: line 1: log_level"):
        load('log_level = "INFO"', 'log_level = "x"')
    flags = Source("", {"log_level": "x"}, {("log_level",): "-log-level"})
    with pytest.raises(SettingsError, match=r"^-log-level: Invalid log level"):
        load('log_level = "INFO"', flags=flags)


def test_key_in_an_error_is_not_shown(load: Load) -> None:
    """An invalid key stays secret."""
    with pytest.raises(SettingsError) as caught:
        load('server { encrypt = "c2VjcmV0" }')
    assert "c2VjcmV0" not in str(caught.value)


def test_gossip_settings_at_their_limits_are_taken(load: Load) -> None:
    """One byte more is refused, see above."""
    text = (
        SERVER
        + f"""
    gossip {{
      tags {{ a = "{"x" * 511}" }}
      query_responses = {{ a = "{"x" * 16384}", "*" = "y" }}
      user_event_size_limit = 9216
      resolve_conflicts = false
      reconnect_interval = "1s"
    }}
    """
    )
    gossip = load(text, dev=False).gossip
    assert gossip.query_responses["*"] == "y"
    assert (gossip.resolve_conflicts, gossip.user_event_size_limit) == (False, 9216)
    assert gossip.reconnect_interval == 1.0
