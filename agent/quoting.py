r"""Text that others wrote, made fit to show: quoted as Go's `strconv.Quote` does, or just readable.

Whatever the text holds, the result is one line of printable characters, so a peer's name or a
client's path can neither break a log line nor reach a terminal as a control sequence. Go's short
forms of the rare control characters (`\a`, `\v`, …) are left out; they are `\x07` here.
"""

from __future__ import annotations

import re

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN = re.compile(r"[A-Za-z0-9 ._:/@,;=+\-\[\](){}<>]*")


def quote(text: str) -> str:
    """Return `text` quoted, with everything escaped that does not print."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(map(escape_character, text)) + '"'


def escape_character(character: str) -> str:
    """Return a character as it stands inside quotes."""
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, kept as a surrogate
        code -= 0xDC00
        return f"\\x{code:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def readable(text: str) -> str:
    """Return `text` with bytes that are no UTF-8 replaced by U+FFFD, as Go's JSON writer does.

    Names and tags are what a peer sent; undecodable bytes travel inside us as lone surrogates,
    which no JSON writer takes.
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
