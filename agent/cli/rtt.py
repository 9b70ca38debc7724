"""`rookery rtt`: estimate a round-trip time from network coordinates, as `serf rtt` does."""

from __future__ import annotations

import click

from .client import AgentClient, address_option, print_json
from .options import RookeryCommand, flag
from .tables import shown_text


@click.command(cls=RookeryCommand)
@address_option
@flag("json", "Print the agent's answer as JSON; RTT is in seconds, null when not known.")
@click.argument("nodes", nargs=-1, metavar="NODE [NODE]")
def rtt(address: str | None, json: bool | None, nodes: tuple[str, ...]) -> int:
    """Estimate the round trip between two members, or between the agent and one.

    Names are those of `rookery server members`.
    """
    if not 1 <= len(nodes) <= 2:
        raise click.UsageError("rtt: give the names of one or two members")
    query = [("from", nodes[0])] if len(nodes) == 2 else []
    answer = AgentClient(address).get("/v1/gossip/rtt", [*query, ("to", nodes[-1])])
    # As `serf rtt`, the one that was named comes first.
    ends = [answer["From"], answer["To"]] if len(nodes) == 2 else [answer["To"], answer["From"]]
    one, other = map(shown_text, ends)
    if json:
        print_json(answer)
    elif answer["RTT"] is None:
        raise click.ClickException(
            f"no estimate between {one} and {other}: both must be members that have been probed;"
            " `rookery server members` lists their names"
        )
    else:
        click.echo(f"Estimated {one} <-> {other} rtt: {answer['RTT'] * 1000:.3f} ms")
    return 1 if answer["RTT"] is None else 0
