"""The node table: names, the round-robin probe list, random choice, forgetting."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from rookery.gossip.addresses import Address
from rookery.gossip.swim.nodes import Node, NodeState, NodeTable
from rookery.gossip.swim.versions import OUR_VERSIONS


def make_node(name: str, state: NodeState = NodeState.ALIVE) -> Node:
    return Node(
        name,
        bytes((10, 0, 0, 1)),
        7946,
        b"",
        OUR_VERSIONS,
        incarnation=1,
        state=state,
        changed=0.0,
    )


def make_table(size: int, seed: int = 1) -> NodeTable:
    table = NodeTable(random.Random(seed))
    for number in range(size):
        table.add(make_node(f"n{number}"))
    return table


def everybody(_node: Node) -> bool:
    return True


def nothing() -> None:
    """Do nothing at a wrap-around."""


def next_name(table: NodeTable) -> str | None:
    node = table.next_to_probe(everybody, nothing)
    return None if node is None else node.name


def test_states_have_the_numbers_of_a_push_pull() -> None:
    """Alive 0, suspect 1, dead 2, left 3 on the wire."""
    assert [int(state) for state in NodeState] == [0, 1, 2, 3]


def test_node_knows_where_it_is_reached_and_what_it_speaks() -> None:
    """Raw address and version bytes read as an address and a highest protocol version."""
    node = make_node("a")
    assert node.destination == Address("10.0.0.1", 7946)
    assert node.protocol_max == 5


@pytest.mark.parametrize(
    ("state", "is_gone"),
    [
        (NodeState.ALIVE, False),
        (NodeState.SUSPECT, False),
        (NodeState.DEAD, True),
        (NodeState.LEFT, True),
    ],
)
def test_dead_and_left_are_gone(state: NodeState, is_gone: bool) -> None:
    """A suspect is still there."""
    assert make_node("a", state).is_gone is is_gone


def test_each_node_is_probed_once_a_round() -> None:
    """Round robin bounds the worst detection time to two rounds."""
    table = make_table(10)
    first = [next_name(table) for _ in range(10)]
    second = [next_name(table) for _ in range(10)]
    assert sorted(map(str, first)) == sorted(map(str, second)) == sorted(n.name for n in table)
    assert first != second, "reshuffled after each round"


def test_wrap_around_tells_before_it_shuffles() -> None:
    """The end of the list is the time to forget; it is reported once a round."""
    table = make_table(3)
    wraps: list[int] = []
    for number in range(9):
        table.next_to_probe(everybody, lambda number=number: wraps.append(number))
    assert wraps == [3, 6]


def test_wrap_around_does_not_cost_a_turn() -> None:
    """In a pool of two the only peer is found at every call."""
    for seed in range(10):
        table = make_table(2, seed)
        for _ in range(20):
            assert table.next_to_probe(lambda node: node.name == "n1", nothing) is not None


def test_pass_that_finds_nobody_ends() -> None:
    """When nobody is wanted a call looks at the rest of the list and once at the whole."""
    table = make_table(5)
    looked_at: list[str] = []

    def refuse(node: Node) -> bool:
        looked_at.append(node.name)
        return False

    assert table.next_to_probe(refuse, nothing) is None
    assert len(looked_at) == 10
    assert table.next_to_probe(refuse, nothing) is None
    assert len(looked_at) == 15
    assert NodeTable(random.Random(1)).next_to_probe(everybody, nothing) is None


def test_unwanted_nodes_are_passed_over() -> None:
    """The round goes on with the next one that is wanted."""
    table = make_table(6)
    names = [
        node.name
        for _ in range(3)
        if (node := table.next_to_probe(lambda node: node.name in {"n1", "n3", "n5"}, nothing))
    ]
    assert sorted(names) == ["n1", "n3", "n5"]


def test_new_nodes_enter_at_random_places() -> None:
    """Nobody can predict, nor a late-comer be always last, in the first round."""
    positions = set()
    for seed in range(20):
        table = make_table(10, seed)
        positions.add([next_name(table) for _ in range(10)].index("n9"))
    assert len(positions) > 3


def test_forgotten_nodes_are_out_of_the_table_and_of_the_round() -> None:
    """Forgetting returns what was dropped; names become unknown."""
    table = make_table(6)
    dropped = table.forget(lambda node: node.name in {"n0", "n4"})
    assert sorted(node.name for node in dropped) == ["n0", "n4"]
    assert len(table) == 4
    assert table.get("n0") is None
    assert {next_name(table) for _ in range(12)} == {"n1", "n2", "n3", "n5"}
    assert table.forget(lambda node: node.name == "n0") == []


@pytest.mark.parametrize("size", [1, 2, 5, 12, 30, 500])
def test_random_nodes_are_distinct_and_wanted(size: int) -> None:
    """Up to `count` different nodes, none that is not wanted."""
    table = make_table(size)
    for _ in range(50):
        chosen = table.random_nodes(3, lambda node: node.name != "n0")
        assert len(chosen) == min(3, size - 1)
        assert len({node.name for node in chosen}) == len(chosen)
        assert all(node.name != "n0" for node in chosen)


def test_only_candidate_of_a_small_pool_is_always_found() -> None:
    """Tiny tables are searched exhaustively; a few random tries would often miss."""
    table = make_table(16)
    for _ in range(200):
        assert [node.name for node in table.random_nodes(3, lambda node: node.name == "n7")] == [
            "n7"
        ]


def test_random_choice_is_fair() -> None:
    """Each candidate is chosen about equally often, in small tables and in large ones."""
    for size in (10, 100):
        table = make_table(size)
        counts = Counter(
            node.name for _ in range(100 * size) for node in table.random_nodes(1, everybody)
        )
        assert len(counts) == size
        assert max(counts.values()) < 2 * min(counts.values())


def tell(table: NodeTable, count: int = 3) -> list[str]:
    return [node.name for node in table.next_to_tell(count, lambda node: node.name != "n0")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 12, 100])
def test_nodes_to_tell_are_distinct_and_nobody_is_left_out_for_long(size: int) -> None:
    """A shuffled round: no draw of bad luck keeps all news from somebody for two rounds."""
    table = make_table(size)
    others = {f"n{number}" for number in range(1, size)}
    last_told = dict.fromkeys(others, 0)
    for call in range(1, 10 * size):
        chosen = tell(table)
        assert len(chosen) == len(set(chosen)) == min(3, size - 1)
        assert set(chosen) <= others
        last_told.update(dict.fromkeys(chosen, call))
        assert all(call - told <= math.ceil(2 * (size - 1) / 3) for told in last_told.values())


@pytest.mark.parametrize("others", [1, 2, 3, 4, 5, 6])
def test_any_two_calls_in_a_row_name_everybody_in_a_small_pool(others: int) -> None:
    """Also across the start of a round; and nobody a second time before the last a first time."""
    table = make_table(others + 1)
    before = tell(table)
    for _ in range(100):
        chosen = tell(table)
        assert len(set((before + chosen)[:others])) == others
        before = chosen


def test_nodes_that_come_or_go_during_a_round_of_telling_are_taken_note_of() -> None:
    """The forgotten are not told any more, newcomers in the next round."""
    table = make_table(6)
    tell(table)
    table.forget(lambda node: node.name == "n5")
    table.add(make_node("new"))
    told = [name for _ in range(6) for name in tell(table)]
    assert "n5" not in told
    assert "new" in told


def test_nobody_to_tell_is_nobody() -> None:
    """Neither in an empty table nor where nobody is wanted."""
    assert NodeTable(random.Random(1)).next_to_tell(3, everybody) == []
    assert make_table(5).next_to_tell(3, lambda _node: False) == []


def test_same_seed_gives_the_same_order() -> None:
    """All choices come from the one random source."""
    first, second = make_table(20, seed=7), make_table(20, seed=7)
    assert [next_name(first) for _ in range(50)] == [next_name(second) for _ in range(50)]
