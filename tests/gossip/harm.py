"""What must never leave an engine: a check of raw packets and streams that knows no codec of ours.

The list is that of what kills, poisons or flaps real Go agents. The check reads plain, uncompressed
traffic by hand with msgpack alone, so that a mistake of our own codec cannot hide itself.
"""

from __future__ import annotations

from typing import Any

import msgpack

from .benches import split_packet

KEY_QUERIES = {b"_serf_install-key", b"_serf_use-key", b"_serf_remove-key"}
SERF_TYPES = {0, 1, 3, 4, 5, 9}
"""Serf's messages that may stand alone in a user message."""


def _unpack(data: bytes) -> dict[bytes, Any]:
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False)
    unpacker.feed(data)
    value = unpacker.unpack()
    assert isinstance(value, dict)
    return value


def check_packet(data: bytes) -> None:
    """Fail when a packet could harm a Go peer."""
    parts = split_packet(data)  # fails for an empty part
    assert 1 <= len(parts) <= 127
    for part in parts:
        check_message(part)


def check_message(part: bytes) -> None:
    """Fail when one bare message of a packet could harm a Go peer."""
    kind, body = part[0], part[1:]
    assert kind in (0, 1, 2, 3, 4, 5, 8, 11), f"type {kind}"
    if kind == 8:
        _check_serf(body)
        return
    fields = _unpack(body)
    if kind == 4:
        _check_node(fields, fields[b"Node"])
    elif kind in (3, 5):
        assert fields[b"Incarnation"] < 2**32 - 1
        assert len(fields[b"Node"]) > 0
    elif kind == 1:
        assert len(fields[b"Target"]) in (4, 16)


def check_table(records: Any) -> None:
    """Fail when one of the node records that a push-pull of ours shows could harm a Go peer."""
    for record in records:
        _check_node(
            {
                b"Vsn": record.versions,
                b"Addr": record.address,
                b"Meta": record.meta,
                b"Incarnation": record.incarnation,
                b"Port": record.port,
            },
            record.name.encode("utf-8", "surrogateescape"),
        )


def _check_node(fields: dict[bytes, Any], name: bytes) -> None:
    versions = fields[b"Vsn"]
    assert len(versions) == 6, f"{len(versions)} version bytes"
    assert 0 < versions[0] <= versions[1]
    assert len(fields[b"Addr"]) in (4, 16)
    assert len(fields[b"Meta"] or b"") <= 512
    assert 0 < fields[b"Incarnation"] < 2**32
    assert 0 < fields[b"Port"] < 65536
    assert 0 < len(name) <= 512


def _check_serf(payload: bytes) -> None:
    assert payload, "an empty user message"
    kind, body = payload[0], payload[1:]
    assert kind in SERF_TYPES, f"Serf type {kind}"
    fields = _unpack(body)
    if kind in (0, 1, 3, 4):
        assert fields.get(b"LTime", 0) < 2**63
    if kind == 4:
        assert all(fields.get(b"Filters") or ()), "an empty filter"
        assert fields.get(b"Payload") or fields.get(b"Name") not in KEY_QUERIES
    elif kind == 9:
        assert len(fields[b"DestAddr"][b"IP"]) in (4, 16)
        inner = body[len(msgpack.packb(fields, use_bin_type=False)) :]
        assert inner[:1] == b"\x05", "only answers are relayed"
