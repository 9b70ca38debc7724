"""The statistics an agent shows of itself."""

from __future__ import annotations

from rookery.agent.stats import gossip_section, runtime_section, serf_section

from .fakes import make_statistics


async def test_runtime_section_has_nomads_keys() -> None:
    """What the process runs on, as texts."""
    section = runtime_section()
    assert set(section) == {
        "kernel.name",
        "arch",
        "version",
        "max_procs",
        "goroutines",
        "cpu_count",
    }
    assert section["version"].startswith("python3.")
    assert int(section["goroutines"]) > 0


def test_serf_section_has_serfs_keys_and_the_engines_values() -> None:
    """Each key is the engine's number of that name; nothing is made up."""
    statistics = make_statistics()
    section = serf_section(statistics)
    assert section["members"] == str(statistics.engine.members)
    assert section["encrypted"] == "true"
    assert section["health_score"] == str(statistics.engine.swim.health_score)
    assert "coordinate_resets" not in section  # there are no coordinates yet


def test_gossip_section_has_every_counter_once() -> None:
    """No two counters share a key, so none hides another; reasons are told apart."""
    statistics = make_statistics()
    section = gossip_section(statistics)
    assert section["rejected.bad_crc"] == "7"
    assert section["rejected.undecryptable"] == "8"
    assert section["send_errors.ENETUNREACH"] == "3"
    assert section["packets_received"] == str(statistics.transport.packets_received)
    assert section["streams_accepted"] == str(statistics.streams.accepted)
    assert section["conversations_open"] == str(statistics.engine.swim.streams_open)
    counters = [value for key, value in section.items() if "." not in key]
    assert len(set(counters)) == len(counters)
    shown = set(counters) | set(serf_section(statistics).values())
    numbers = {str(number) for number in range(100, 100 + len(shown) - 1)}
    assert numbers <= shown, "a counter was lost on the way"
