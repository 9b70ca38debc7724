"""The recorded vectors, as test parameters, and codecs set as their senders were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from rookery.gossip.wire.keyring import Keyring
from rookery.gossip.wire.packets import PacketCodec
from rookery.gossip.wire.streams import StreamCodec

VECTORS = Path(__file__).parents[1] / "vectors"
SIDES = ("client_to_server", "server_to_client")


class Recorded(NamedTuple):
    """One recorded thing with what surrounds it; the name is the test's id."""

    name: str
    document: dict[str, Any]
    vector: dict[str, Any]
    """A datagram, one direction of a stream, or a bare message."""
    side: str = ""

    @property
    def is_from_agent(self) -> bool:
        """Whether a Go agent wrote it, so that our bytes must equal its bytes."""
        if not self.side:
            return bool(self.vector["sender"] == "agent")
        return (self.vector["client"] == "agent") == (self.side == "client_to_server")


def load(name: str) -> Any:
    """Read one vector file."""
    return json.loads((VECTORS / name).read_text())


def _documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.stem, document)
        for path in sorted(VECTORS.glob("*.json"))
        if "vectors" in (document := json.loads(path.read_text()))
    ]


DATAGRAMS = [
    Recorded(f"{stem}/{vector['id']}", document, vector)
    for stem, document in _documents()
    for vector in document["vectors"]
    if vector["transport"] == "udp"
]

STREAMS = [
    Recorded(f"{stem}/{vector['id']}/{side}", document, vector, side)
    for stem, document in _documents()
    for vector in document["vectors"]
    if vector["transport"] == "tcp"
    for side in SIDES
    if vector[side].get("stream")
]

MESSAGES = [
    Recorded(f"{recorded.name}/{number}", recorded.document, message | {"sender": "agent"})
    for recorded in DATAGRAMS
    if recorded.is_from_agent
    for number, message in enumerate(recorded.vector["messages"])
]
"""Bare messages of agents' datagrams."""

REACTIONS = load("reactions.json")["packets"]


def layer(layers: list[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    """Return the layer of this kind, if there is one."""
    return next((layer for layer in layers if layer["layer"] == kind), None)


def _settings(document: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "label": document.get("label", "").encode(),
        "compression": layer(layers, "compression") is not None,
        "nonce": _no_nonce,
    }
    sealed = layer(layers, "encryption")
    if sealed is not None:
        # All keys that were in play, with the one that was used as the primary.
        keys = [bytes.fromhex(key["hex"]) for key in document["keys"]]
        settings["keyring"] = Keyring(keys, primary=bytes.fromhex(sealed["key"]))
        settings["encryption_version"] = sealed["version"]
        settings["nonce"] = lambda size: bytes.fromhex(sealed["nonce"])
    return settings


def _no_nonce(size: int) -> bytes:
    raise AssertionError("nothing is to be encrypted")


def packet_codec(recorded: Recorded) -> PacketCodec:
    """Return a codec with the sender's settings and the recorded nonce."""
    return PacketCodec(**_settings(recorded.document, recorded.vector["layers"]))


def stream_codec(recorded: Recorded) -> StreamCodec:
    """Return a codec with the sender's settings and the recorded nonce."""
    layers = recorded.vector[recorded.side]["layers"]
    return StreamCodec(**_settings(recorded.document, layers))
