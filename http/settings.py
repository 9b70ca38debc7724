"""Every limit and time-out of the HTTP layer, with its reason.

A client may be slow, broken or hostile, and it shares one process, one event loop and one table of
file descriptors with the failure detector. So whatever a client can make us hold (bytes, time,
connections) ends at a number here. Nomad leaves most of these unlimited (public API: Go's
`http.Server` without time-outs in `command/agent/http.go`); its own two,
`http_max_conns_per_client` and `https_handshake_timeout`, keep their names' meaning and defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

RECEIVE_SIZE = 16 * 1024
"""Bytes read at once. It bounds how long one read keeps the event loop: a body sent as one-byte
chunks is the dearest input there is, and this much of it is some 2,700 chunks, about fifteen
milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Limits of one HTTP server. Sizes are in bytes, times in seconds."""

    head_size_max: int = 32 * 1024
    """Request line and headers together; above it, 431. A browser that visits other services on
    localhost sends their cookies here too, so it must not be tight. Costs this much memory for
    each connection that stops in the middle of a head."""

    header_count_max: int = 100
    """Header lines of one request; above it, 431. Browsers send about 20. It bounds the work of
    looking headers up, which is linear in their number."""

    target_size_max: int = 16 * 1024
    """Path and query string; above it, 414. A join of several hundred addresses fits. It is also
    the longest text a log line about a request carries."""

    body_size_max: int = 1024 * 1024
    """Request body, without the framing of chunks; above it, 413. Policies and keys, the largest
    bodies of the API, are a few KiB. Bodies of endpoints that take none are counted and thrown
    away, never held."""

    chunk_count_max: int = 4096
    """Chunks of one body; above it, 413. Clients send chunks of some KiB, so the largest body has
    a few hundred. A chunk takes us five microseconds however small it is: without this limit one
    upload of one-byte chunks would be seconds of work."""

    idle_timeout: float = 120.0
    """How long a connection may wait between requests (and before its first). Above the 90 s of
    Go's HTTP client, so that it is the client that closes: a server that closes first can cross a
    request on its way."""

    head_timeout: float = 10.0
    """From a request's first byte to the end of its head; then 408. A head is one packet or two,
    so this is generous for any network that works, and short for one who holds connections
    open."""

    body_timeout: float = 30.0
    """From the head to the end of the body; then 408. The largest body in this time is 35
    KiB/s."""

    write_timeout: float = 60.0
    """How long a client may take to accept one response, or one chunk of a stream; then the
    connection is dropped. A members list of a thousand nodes is 300 KiB, 5 KiB/s at this limit. It
    is also how long the kernel waits for a client's host to confirm what was sent: of hosts that
    are gone without a word, streams hear after this and one heartbeat (or, if they have none, the
    kernel's own)."""

    stream_buffer_size_max: int = 64 * 1024
    """What waits for a client that reads a stream slower than it comes, besides what the kernel
    holds. Some hundreds of events or log lines: enough for a client's short pause, and with all
    streams together a few MiB."""

    linger_timeout: float = 2.0
    """How long to keep reading, and throwing away, what a client still sends after its request was
    refused. To close with unread data makes the kernel send a reset, which can overtake and
    destroy the answer that says why. Go waits half a second there; across continents that is
    short."""

    linger_size_max: int = 256 * 1024
    """How much to throw away that way, so that refusing never costs more than serving. Go's limit
    for unread bodies is the same."""

    pipelined_size_max: int = 64 * 1024
    """What is read ahead while a request is worked on. Requests sent ahead wait in line; beyond
    this they wait in the kernel's buffer (and the client's leaving goes unnoticed until the
    answer)."""

    connections_max: int = 512
    """Open connections of all clients; a new one above it takes the place of the one idle for
    longest, or gets 503 if all are at work. Half of the usual limit of 1024 file descriptors, so
    that HTTP can never take the descriptors that gossip needs."""

    connections_per_client_max: int = 100
    """Open connections of one client address; above it, 429 and closed. 0: no limit. Nomad's
    `http_max_conns_per_client` and its default."""

    drain_timeout: float = 5.0
    """How long requests in progress may go on once the server stops; what is left is cut off. A
    leave has to be announced after this, and who sent SIGTERM rarely waits more than 10 s."""
