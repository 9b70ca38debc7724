"""What this agent answers to queries of the pool, without anybody's help.

A Serf agent answers queries by running scripts; this one has the texts of `gossip.query_responses`,
by the query's name, `*` for any other name. One query is answered by default: `rookery.info`, with
this agent's versions and place as JSON. What has no text here is for readers of the events, who
answer by the API. Serf's own queries (`_serf_…`) are the gossip layer's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

INFO_QUERY = "rookery.info"

ANY_QUERY = "*"
"""Stands for every query that has no text of its own."""

RESPONSE_SIZE_MAX = 16 * 1024
"""Bytes of a configured text. What does not fit one packet (1024 bytes, this member's name and the
message around it included) goes by TCP, a connection for each answer."""


class QueryResponses:
    """Texts by the name of the query."""

    def __init__(self, info: Mapping[str, str], texts: Mapping[str, str]) -> None:
        """Answer by these texts.

        Args:
            info: What `rookery.info` tells, unless it has a text.
            texts: `gossip.query_responses`.
        """
        self._info = json.dumps(info, ensure_ascii=False, separators=(",", ":"))
        self._texts = dict(texts)

    def reload(self, texts: Mapping[str, str]) -> None:
        """Answer by other texts from now on."""
        self._texts = dict(texts)

    def answer(self, name: str) -> bytes | None:
        """Return the answer to a query, None for silence."""
        text = self._texts.get(name)
        if text is None and name == INFO_QUERY:
            text = self._info
        if text is None:
            text = self._texts.get(ANY_QUERY)
        return None if text is None else text.encode("utf-8", "replace")
