"""The merge rules: what an alive, suspect or dead message does to the table.

How it works: a claim about a node counts by its incarnation, which only the node itself may raise.
alive needs a higher one than known; suspect and dead an equal one at least. What is news is passed
on, re-encoded, once. Told that we are suspect or dead, or shown an alive message about us that is
not ours, we refute with a higher incarnation.

Before the rules come checks that Go peers lack or have only with a delegate: an alive message
without its six version bytes, with an odd address or an over-long meta is neither taken nor passed
on, because it would crash or poison Go peers.

Sources: SWIM, section 4.2 (suspicion and incarnation); memberlist state.go (aliveNode,
suspectNode, deadNode, refute).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..addresses import ADDRESS_SIZES, Address, address_of
from ..evidence import EvidenceKind
from ..notices import NameConflict
from ..wire.limits import META_SIZE_MAX
from ..wire.messages import Alive, Dead, Suspect, encode_message
from ..wire.messages import NodeState as NodeRecord
from .awareness import Awareness
from .delegate import SwimDelegate
from .dissemination import Dissemination
from .nodes import Node, NodeState, NodeTable
from .outbox import Outbox
from .settings import SwimSettings
from .suspicion import Suspicion, confirmations_wanted, suspicion_timeout_min
from .timers import Timer, TimerHeap
from .versions import versions_defect

INCARNATION_MAX = 2**31
"""Claims at or above this are refused and not passed on, unless they follow closely on what we
know. Incarnations count refutations and tag changes, so nobody honest comes near; a claim just
below 2**32 about a node could never be refuted, and Go's counter would wrap to 0."""

INCARNATION_STEP_MAX = 2**16
"""How far beyond INCARNATION_MAX a claim may be above what we know of the node. The victim of the
highest claim that counts must be able to refute it, and to go on from there."""

NODE_NAME_ACCEPTED_MAX = 512
"""Bytes of others' names. Go peers set no limit unless they validate names (then 128); a table of
them must stay bounded, and a message about any of them, meta included, must fit a gossip packet."""

CONFLICT_NOTICE_INTERVAL = 10.0
"""Seconds between two notices about one contested name: every push-pull and refutation repeats the
claim."""

CLAIM_KEEP = 300.0
"""Seconds beyond the reclaim time that a claim to another's name counts. A claimant that is still
there repeats itself at each of its push-pulls; one that is long gone must not be given the name,
because the old node could not have it back."""


def is_believable(incarnation: int, known: int) -> bool:
    """Return whether a claim's incarnation may be taken, `known` being the one that we hold."""
    if incarnation < INCARNATION_MAX:
        return True
    # The last number is left to the refutation.
    return incarnation - known <= INCARNATION_STEP_MAX and incarnation < 2**32 - 1


def alive_defect(alive: Alive, known: int) -> tuple[str, str] | None:
    """Return reason and detail why an alive message must be neither taken nor passed on.

    None when it is sound. `known` is the incarnation that we hold of the node, 0 of a new one.
    """
    if not alive.node:
        return "alive_without_name", "empty node name"
    if (size := name_size(alive.node)) > NODE_NAME_ACCEPTED_MAX:
        return "node_name_too_long", f"{size} bytes"
    if defect := versions_defect(alive.versions):
        return "bad_versions", f"{alive.node!r}: {defect}"
    if len(alive.address) not in ADDRESS_SIZES:
        return "bad_address", f"{alive.node!r}: {len(alive.address)} address bytes"
    if len(alive.meta) > META_SIZE_MAX:
        return "meta_too_large", f"{alive.node!r}: {len(alive.meta)} bytes of meta"
    if alive.incarnation == 0:
        # A Go peer would keep a dead entry of it; there is nothing to believe in such a claim.
        return "incarnation_zero", f"alive {alive.node!r}"
    if not is_believable(alive.incarnation, known):
        return "incarnation_out_of_range", f"alive {alive.node!r}: {alive.incarnation}"
    return None


class Membership:
    """Applies claims to the table; owns the suspicions and our own incarnation."""

    def __init__(
        self,
        settings: SwimSettings,
        table: NodeTable,
        timers: TimerHeap,
        outbox: Outbox,
        dissemination: Dissemination,
        awareness: Awareness,
        delegate: SwimDelegate,
    ) -> None:
        self._settings = settings
        self._table = table
        self._timers = timers
        self._outbox = outbox
        self._dissemination = dissemination
        self._awareness = awareness
        self._delegate = delegate
        self._suspicions: dict[str, tuple[Suspicion, Timer]] = {}
        self._incarnation = 0
        self.is_leaving = False
        self.refutations = 0
        self.conflicts = 0
        # One entry a name of the table at most; gone with the node.
        self._conflicts_reported: dict[str, float] = {}
        # The latest claim to a name of the table from another address, kept while it may be granted
        # one day: with a reclaim time, until the old node has been dead for that long.
        self._claims: dict[str, tuple[Alive, float, Timer | None]] = {}

    # --- ourselves --------------------------------------------------------------------

    @property
    def own_node(self) -> Node:
        """Our own entry."""
        node = self._table.get(self._settings.node_name)
        assert node is not None, "the engine enters itself at start"
        return node

    def enter_self(self, meta: bytes, *, now: float) -> None:
        """Enter ourselves as alive with incarnation 1 and announce it."""
        settings = self._settings
        self._incarnation = 1
        node = Node(
            settings.node_name,
            settings.address,
            settings.port,
            meta,
            settings.versions,
            incarnation=1,
            state=NodeState.ALIVE,
            changed=now,
        )
        self._table.add(node)
        self._announce_self(now)
        self._delegate.node_joined(node, now=now)

    def update_meta(self, meta: bytes, *, now: float) -> None:
        """Take a new meta of our own, under the next incarnation, and announce it."""
        if self.is_leaving:
            return  # who has left does not announce itself alive again
        node = self.own_node
        self._incarnation += 1
        node.incarnation = self._incarnation
        node.meta = meta
        self._announce_self(now)
        self._delegate.node_updated(node, now=now)

    def leave(self, *, now: float, finished: Callable[[], None]) -> None:
        """Declare ourselves left; `finished` is called when the pool was told often enough.

        From now on claims about us are not answered any more.
        """
        self.is_leaving = True
        node = self.own_node
        dead = Dead(node.incarnation, node.name, node.name)
        self._dissemination.broadcast(
            encode_message(dead), name=node.name, now=now, finished=finished
        )
        self._mark_gone(node, node.incarnation, NodeState.LEFT, now)

    def _announce_self(self, now: float) -> None:
        self._dissemination.broadcast(
            encode_message(_alive_of(self.own_node)), name=self._settings.node_name, now=now
        )

    def _refute(self, accused: int, now: float, accuser: str, claim: str) -> None:
        """Outbid a claim about ourselves, and doubt ourselves a little more."""
        node = self.own_node
        self._incarnation = max(self._incarnation + 1, accused + 1)
        node.incarnation = self._incarnation
        self.refutations += 1
        self._awareness.apply(1)
        self._announce_self(now)
        self._outbox.remark(
            "refuted", "warning", claim=claim, accuser=accuser, incarnation=node.incarnation
        )

    def _repeat_refutation(self, node: Node, now: float) -> None:
        """Say again what an accuser with an old claim about us has missed.

        In a small pool a refutation is sent four times in all; with a third of the packets lost
        it happens that nobody hears it, and Go's node then looks on while it is declared dead.
        """
        if node.name != self._settings.node_name or self.is_leaving:
            return
        if not self._dissemination.queue.is_queued(node.name):
            self._announce_self(now)

    def forget(self, node: Node) -> None:
        """Drop what is kept about a node that left the table."""
        self._end_suspicion(node.name)
        self._conflicts_reported.pop(node.name, None)
        self._drop_claim(node.name)
        self._delegate.node_forgotten(node)

    def observe(
        self, kind: EvidenceKind, node: Node, now: float, *, by: str = "", detail: str = ""
    ) -> None:
        """Leave a record of why the belief about a node is what it is."""
        self._delegate.observe(
            kind, node.name, by=by, incarnation=node.incarnation, detail=detail, now=now
        )

    def note_namesake(self, address: Address, *, now: float) -> None:
        """Hear, other than by an alive message, that a node at `address` has our name too.

        It is told like any conflict, but not put to a vote: who learns of it in this way learns it
        from the other's vote, and two votes that call for one another would never end.
        """
        if address != self.own_node.destination:
            self._tell_conflict(self.own_node, address, now)

    # --- claims -----------------------------------------------------------------------

    def handle_alive(self, alive: Alive, source: Address | None, *, now: float) -> None:
        """Apply an alive message, from a packet or a push-pull."""
        node = self._table.get(alive.node)
        if (
            node is not None
            and alive.incarnation <= node.incarnation
            and alive.address == node.address
            and alive.port == node.port
            and alive.node != self._settings.node_name
        ):
            return  # old news, which most gossip is: looked at first
        is_own = alive.node == self._settings.node_name
        if is_own and self.is_leaving:
            return
        if alive.port == 0:
            alive = replace(alive, port=self._settings.port)
        if defect := alive_defect(alive, 0 if node is None else node.incarnation):
            self._outbox.rejections.record(*_placed(defect, source), now=now)
            return
        record = NodeRecord(
            alive.node,
            alive.address,
            alive.port,
            alive.meta,
            alive.incarnation,
            int(NodeState.ALIVE),
            alive.versions,
        )
        if not is_own and (refusal := self._delegate.refuses_node(record)) is not None:
            self._outbox.rejections.record("node_refused", source, refusal, now=now)
            return
        is_takeover = False
        if node is not None and (node.address != alive.address or node.port != alive.port):
            is_takeover = not is_own and self._may_move(node, now)
            if not is_takeover:
                self._report_conflict(node, record, now)
                if not is_own:
                    self._keep_claim(node, alive, now)
                return
        if node is None:
            if len(self._table) >= self._settings.nodes_max:
                self._outbox.rejections.record(
                    "table_full", source, f"alive {alive.node!r}", now=now
                )
                return
            node = Node(
                alive.node,
                alive.address,
                alive.port,
                alive.meta,
                alive.versions,
                incarnation=0,
                state=NodeState.DEAD,
                changed=now,
            )
            self._table.add(node)
        if is_own:
            self._handle_own_alive(alive, now)
        elif is_takeover or alive.incarnation > node.incarnation:
            self._take_alive(node, alive, now)

    def handle_suspect(self, suspect: Suspect, source: Address | None, *, now: float) -> None:
        """Apply a suspect message: start a suspicion, or confirm one."""
        node = self._table.get(suspect.node)
        if node is None:
            return
        if suspect.incarnation < node.incarnation:
            self._repeat_refutation(node, now)
            return
        if self._refuses_claim(node, "suspect", suspect, source, now):
            return
        running = self._suspicions.get(node.name)
        if running is not None:
            if running[0].confirm(suspect.accuser):
                self.observe(EvidenceKind.CONFIRMED, node, now, by=suspect.accuser)
                self._dissemination.broadcast(encode_message(suspect), name=node.name, now=now)
                self._arm(node, running[0], now)
            return
        if node.state is not NodeState.ALIVE:
            return
        if node.name == self._settings.node_name:
            self._refute(suspect.incarnation, now, suspect.accuser, "suspect")
            return
        self._dissemination.broadcast(encode_message(suspect), name=node.name, now=now)
        node.incarnation = suspect.incarnation
        node.state = NodeState.SUSPECT
        node.changed = now
        self._suspect(node, suspect.accuser, now)

    def handle_dead(self, dead: Dead, source: Address | None, *, now: float) -> None:
        """Apply a dead message: the node failed, or left when it says so itself."""
        node = self._table.get(dead.node)
        if node is None:
            return
        if dead.incarnation < node.incarnation:
            self._repeat_refutation(node, now)
            return
        if self._refuses_claim(node, "dead", dead, source, now):
            return
        if node.name == self._settings.node_name:
            # While leaving we have said so ourselves; nothing is left to answer.
            if not self.is_leaving:
                self._refute(dead.incarnation, now, dead.accuser, "dead")
            return
        self._end_suspicion(node.name)
        if node.is_gone:
            return
        self._dissemination.broadcast(encode_message(dead), name=node.name, now=now)
        state = NodeState.LEFT if dead.accuser == dead.node else NodeState.DEAD
        self._mark_gone(node, dead.incarnation, state, now)
        left = state is NodeState.LEFT
        kind = EvidenceKind.DECLARED_LEFT if left else EvidenceKind.DECLARED_DEAD
        self.observe(kind, node, now, by=dead.accuser)

    # --- what they do -----------------------------------------------------------------

    def _handle_own_alive(self, alive: Alive, now: float) -> None:
        node = self.own_node
        if alive.incarnation < node.incarnation:
            return
        if (
            alive.incarnation == node.incarnation
            and alive.meta == node.meta
            and alive.versions == node.versions
        ):
            return
        self._refute(alive.incarnation, now, "", "alive")

    def _take_alive(self, node: Node, alive: Alive, now: float) -> None:
        self._end_suspicion(node.name)
        self._drop_claim(node.name)
        was_gone, old_meta = node.is_gone, node.meta
        was_suspect = node.state is NodeState.SUSPECT
        self._dissemination.broadcast(encode_message(alive), name=node.name, now=now)
        node.incarnation = alive.incarnation
        node.meta = alive.meta
        node.versions = alive.versions
        node.address = alive.address
        node.port = alive.port
        if node.state is not NodeState.ALIVE:
            node.state = NodeState.ALIVE
            node.changed = now
        if was_gone:
            self._delegate.node_joined(node, now=now)
            self._dissemination.wake(now)
            self.observe(EvidenceKind.JOINED, node, now)
        elif alive.meta != old_meta:
            self._delegate.node_updated(node, now=now)
            self.observe(EvidenceKind.UPDATED, node, now)
        if was_suspect:
            self.observe(EvidenceKind.REFUTED, node, now, by=node.name)

    def _may_move(self, node: Node, now: float) -> bool:
        """Whether the name of a node may be taken to another address."""
        if node.state is NodeState.LEFT:
            return True
        reclaim = self._settings.dead_node_reclaim_time
        return node.state is NodeState.DEAD and reclaim > 0 and now >= node.changed + reclaim

    def _keep_claim(self, node: Node, alive: Alive, now: float) -> None:
        """Remember a claim that the reclaim time may grant.

        The claimant does not repeat itself to everybody when the time has come, so we do it for it.
        """
        if self._settings.dead_node_reclaim_time <= 0:
            return
        self._drop_claim(node.name)
        self._claims[node.name] = (alive, now, None)
        if node.state is NodeState.DEAD:
            self._await_reclaim(node)

    def _await_reclaim(self, node: Node) -> None:
        """Look at the claim to a dead node's name again when its reclaim time is over."""
        claim = self._claims.get(node.name)
        if claim is None:
            return
        deadline = node.changed + self._settings.dead_node_reclaim_time
        timer = self._timers.schedule(deadline, lambda now: self._grant_claim(node.name, now))
        self._claims[node.name] = (claim[0], claim[1], timer)

    def _grant_claim(self, name: str, now: float) -> None:
        claim = self._claims.pop(name, None)
        keep = self._settings.dead_node_reclaim_time + CLAIM_KEEP
        if claim is not None and now - claim[1] <= keep:
            self.handle_alive(claim[0], None, now=now)

    def _drop_claim(self, name: str) -> None:
        claim = self._claims.pop(name, None)
        if claim is not None and claim[2] is not None:
            claim[2].cancel()

    def _report_conflict(self, node: Node, claim: NodeRecord, now: float) -> None:
        """Keep what we have, tell the owner, and let Serf decide what to do."""
        self._tell_conflict(node, address_of(claim.address, claim.port), now)
        self._delegate.name_conflict(node, claim, now=now)

    def _tell_conflict(self, node: Node, claimed: Address, now: float) -> None:
        """Count a claim, and tell the owner now and then: both sides repeat their claims."""
        self.conflicts += 1
        reported = self._conflicts_reported.get(node.name)
        if reported is None or now - reported >= CONFLICT_NOTICE_INTERVAL:
            self._conflicts_reported[node.name] = now
            self._outbox.notices.append(NameConflict(node.name, node.destination, claimed))
            detail = f"claimed from {claimed}"
            self.observe(EvidenceKind.CONFLICT, node, now, detail=detail)

    def _suspect(self, node: Node, accuser: str, now: float) -> None:
        settings = self._settings
        size = len(self._table)
        timeout_min = suspicion_timeout_min(settings.suspicion_mult, size, settings.probe_interval)
        suspicion = Suspicion(
            started=now,
            k=confirmations_wanted(settings.suspicion_mult, size),
            timeout_min=timeout_min,
            timeout_max=timeout_min * settings.suspicion_timeout_max_mult,
            accuser=accuser,
        )
        self._outbox.remark(
            "node_suspected", "debug", node=node.name, accuser=accuser, incarnation=node.incarnation
        )
        self.observe(EvidenceKind.SUSPECTED, node, now, by=accuser)
        self._arm(node, suspicion, now)

    def _arm(self, node: Node, suspicion: Suspicion, now: float) -> None:
        """Set the suspicion's timer to its present deadline, in place of an earlier setting."""
        self._end_suspicion(node.name)
        if suspicion.deadline <= now:
            self._declare_dead(node, suspicion, now)
            return
        timer = self._timers.schedule(
            suspicion.deadline, lambda fired: self._declare_dead(node, suspicion, fired)
        )
        self._suspicions[node.name] = (suspicion, timer)

    def _declare_dead(self, node: Node, suspicion: Suspicion, now: float) -> None:
        self._suspicions.pop(node.name, None)
        if node.state is not NodeState.SUSPECT or node.changed != suspicion.started:
            return
        self._outbox.remark(
            "suspicion_ran_out",
            node=node.name,
            accuser=suspicion.accuser,
            confirmers=len(suspicion.confirmers),
            seconds=round(now - suspicion.started, 3),
        )
        self.handle_dead(Dead(node.incarnation, node.name, self._settings.node_name), None, now=now)

    def _end_suspicion(self, name: str) -> None:
        running = self._suspicions.pop(name, None)
        if running is not None:
            running[1].cancel()

    def _mark_gone(self, node: Node, incarnation: int, state: NodeState, now: float) -> None:
        node.incarnation = incarnation
        node.state = state
        node.changed = now
        if state is NodeState.DEAD:
            self._await_reclaim(node)
        self._delegate.node_gone(node, now=now)

    def _refuses_claim(
        self, node: Node, kind: str, claim: Suspect | Dead, source: Address | None, now: float
    ) -> bool:
        """Whether an accusation is one that nobody honest sends; it is counted then."""
        if not is_believable(claim.incarnation, node.incarnation):
            detail = f"{kind} {claim.node!r}: {claim.incarnation}"
            self._outbox.rejections.record("incarnation_out_of_range", source, detail, now=now)
            return True
        if (size := name_size(claim.accuser)) > NODE_NAME_ACCEPTED_MAX:
            detail = f"{kind} {claim.node!r}: accuser of {size} bytes"
            self._outbox.rejections.record("node_name_too_long", source, detail, now=now)
            return True
        return False


def name_size(name: str) -> int:
    """Return the bytes of a name on the wire."""
    return len(name.encode("utf-8", "surrogateescape"))


def _alive_of(node: Node) -> Alive:
    return Alive(node.incarnation, node.name, node.address, node.port, node.meta, node.versions)


def _placed(defect: tuple[str, str], source: Address | None) -> tuple[str, Address | None, str]:
    return defect[0], source, defect[1]
