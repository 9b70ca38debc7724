"""Reading HCL text into plain values, with the line of every key.

python-hcl2 brings the grammar; its own conversion to dicts is not used, because there the last of
two equal keys silently wins, quotes stay in the values and lines are lost. Instead the parse tree
is walked here: a block becomes a dict (`ports { http = 1 }` as `{"ports": {"http": 1}}`), a
labelled block one dict a label, a key written twice is an error, and so is every expression that
would have to be computed: Nomad's files are data.

Two costs decide the rest. Importing the library takes a tenth of a second, so only a file that is
HCL imports this module's needs. Building its parser takes a second or more; python-hcl2 would keep
the result as a pickle inside site-packages, which may be read-only and belongs to others, so it is
kept in the user's cache directory, and only in one that nobody else can write (a pickle runs code).
Without such a directory the parser is built each time.

What it leaves out: HCL version 1's quoted keys inside a block (`headers { "X-A" = "b" }`), which
the grammar of version 2 does not know; the error says how to write them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

Lines = dict[tuple[str, ...], int]
"""Path of a key -> the line it stands in, from 1."""

TEXT_SIZE_MAX = 1024 * 1024
"""Largest text parsed. Settings files have a few kilobytes; the parser takes seconds for a
megabyte."""


class HclError(ValueError):
    """The text is no HCL, or none that settings can be read from; `line` is 0 when unknown."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class HclReader:
    """Reads texts with one parser of some 12 MB, so let go of it after the last one."""

    def __init__(self) -> None:
        self._parser: Lark | None = None

    def read(self, text: str) -> tuple[dict[str, Any], Lines]:
        """Return the values in `text` and the line of each key.

        Raises:
            HclError: Bad syntax, a key given twice, or a value that is not plain data.
        """
        if len(text) > TEXT_SIZE_MAX:
            raise HclError(0, f"the file is larger than {TEXT_SIZE_MAX // 1024} KiB")
        from lark.exceptions import UnexpectedInput

        self._parser = self._parser or _build_parser()
        lines: Lines = {}
        try:
            # The grammar ends every statement with a line break, the last one too.
            (body,) = _trees(self._parser.parse(text + "\n"))
            return _body(body, (), lines), lines
        except UnexpectedInput as error:
            raise HclError(max(error.line, 0), _syntax_problem(text, error.line)) from None
        except RecursionError:
            raise HclError(0, "the file is nested too deeply") from None


def _syntax_problem(text: str, number: int) -> str:
    """Say what is wrong with a line the grammar refused."""
    rows = text.splitlines()
    row = rows[number - 1].strip() if 0 < number <= len(rows) else ""
    hint = ""
    if row.startswith('"') or '{ "' in row or '{"' in row:
        hint = '; write quoted keys as an object: name = { "key" = "value" }'
    return f"this is not HCL: {row[:80]!r}{hint}" if row else "this is not HCL: it ends too early"


def _body(body: Tree[Token], path: tuple[str, ...], lines: Lines) -> dict[str, Any]:
    """Return the attributes and blocks of a body as one dict."""
    values: dict[str, Any] = {}
    for child in _trees(body):
        if child.data == "attribute":
            name = _name(child.children[0])
            _claim(name, values, path, lines, _line(child))
            values[name] = _value(child.children[-1], (*path, name), lines)
        elif child.data == "block":
            _block(child, values, path, lines)
    return values


def _block(block: Tree[Token], values: dict[str, Any], path: tuple[str, ...], lines: Lines) -> None:
    """Put a block into `values`; labels become keys on the way to it."""
    *names, body = [child for child in _trees(block) if child.data != "new_line_or_comment"]
    *labels, last = [_name(name) for name in names]
    for label in labels:
        path = (*path, label)
        lines.setdefault(path, _line(block))
        inner = values.setdefault(label, {})
        if not isinstance(inner, dict):
            raise HclError(_line(block), f'"{label}" is given twice; keep one')
        values = inner
    _claim(last, values, path, lines, _line(block))
    values[last] = _body(body, (*path, last), lines)


def _claim(
    name: str, values: dict[str, Any], path: tuple[str, ...], lines: Lines, line: int
) -> None:
    """Note where a key stands, and refuse a second one."""
    where = (*path, name)
    if name in values:
        first = f" (first in line {lines[where]})" if where in lines else ""
        raise HclError(line, f'"{".".join(where)}" is given twice{first}; keep one')
    lines[where] = line


def _value(node: Tree[Token] | Token, path: tuple[str, ...], lines: Lines) -> Any:
    """Return the value of an expression that is plain data."""
    kind = getattr(node, "data", "")
    reader = _READERS.get(str(kind))
    if reader is None:
        name = ".".join(path)
        if kind == "identifier":
            word = _name(node)
            raise HclError(_line(node), f'"{name}" has the bare word {word}; write "{word}"')
        raise HclError(_line(node), f'"{name}" is computed; write the value itself')
    return reader(node, path, lines)


def _read_term(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> Any:
    inner = [child for child in _trees(node) if child.data != "new_line_or_comment"]
    return _value(inner[0] if len(inner) == 1 else node.children[0], path, lines)


def _read_string(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> str:
    """Join a string's parts."""
    return "".join(_string_part(part, path) for part in _trees(node))


def _string_part(part: Tree[Token], path: tuple[str, ...]) -> str:
    from hcl2.utils import process_escape_sequences
    from lark import Tree

    (content,) = part.children
    if isinstance(content, Tree):
        text = (
            f'"{".".join(path)}" holds a template; nothing is computed here, write the value itself'
        )
        raise HclError(_line(part), text)
    return process_escape_sequences(str(content))


def _read_heredoc(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> str:
    """Return a heredoc's lines; with `<<-` less the indentation they share."""
    first, *rows = str(node.children[0]).rstrip("\r\n").splitlines()
    rows = rows[:-1]  # the last one is the closing marker
    if first.startswith("<<-"):
        shared = min((len(row) - len(row.lstrip()) for row in rows if row.strip()), default=0)
        rows = [row[shared:] for row in rows]
    return "".join(row + "\n" for row in rows)


def _read_literal(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> bool | None:
    return {"true": True, "false": False, "null": None}[str(node.children[0])]


def _read_int(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> int:
    return int(str(node.children[0]))


def _read_float(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> float:
    return float(str(node.children[0]))


def _read_unary(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> Any:
    """Read a negative number; anything else with a sign would be a computation."""
    sign, operand = node.children
    value = _value(operand, path, lines)
    if str(sign) != "-" or isinstance(value, bool) or not isinstance(value, int | float):
        raise HclError(_line(node), f'"{".".join(path)}" is computed; write the value itself')
    return -value


def _read_tuple(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> list[Any]:
    elements = [child for child in _trees(node) if child.data != "new_line_or_comment"]
    return [_value(element, path, lines) for element in elements]


def _read_object(node: Tree[Token], path: tuple[str, ...], lines: Lines) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for element in _trees(node):
        if element.data != "object_elem":
            continue
        key, *_, value = element.children
        name = _object_key(key, path)
        _claim(name, values, path, lines, _line(element))
        values[name] = _value(value, (*path, name), lines)
    return values


def _object_key(key: Tree[Token] | Token, path: tuple[str, ...]) -> str:
    """Return the key of an object's element: a bare or quoted name, or a number."""
    node = key
    while getattr(node, "data", "") in ("object_elem_key", "expr_term"):
        node = node.children[0]  # type: ignore[union-attr]  # only trees have `data`
    kind = getattr(node, "data", "")
    if kind in ("identifier", "keyword", "string", "literal_value", "int_lit"):
        return _name(node)
    raise HclError(_line(key), f'a key in "{".".join(path)}" is computed; write its name')


def _name(node: Tree[Token] | Token) -> str:
    """Return a key, block type or label, quoted or not."""
    if getattr(node, "data", "") == "string":
        return "".join(_string_part(part, ("label",)) for part in _trees(node))
    return str(getattr(node, "children", [node])[0])


def _trees(node: Tree[Token] | Token) -> Iterator[Tree[Token]]:
    """Return the children that are trees: tokens are only punctuation."""
    from lark import Tree

    return (child for child in getattr(node, "children", ()) if isinstance(child, Tree))


def _line(node: Tree[Token] | Token) -> int:
    """Return the line a node starts in, 0 when it is empty."""
    meta = getattr(node, "meta", None)
    return int(getattr(meta, "line", 0))


_READERS: dict[str, Callable[[Any, tuple[str, ...], Lines], Any]] = {
    "expr_term": _read_term,
    "string": _read_string,
    "heredoc_template": _read_heredoc,
    "heredoc_template_trim": _read_heredoc,
    "literal_value": _read_literal,
    "int_lit": _read_int,
    "float_lit": _read_float,
    "unary_op": _read_unary,
    "tuple": _read_tuple,
    "object": _read_object,
}
"""What a value may be, by the grammar's rule. Everything else would have to be computed."""


def _build_parser() -> Lark:
    """Build python-hcl2's parser, or take it from our cache."""
    import hcl2.parser
    from hcl2.postlexer import PostLexer
    from lark import Lark

    directory = cache_directory()
    return Lark.open(
        "hcl2.lark",
        rel_to=hcl2.parser.__file__,
        parser="lalr",
        propagate_positions=True,
        postlex=PostLexer(),
        # The cache checks itself against grammar, options and versions, and is built anew when one
        # differs.
        cache=str(directory / "hcl-parser.bin") if directory else False,
    )


def cache_directory() -> Path | None:
    """Return a directory for what can be built again, or None when there is no safe one.

    `$XDG_CACHE_HOME/rookery`, by default `~/.cache/rookery`, made with mode 0700. It must belong to
    this user, and nobody else may write to it.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    directory = Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()
    directory = directory / "rookery"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.lstat()
    except (OSError, RuntimeError):  # RuntimeError: this user has no home directory
        return None
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid()
    return directory if is_ours and not facts.st_mode & 0o022 else None
