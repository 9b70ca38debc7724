"""Lines of JSON: put together in a flood, closed at the end."""

from __future__ import annotations

import json

import pytest
import trio
from rookery.http.json_lines import _PIECE_SIZE, encode_line, streamed_lines
from rookery.http.streaming import Outlet

pytestmark = pytest.mark.usefixtures("autojump_clock")


def test_a_document_is_a_line() -> None:
    """Compact and sorted; line breaks inside are escaped."""
    assert encode_line({"b": "x\ny", "a": 1}) == b'{"a":1,"b":"x\\ny"}\n'


async def put_together(sizes: list[int]) -> list[bytes]:
    """Return the pieces that go out for documents that are all there, of sizes as lines."""
    documents = [{"x": "y" * (size - len(b'{"x":""}\n'))} for size in sizes]

    async def first():
        yield documents[0]

    rest = [documents[1:]]
    response = streamed_lines(
        first(), is_endless=True, close=lambda: None, ready=lambda: rest.pop() if rest else []
    )
    pieces: list[bytes] = []

    class Recording(Outlet):
        async def send(self, data: bytes) -> None:
            pieces.append(data)
            await trio.lowlevel.checkpoint()

    await response.produce(Recording(1))
    lines = b"".join(pieces).splitlines()
    assert [json.loads(line) for line in lines] == documents
    return pieces


async def test_documents_that_are_there_go_together() -> None:
    """Up to a size; none is cut, none is lost."""
    assert len(await put_together([20] * 100)) == 1
    half = _PIECE_SIZE // 2
    assert [len(piece) for piece in await put_together([half] * 5)] == [2 * half, 2 * half, half]
    pieces = await put_together([half - 1, half, 20, 20])
    assert [len(piece) for piece in pieces] == [2 * half + 19, 20]
    assert len(await put_together([_PIECE_SIZE * 3, _PIECE_SIZE * 3])) == 2
