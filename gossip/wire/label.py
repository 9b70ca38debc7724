"""The label header, which keeps pools apart: type 244, length byte, label.

It is the outermost layer of a datagram. On a stream only the dialling side writes it. The label is
part of the associated data of all encryption, also where no header is written. No label is
configured in serf agents and Nomad; memberlist before 0.3.0 does not know labels.

From: memberlist `label.go` (`AddLabelHeaderToPacket`, `RemoveLabelHeaderFromPacket`) and
`net_transport.go`.
"""

from __future__ import annotations

from typing import Final

from .errors import MalformedInput, Reason
from .limits import LABEL_SIZE_MAX

_TYPE: Final = 244
HEADER_SIZE: Final = 2
"""Type and length, in front of the label."""


def make_header(label: bytes) -> bytes:
    """Return the header; nothing for the empty label.

    Raises:
        ValueError: The label is too long.
    """
    if len(label) > LABEL_SIZE_MAX:
        raise ValueError(f"a label of {len(label)} bytes, at most {LABEL_SIZE_MAX}")
    return bytes((_TYPE, len(label))) + label if label else b""


def header_size_untrusted(start: bytes | bytearray) -> int:
    """Return how long the header is that these bytes begin with: 0 if they begin with none.

    `start` needs to be two bytes, or all there are.

    Raises:
        MalformedInput: A header that is cut off, or says that the label is empty.
    """
    if not start or start[0] != _TYPE:
        return 0
    if len(start) < HEADER_SIZE:
        raise MalformedInput(Reason.TRUNCATED, "label header")
    if start[1] == 0:
        raise MalformedInput(Reason.WRONG_LABEL, "a header with an empty label")
    return HEADER_SIZE + start[1]


def strip_label_untrusted(data: bytes, label: bytes) -> bytes:
    """Return what is behind the header of a datagram, which must carry just this label.

    Raises:
        MalformedInput: Another label, or one where none is configured, or none.
    """
    size = header_size_untrusted(data)
    if len(data) < size:
        raise MalformedInput(Reason.TRUNCATED, "label header")
    check_label(data[HEADER_SIZE:size], label)
    return data[size:] if size else data


def check_label(found: bytes | bytearray, label: bytes) -> None:
    """Compare labels; none is the empty one.

    Raises:
        MalformedInput: They differ.
    """
    if found != label:
        shown = bytes(found).decode("utf-8", "backslashreplace")
        raise MalformedInput(Reason.WRONG_LABEL, f"label {shown!r}" if shown else "no label")
