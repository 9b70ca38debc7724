"""The six version bytes: which are sound, and which sets of nodes fit together."""

from __future__ import annotations

import pytest
from rookery.gossip.swim.versions import OUR_VERSIONS, incompatibility, versions_defect


def test_we_announce_what_serf_agents_announce() -> None:
    """Our bytes are those of serf 0.9.4 and 0.10."""
    assert bytes((1, 5, 2, 2, 5, 5)) == OUR_VERSIONS
    assert versions_defect(OUR_VERSIONS) is None


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7])
def test_other_than_six_bytes_are_a_defect(size: int) -> None:
    """1 to 5 bytes kill Go peers, none poison them."""
    assert versions_defect(bytes((1, 5, 2, 2, 5, 5, 0))[:size]) is not None


@pytest.mark.parametrize(
    ("versions", "is_sound"),
    [
        ((1, 5, 2, 2, 5, 4), True),
        ((5, 5, 5, 2, 5, 5), True),
        ((0, 5, 2, 2, 5, 5), False),
        ((1, 0, 2, 2, 5, 5), False),
        ((0, 0, 0, 0, 0, 0), False),
        ((5, 1, 2, 2, 5, 5), False),
        ((9, 9, 9, 2, 5, 5), True),
    ],
)
def test_protocol_range_must_be_possible(versions: tuple[int, ...], is_sound: bool) -> None:
    """PMin 0, PMax 0 or PMin over PMax are refused; what we do not speak is not a defect."""
    assert (versions_defect(bytes(versions)) is None) is is_sound


SERF = bytes((1, 5, 2, 2, 5, 5))


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([], None),
        ([("a", SERF, True)], None),
        ([("a", SERF, True), ("nomad", bytes((1, 5, 2, 2, 5, 4)), True)], None),
        (
            [("prober", bytes((9, 9, 9, 2, 5, 5)), True), ("tgt", SERF, True)],
            "Node 'prober' protocol version (9) is incompatible: [9, 5]",
        ),
        # A node that is not alive does not narrow the range but must lie within it.
        (
            [("a", SERF, True), ("b", bytes((9, 9, 9, 2, 5, 5)), False)],
            "Node 'b' protocol version (9) is incompatible: [1, 5]",
        ),
        ([("a", SERF, True), ("b", bytes((4, 4, 5, 2, 5, 5)), False)], None),
        # One without the bytes counts as current version 0, in any state.
        (
            [("prober", b"", True), ("tgt", SERF, True)],
            "Node 'prober' protocol version (0) is incompatible: [1, 5]",
        ),
        (
            [("gone", b"", False), ("tgt", SERF, True)],
            "Node 'gone' protocol version (0) is incompatible: [1, 5]",
        ),
        (
            [("a", SERF, True), ("b", bytes((1, 5, 2, 2, 5, 6)), True)],
            "Node 'b' delegate protocol version (6) is incompatible: [2, 5]",
        ),
        # The highest minimum and the lowest maximum of all count, ours as well as theirs.
        (
            [("a", bytes((3, 5, 4, 2, 5, 5)), True), ("b", SERF, True)],
            "Node 'b' protocol version (2) is incompatible: [3, 5]",
        ),
        (
            [("a", SERF, True), ("b", bytes((1, 5, 2, 2, 4, 4)), True)],
            "Node 'a' delegate protocol version (5) is incompatible: [2, 4]",
        ),
    ],
)
def test_every_current_version_must_lie_in_the_range_all_alive_nodes_share(
    nodes: list[tuple[str, bytes, bool]], text: str | None
) -> None:
    """The check of a push-pull, with the words of a Go peer's log."""
    assert incompatibility(nodes) == text
