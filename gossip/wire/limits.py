"""Every limit of the wire, with its reason and what others chose.

Limits on what we read keep a peer from filling our memory or our time: nothing is allocated from a
declared length, and a declared length over its limit is refused before the bytes are awaited.
Limits on what we write keep us inside what every Go peer survives.

memberlist has most of these as constants in `net.go` (`udpPacketBufSize`, `maxPushStateBytes`,
`maxPushPullRequests`), some only in versions after 0.6.0, some not at all.
"""

from __future__ import annotations

from typing import Final

# --- datagrams ---

UDP_PACKET_SIZE_MAX: Final = 65536
"""Bytes of one received datagram; memberlist's receive buffer has this size."""

UDP_PAYLOAD_SIZE_MAX: Final = 65507
"""Bytes of one sent datagram: what IPv4 can carry (65535 less 20 of IP and 8 of UDP header)."""

GOSSIP_BUDGET: Final = 1400
"""Bytes of a packet filled with gossip; memberlist's UDPBufferSize, below any common MTU."""

COMPOUND_PARTS_SENT_MAX: Final = 127
"""Parts of a compound we send. memberlist up to 0.2.3 misreads a count byte above 127."""

COMPOUND_PARTS_RECEIVED_MAX: Final = 255
"""Parts of a compound we read: all that the count byte can say."""

COMPOUND_PART_SIZE_MAX: Final = 65535
"""Bytes of one part: all that its 16 bit length can say."""

NESTING_MAX: Final = 8
"""Compounds and compressions inside each other in one datagram. Peers send two (compression over
compound); Go has no limit, so an honest peer may wrap once more, but not eight times."""

PACKET_MESSAGES_MAX: Final = 1024
"""Bare messages from one datagram. A compound holds 255; only nested ones reach more, and no
datagram of real messages holds that many (the shortest has ten bytes)."""

PACKET_DECOMPRESSED_SIZE_MAX: Final = 2 * UDP_PACKET_SIZE_MAX
"""Decompressed bytes of one datagram, all its compressions together. What a peer compresses would
mostly fit a datagram uncompressed, so one datagram's worth is enough; twice that lets a second
compression nest. Small, because the work is done in Python for anyone who can send a packet."""

# --- streams ---

STREAM_SIZE_MAX: Final = 20 * 1024 * 1024
"""Bytes in the length field of an encrypted stream; memberlist's maxPushStateBytes."""

DECOMPRESSED_SIZE_MAX: Final = 40 * 1024 * 1024
"""Decompressed bytes of one stream; memberlist after 0.6.0 has the same."""

MESSAGE_SIZE_MAX: Final = DECOMPRESSED_SIZE_MAX
"""Bytes of one whole message on a plain stream. It may hold a user state of 20 MiB and as much of
node states, so it is what a decompressed one may be."""

USER_STATE_SIZE_MAX: Final = 20 * 1024 * 1024
"""Bytes of the user state in a push-pull; memberlist after 0.6.0 has the same."""

USER_MESSAGE_SIZE_MAX: Final = 20 * 1024 * 1024
"""Bytes of a user message on a stream; memberlist after 0.6.0 has the same."""

PUSH_PULL_NODES_MAX: Final = 65536
"""Node states in a push-pull. memberlist 0.6.0 allows 1048576; each costs us about a kilobyte."""

WRAPPER_FIELDS_MAX: Final = 16
"""Fields of a stream's compression wrapper that we read: it has two, and others are ignored."""

# --- fields ---

LABEL_SIZE_MAX: Final = 255
"""Bytes of a label: all that its length byte can say."""

META_SIZE_MAX: Final = 512
"""Bytes of our own node meta (memberlist's MetaMaxSize). Longer meta of others is read, as old
agents do; whether to accept it is the engine's business."""

NODE_NAME_SIZE_MAX: Final = 128
"""Bytes of our own node name; what serf allows where it validates names. The names of others may be
longer, as everywhere in Serf, and are passed on."""

KEYRING_KEYS_MAX: Final = 64
"""Keys in a keyring. Each undecryptable packet tries them all; rotation needs two or three, and
a key response of 1024 bytes lists about twenty."""

# --- msgpack ---

OBJECT_SIZE_MAX: Final = UDP_PACKET_SIZE_MAX
"""Bytes of one msgpack object in a stream: a header, a node state, an entry of Serf's state. A
node's state must also fit an alive message, so no honest one is larger than a datagram."""

ARRAY_ELEMENTS_MAX: Final = 2048
"""Elements of a msgpack array in one object. The decoder reserves eight bytes for each declared
element before it has seen any, for each of up to 1024 nesting levels, so this bounds what a header
alone can make us reserve. The longest honest one is a byte field of a datagram written as an array
of numbers (meta of 512, a payload of about 1024)."""

ARRAY_RESERVE_MAX: Final = 65536
"""Elements that all array headers of one datagram's message could reserve together: half a
megabyte, given back at once. Where more headers are possible, each may declare less."""

MAP_PAIRS_MAX: Final = 2048
"""Pairs of a msgpack map in one object. Our widest struct has eleven; tags are bounded by the meta
size to under two hundred."""

# --- Serf's push-pull state ---

STATUS_LTIMES_MAX: Final = 2 * PUSH_PULL_NODES_MAX
"""Members in Serf's state: Serf remembers failed and left members longer than memberlist does."""

EVENT_SLOTS_MAX: Final = 65536
"""Slots of the event buffer in Serf's state. Serf has 512; the size is a setting there."""

STATE_FIELDS_MAX: Final = 64
"""Fields of Serf's state that we read: it has six, and later versions may add some."""

# --- caches ---

MEMO_MESSAGE_SIZE_MAX: Final = 1500
"""Bytes of a message whose decoding is remembered: gossip stays below, and is what repeats."""

MEMO_ENTRIES_MAX: Final = 4096
"""Remembered decodings of each kind: a few minutes of news of a large pool, at most about ten
megabytes when every entry is as large as it may be."""
