"""Which version this is, and which version of Nomad's API it answers.

Two numbers, because two kinds of reader ask. Operators and packagers want `VERSION`, ours; it is in
pyproject.toml as well, and a test keeps the two equal (read from installed metadata instead, it
would cost every command a search through site-packages). Peers and Nomad's own tools want a Nomad
version they can parse and compare: `NOMAD_API_LEVEL` is the version whose HTTP API we answer, goes
out as the `build` tag, and is never our own number, which they would take for an ancient Nomad.
"""

from __future__ import annotations

VERSION = "0.1.0"
"""rookery's own version. Every member carries it in its `rookery` tag."""

NOMAD_API_LEVEL = "1.2.6"
"""The Nomad version whose agent API we answer. Members carry it in their `build` tag."""
