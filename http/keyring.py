"""/v1/agent/keyring/{list,install,use,remove}: the gossip keys of all members.

Check order: server role, (token: `agent:write`, with the ACLs), the operation's name, and but for
`list` the body `{"Key":"<base64>"}`. The method is not looked at. All members must agree: what any
of them refuses, or does not answer in time, is 500 with a count; why is in the members' logs. It is
as slow as the slowest member.

Where it comes from (public API): Nomad's `KeyringOperationRequest` in
`command/agent/agent_endpoint.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..agent.quoting import readable
from .faults import OperationUnknown, PlainFault, RoleMissing
from .json_reading import BodyError, read_fields, read_json
from .request import Request
from .responses import Response, json_response

if TYPE_CHECKING:
    from ..agent.service import AgentService

PREFIX = "/v1/agent/keyring/"

_LIST = "list"
_OPERATIONS = frozenset({_LIST, "install", "use", "remove"})


class Keyring:
    """The endpoint; its subtree has one operation a name."""

    def __init__(self, service: AgentService) -> None:
        self._service = service

    async def answer(self, request: Request) -> Response:
        """Run the operation on all members."""
        if not self._service.has_server:
            raise RoleMissing
        operation = request.path.removeprefix(PREFIX)
        if operation not in _OPERATIONS:
            raise OperationUnknown
        key = "" if operation == _LIST else _read_key(request.body)
        outcome = await self._service.keyring(operation, key)
        document = {
            "Keys": outcome.keys,
            "Messages": {readable(name): text for name, text in outcome.messages.items()},
            "NumNodes": outcome.nodes,
        }
        return json_response(document, is_pretty=request.parameters.is_pretty)


def _read_key(body: bytes | None) -> str:
    """Return the key in a body; one without is the empty key.

    Raises:
        PlainFault: It cannot be read.
    """
    try:
        fields = read_fields(read_json(body), "structs.KeyringRequest", {"Key": "string"})
    except BodyError as error:
        raise PlainFault(str(error)) from error
    return cast(str, fields.get("Key", ""))
