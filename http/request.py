"""One request, as a handler sees it: complete, body included, or on its way out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import trio

from .faults import InvalidMethod
from .parameters import Parameters
from .urls import split_target


class Request:
    """A request whose head has been read.

    Attributes:
        method: As sent; compared exactly, so `get` is not `GET`.
        target: Path and query string as sent, for logs.
        path: The decoded path.
        query: The raw query string, without the `?`.
        headers: All of them in order, names in lower case.
        body: What was sent as body, for endpoints that read one. None: no body was announced,
        which
            some errors tell from an empty one (a chunked body without chunks is `b""`).
        disconnected: Set as soon as the client is seen to have closed or broken the connection,
            while a waiting handler works. A client may close its sending half only, so the answer
            is tried nevertheless; what streams without end stops here.
    """

    def __init__(
        self, method: str, target: str, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> None:
        """Take a request's head apart.

        Raises:
            BadTarget: The target has no path, or one that cannot be decoded.
        """
        self.method = method
        self.target = target
        self.path, self.query = split_target(target)
        self.body: bytes | None = None
        self.headers = headers

    @cached_property
    def parameters(self) -> Parameters:
        """The query string, decoded."""
        return Parameters(self.query)

    @cached_property
    def disconnected(self) -> trio.Event:
        """The event that tells a waiting handler of its client's leaving."""
        return trio.Event()

    def header(self, name: bytes) -> bytes:
        """Return the first value of a header (name in lower case), `b""` if there is none."""
        for found, value in self.headers:
            if found == name:
                return value
        return b""

    def require_method(self, *methods: str) -> None:
        """Let only these methods pass.

        Raises:
            InvalidMethod: It is another one.
        """
        if self.method not in methods:
            raise InvalidMethod
