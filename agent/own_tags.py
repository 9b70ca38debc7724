"""The agent's own tags: what it needs them to be, what the settings add, what operators change.

    tags of the server role  <-  `gossip.tags` of the settings  <-  changes by the API

The first kind says what this server is and where; members build on it, so nobody may change it.
`gossip.tags` is read again on SIGHUP. Changes by the API stay over that, and end with the agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

PROTECTED = frozenset(
    {
        "ap_version",
        "ap_zone",
        "bootstrap",
        "build",
        "dc",
        "expect",
        "id",
        "mvn",
        "nonvoter",
        "port",
        "raft_vsn",
        "region",
        "role",
        "rookery",
        "rpc_addr",
        "vsn",
    }
)
"""Tags with a meaning for servers, ours and Nomad's, whether this agent carries them or not."""


class TagRefused(ValueError):
    """A tag must not be changed; `str()` says which and why."""


def check_tag(name: str) -> None:
    """Refuse a tag that is not the operator's to set.

    Raises:
        TagRefused: It is the agent's own, or has no name.
    """
    if not name:
        raise TagRefused("a tag needs a name")
    if name in PROTECTED:
        raise TagRefused(f'tag "{name}" is the agent\'s own and cannot be changed')


class OwnTags:
    """The three layers of one agent's tags."""

    def __init__(self, of_server: Mapping[str, str], of_settings: Mapping[str, str]) -> None:
        """Start without changes.

        Args:
            of_server: What the agent needs to say.
            of_settings: What `gossip.tags` adds.
        """
        self._of_server = dict(of_server)
        self._of_settings = dict(of_settings)
        self._changes: dict[str, str | None] = {}

    def merged(self) -> dict[str, str]:
        """Return the tags to show."""
        layers: dict[str, str | None] = {**self._of_settings, **self._changes, **self._of_server}
        return {name: value for name, value in layers.items() if value is not None}

    def with_settings(self, of_settings: Mapping[str, str]) -> OwnTags:
        """Return the same with `gossip.tags` read again."""
        other = OwnTags(self._of_server, of_settings)
        other._changes = dict(self._changes)
        return other

    def with_changes(self, set_tags: Mapping[str, str], delete: Iterable[str]) -> OwnTags:
        """Return the same with an operator's changes; a name in both is set.

        Raises:
            TagRefused: One of them must not be changed.
        """
        names = list(delete)
        for name in (*set_tags, *names):
            check_tag(name)
        other = self.with_settings(self._of_settings)
        other._changes.update(dict.fromkeys(names))
        other._changes.update(set_tags)
        return other
