r"""Text in double quotes, as error texts show what a client sent (`Unknown node "x"`).

Go's `strconv.Quote` (public API), but for its short forms of the rare control characters, which all
are `\x07` here: whatever the text holds, the result is one line.
"""

from __future__ import annotations

_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    """Return `text` quoted, with everything escaped that does not print."""
    return '"' + "".join(map(_quote_character, text)) + '"'


def _quote_character(character: str) -> str:
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
