"""What an engine asks its shell to do: packets to send, streams to open, answer and close.

Effects are values. The engine never does I/O and never calls the shell; whoever drives it drains
these after each call (`packets_to_send()`, `stream_actions()`) and reports back what came of them.
A stream is known by a number that the engine chose; numbers are never used twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from .addresses import Address


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram, sealed and ready, to be sent from the gossip socket."""

    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Dial, write `data`, then hand what comes back to `receive_stream_data`.

    A dial or a read that fails is reported by `fail_stream`, the peer's end by
    `receive_stream_eof`.
    """

    stream: int
    destination: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class SendStream:
    """Write `data` on a stream that a peer opened."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream:
    """The conversation is over: finish writing, then close; a dial still under way is given up."""

    stream: int


StreamAction = OpenStream | SendStream | CloseStream
