"""What one engine wants out: packets sealed and ready, stream actions, notices.

The shell drains it after every call. Nothing here is bounded by a number of its own: what one
input can put in is bounded by the limits on that input, and every queue behind it is the shell's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..addresses import Address
from ..effects import Packet, StreamAction
from ..notices import Notice, Remark
from ..wire.limits import COMPOUND_PARTS_SENT_MAX
from ..wire.packets import PacketCodec
from .rejections import Rejections


class Outbox:
    """Effects of an engine, in order."""

    __slots__ = ("actions", "codec", "notices", "packets", "rejections")

    def __init__(self, codec: PacketCodec) -> None:
        self.codec = codec
        self.packets: list[Packet] = []
        self.actions: list[StreamAction] = []
        self.notices: deque[Notice] = deque()
        self.rejections = Rejections(self.notices)

    def send(self, destination: Address, parts: Sequence[bytes], *, crc: bool = False) -> None:
        """Seal messages into a packet for `destination`.

        Into several where one compound cannot count them.
        """
        for start in range(0, len(parts), COMPOUND_PARTS_SENT_MAX):
            sealed = self.codec.seal(parts[start : start + COMPOUND_PARTS_SENT_MAX], crc=crc)
            self.packets.append(Packet(destination, sealed))

    def remark(self, name: str, level: str = "info", **fields: object) -> None:
        """Tell the owner something worth a log line."""
        self.notices.append(Remark(name, fields, level))
