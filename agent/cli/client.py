"""How commands talk to a running agent: its address, requests, and errors worth reading.

The address is `-address`, else `ROOKERY_ADDR`, else `NOMAD_ADDR`, else the local agent's default.
As in Nomad's commands only status 200 is success, and any other is told as `Unexpected response
code: 403 (Permission denied)`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..durations import format_duration
from ..quoting import readable
from ..settings import HTTP_PORT_DEFAULT
from .options import Declared, option

if TYPE_CHECKING:
    import httpx

ADDRESS_DEFAULT = f"http://127.0.0.1:{HTTP_PORT_DEFAULT}"

CONNECT_SECONDS_MAX = 5.0
"""How long reaching the agent may take. It is near; what takes longer is a firewall."""

ANSWER_SECONDS_MAX = 30.0
"""How long an answer from what the agent knows may take, leader queries (some 5 s) included."""

JOIN_SECONDS_MAX = 600.0
"""How long a join may take: the agent tries every address for up to 30 s."""

KEYRING_SECONDS_MAX = 120.0
"""How long an operation on all members' keys may take: the deadline of a query, which grows with
the pool's size (32 s for a thousand members on the slow profile)."""

SILENCE_SECONDS_MAX = 60.0
"""How long a stream may say nothing. Agents send a heartbeat every 10 s."""

Query = Sequence[tuple[str, str]]


class UnexpectedResponse(click.ClickException):
    """The agent answered with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"Unexpected response code: {status} ({readable(text).strip()[:500]})")
        self.status = status


def address_option(command: Declared) -> Declared:
    """Declare `-address` on a command, whose parameter is then called `address`."""
    text = f"Address of the agent; also ROOKERY_ADDR or NOMAD_ADDR. Default: {ADDRESS_DEFAULT}."
    return option("address", text, metavar="URL")(command)


def agent_url(address: str | None) -> str:
    """Return the URL of the agent to talk to.

    Raises:
        click.ClickException: It is not one of HTTP.
    """
    found = address or os.environ.get("ROOKERY_ADDR") or os.environ.get("NOMAD_ADDR")
    url = (found or ADDRESS_DEFAULT).rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    if not url.startswith(("http://", "https://")):
        raise click.ClickException(f"{url!r} is no address of an agent; write http://HOST:PORT")
    return url


class AgentClient:
    """Requests to one agent."""

    def __init__(self, address: str | None) -> None:
        self._url = agent_url(address)

    def get(self, path: str, query: Query = ()) -> Any:
        """Return the JSON answer of a GET.

        Raises:
            UnexpectedResponse: The status is not 200.
            click.ClickException: The agent cannot be reached, or does not answer JSON.
        """
        return self._read_json(self._request("GET", path, query, b"", ANSWER_SECONDS_MAX))

    def put(
        self,
        path: str,
        query: Query = (),
        *,
        body: bytes = b"",
        seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> Any:
        """Return the JSON answer of a PUT. Raises as `get`."""
        return self._read_json(self._request("PUT", path, query, body, seconds_max))

    def act(self, path: str, query: Query = ()) -> None:
        """PUT what has no answer but success. Raises as `get`."""
        self._request("PUT", path, query, b"", ANSWER_SECONDS_MAX)

    def put_lines(self, path: str, query: Query = (), *, body: bytes = b"") -> Iterator[Any]:
        """Yield the documents that stream back on a PUT, as they come, without heartbeats.

        Raises:
            UnexpectedResponse: The status is not 200.
            click.ClickException: The agent cannot be reached, stops in the middle, or sends
                something else.
        """
        import httpx

        timeout = httpx.Timeout(SILENCE_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)
        url = self._url + path
        has_begun = False
        with (
            self._told_errors(SILENCE_SECONDS_MAX, lambda: has_begun),
            httpx.Client(timeout=timeout, trust_env=False) as client,
            client.stream("PUT", url, params=list(query), content=body) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise UnexpectedResponse(response.status_code, response.text)
            has_begun = True
            for line in response.iter_lines():
                document = self._parse(line)
                if document:
                    yield document

    def _request(
        self, method: str, path: str, query: Query, body: bytes, seconds_max: float
    ) -> httpx.Response:
        import httpx

        timeout = httpx.Timeout(seconds_max, connect=CONNECT_SECONDS_MAX)
        with self._told_errors(seconds_max, lambda: False):
            response = httpx.request(
                method,
                self._url + path,
                params=list(query),
                content=body or None,
                timeout=timeout,
                trust_env=False,
            )
        if response.status_code != 200:
            raise UnexpectedResponse(response.status_code, response.text)
        return response

    def _read_json(self, response: httpx.Response) -> Any:
        return self._parse(response.text)

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise click.ClickException(
                f"{self._url} does not answer like an agent; is that its HTTP port?"
            ) from None

    @contextmanager
    def _told_errors(self, seconds_max: float, has_begun: Callable[[], bool]) -> Iterator[None]:
        """Tell what goes wrong with the connection in the command's words."""
        import httpx

        try:
            yield
        except httpx.TimeoutException:
            raise click.ClickException(
                f"the agent at {self._url} did not answer within {format_duration(seconds_max)}"
            ) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if has_begun():
                raise click.ClickException(
                    f"the agent at {self._url} broke off in the middle of its answer"
                ) from None
            raise click.ClickException(
                f"cannot reach the agent at {self._url}: {_reason(error)}."
                " Is it running? -address or ROOKERY_ADDR names another"
            ) from None


def _reason(error: Exception) -> str:
    """Return what went wrong below HTTP, without the layers' own words around it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).lower() or type(error).__name__


def print_json(document: Any) -> None:
    """Print a document as the agent's `pretty` form has it."""
    click.echo(json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False))


def print_json_line(document: Any) -> None:
    """Print one document of a stream as a line."""
    click.echo(json.dumps(document, sort_keys=True, ensure_ascii=False))


def tags_text(tags: Mapping[str, str]) -> str:
    """Return tags as `key=value`, sorted, separated by commas."""
    return ",".join(f"{key}={tags[key]}" for key in sorted(tags))
