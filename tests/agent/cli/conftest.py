"""A stand-in for the agent that commands talk to, and what they print."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from rookery.agent.cli import tables


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    body: bytes


class RecordingAgent:
    """Answers with what the test says, also in pieces, and writes down what it was asked."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[int, list[bytes]]] = {}
        self.asked: list[Asked] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                agent.asked.append(Asked(self.command, self.path, body))
                status, pieces = agent._answers.get(self.path.partition("?")[0], (404, []))
                self.send_response(status)
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()

            do_GET = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def answer(self, path: str, document: Any, status: int = 200) -> None:
        """Set the answer of a path: a text, or a document."""
        body = document if isinstance(document, str) else json.dumps(document)
        self._answers[path] = (status, [body.encode()])

    def stream(self, path: str, documents: Sequence[Any]) -> None:
        """Set the lines that stream back on a path."""
        lines = [json.dumps(document).encode() + b"\n" for document in documents]
        self._answers[path] = (200, lines)


@pytest.fixture
def asked_agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingAgent]:
    """A stand-in that ROOKERY_ADDR points to."""
    agent = RecordingAgent()
    thread = threading.Thread(target=agent.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("ROOKERY_ADDR", agent.address)
    yield agent
    agent.server.shutdown()
    agent.server.server_close()
    thread.join()


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    """Return a function for what was printed since the last call: (stdout, stderr)."""

    def printed() -> tuple[str, str]:
        out, err = capsys.readouterr()
        return out, err

    return printed


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have commands believe that they write to a terminal, 60 characters wide."""
    monkeypatch.setattr(tables, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "dumb")
