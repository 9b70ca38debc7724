"""The configuration an agent shows of itself."""

from __future__ import annotations

import json

import msgspec
from rookery.agent.secret import Secret
from rookery.agent.self_config import config_document
from rookery.agent.settings import DEV_MODE, Duration, Gossip, Server, ServerJoin

ADDRESSES = {"HTTP": "127.0.0.1", "RPC": "127.0.0.1", "Serf": "127.0.0.1"}
KEY = "cg8StVXbQJ0gPvMd9o7yrg=="


def test_dev_mode_shows_nomads_values() -> None:
    """The parts that exist have Nomad's key names and -dev values."""
    document = config_document(DEV_MODE, addresses=ADDRESSES, advertised={})
    assert document["BindAddr"] == "127.0.0.1"
    assert document["DataDir"] == ""
    assert document["Datacenter"] == "dc1"
    assert document["DevMode"] is True
    assert document["EnableDebug"] is True
    assert document["Files"] is None
    assert document["HTTPAPIResponseHeaders"] == {}
    assert (document["LeaveOnInt"], document["LeaveOnTerm"]) == (False, False)
    assert document["Limits"] == {
        "HTTPMaxConnsPerClient": 100,
        "HTTPSHandshakeTimeout": "5s",
        "RPCHandshakeTimeout": "5s",
        "RPCMaxConnsPerClient": 100,
    }
    assert (document["LogJson"], document["LogLevel"]) == (False, "DEBUG")
    assert document["NodeName"] == ""
    assert document["Ports"] == {"HTTP": 4646, "RPC": 4647, "Serf": 4648}
    assert document["Region"] == "global"
    assert document["Server"]["BootstrapExpect"] == 1
    assert document["Server"]["ServerJoin"] == {
        "RetryInterval": 30_000_000_000,
        "RetryJoin": [],
        "RetryMaxAttempts": 0,
        "StartJoin": None,
    }
    assert document["Version"]["Version"] == "1.2.6"
    assert not {"Consul", "Vault"} & set(document), "Nomad's debug command would contact them"


def test_durations_are_nanoseconds() -> None:
    """Durations outside Limits are integers."""
    gossip = Gossip(dead_node_reclaim_time=Duration(1.5))
    join = Server(enabled=True, server_join=ServerJoin(retry_interval=Duration(0.1)))
    settings = msgspec.structs.replace(DEV_MODE, gossip=gossip, server=join)
    document = config_document(settings, addresses={}, advertised={})
    assert document["Gossip"]["DeadNodeReclaimTime"] == 1_500_000_000
    assert document["Server"]["ServerJoin"]["RetryInterval"] == 100_000_000


def test_gossip_key_is_not_shown_in_any_form() -> None:
    """Neither the key nor a word that there is one."""
    server = Server(enabled=True, encrypt=Secret(KEY))
    document = config_document(
        msgspec.structs.replace(DEV_MODE, server=server), addresses={}, advertised={}
    )
    text = json.dumps(document)
    assert KEY not in text
    assert "ncrypt" not in text
    assert "redacted" not in text
