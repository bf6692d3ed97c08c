"""
What a node writes into the failover log, and what it leaves to others.

Of itself each node writes: that it leads or leads no more, that it was cut off. Of the others only the leader does, or
every node would repeat it; what happened while nobody led is written by the next leader.
"""

from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic_ns, time_ns
from typing import Final

from everline.bus.discovery import PrimaryChange
from everline.cluster.candidacy import Reason, Term
from everline.cluster.election import Change
from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.heart import CutOff
from everline.cluster.table import ChangeKind, Member, NodeTable, Row, TableChange, lost_regions

MAX_UNWRITTEN: Final = 1_000
RESIGNATIONS: Final = frozenset({Reason.DRAINED, Reason.UNHEALTHY, Reason.PREFERRED, Reason.STOPPING})
_KINDS: Final = {
    ChangeKind.SUSPECT: Kind.NODE_SUSPECT,
    ChangeKind.DEAD: Kind.NODE_DEAD,
    ChangeKind.STOPPED: Kind.NODE_STOPPED,
    ChangeKind.BACK: Kind.NODE_BACK,
    ChangeKind.RESTARTED: Kind.NODE_RESTARTED,
    ChangeKind.DRAINED: Kind.NODE_DRAINED,
    ChangeKind.UNDRAINED: Kind.NODE_UNDRAINED,
    ChangeKind.TWIN: Kind.NODE_TWIN,
}
"""A node that is heard for the first time is no news for the log."""


class Chronicle:
    """
    One node's view, written down.

    Args:
        me: This node.
        table: Its table of nodes.
        note: Takes the entries: `Journal.add`.
        token: The token if this node leads and can be sure of it, else 0.
    """

    def __init__(
        self, me: Member, table: NodeTable, *, note: Callable[[Entry], None], token: Callable[[], int]
    ) -> None:
        self._me = me
        self._table = table
        self._note, self._token = note, token
        self._unwritten: deque[TableChange] = deque(maxlen=MAX_UNWRITTEN)
        self._acted_with = 0
        self._failovers: deque[Entry] = deque(maxlen=MAX_UNWRITTEN)
        self._lost_regions: frozenset[str] = frozenset()

    def election_changed(self, change: Change) -> None:
        """For `Election`: the end of a leadership. Its beginning is written when the duties begin."""
        if change.is_leader:
            return
        kind = Kind.LEADER_RESIGNED if change.reason in RESIGNATIONS else Kind.LEADER_LOST
        self.note_own(kind, change.at_us, reason=change.reason, token=change.term.token, detected_us=change.detected_us)

    def acting(self, term: Term, acted_us: int) -> None:
        """For `LeaderDuties`: this node leads and acts."""
        if term.token == self._acted_with:
            self.note_own(Kind.LEADER_RESUMED, acted_us, reason=Reason.RECONNECTED, token=term.token, acted_us=acted_us)
        else:
            self.note_own(
                Kind.LEADER_ELECTED, term.since_us, reason=term.reason, token=term.token,
                detected_us=term.detected_us, acted_us=acted_us, details={"before": term.before},
            )  # fmt: skip
        self._acted_with = term.token
        for change in self._since(term):
            self._write(change, term.token)
        for entry in self._failovers:
            if entry.acted_us >= term.detected_us:
                self._note(entry)
        self._unwritten.clear()
        self._failovers.clear()
        self._write_regions(term.token)

    def table_changed(self, changes: Sequence[TableChange]) -> None:
        """For `Heart`: written if this node leads, else kept for when it does."""
        token = self._token()
        for change in changes:
            if token:
                self._write(change, token)
            else:
                self._unwritten.append(change)
        if token:
            self._write_regions(token)

    def primary_changed(self, change: PrimaryChange) -> None:
        """For `RedisPrimary`: every node sees it, the leader writes it; the first one found is no failover."""
        if change.old is None:
            return
        now_us = time_ns() // 1000
        gone_us = now_us - int(change.gap_s * 1e6)
        entry = make_entry(
            Kind.REDIS_FAILOVER, gone_us, node=str(change.new), by=self._me.node, token=self._token(),
            detected_us=gone_us, acted_us=now_us,
            details={"old": str(change.old), "new": str(change.new), "config_epoch": change.config_epoch},
        )  # fmt: skip
        if self._token():
            self._note(entry)
        else:
            self._failovers.append(entry)

    def cut(self, off: CutOff) -> None:
        """For `Heart`."""
        self._cut(off, "no echo of own heartbeats: Redis is out of reach")

    def keeper_cut(self, off: CutOff) -> None:
        """For `KeeperWatch`."""
        self._cut(off, "Keeper is out of reach: this side does not lead, and packets wait in the spool")

    def _cut(self, off: CutOff, reason: str) -> None:
        if off.until_us:
            self.note_own(
                Kind.RECONNECTED, off.until_us, acted_us=off.until_us,
                details={"cut_off_s": (off.until_us - off.since_us) / 1e6},
            )  # fmt: skip
        else:
            self.note_own(Kind.CUT_OFF, off.since_us, reason=reason, detected_us=time_ns() // 1000)

    def _since(self, term: Term) -> list[TableChange]:
        """What the former leader did not write: it was last heard before that, or had left the seat."""
        heard_us = {row.member.node: row.heard_us for row in self._table.rows()}.get(term.before)
        empty_us = monotonic_ns() // 1000 - (time_ns() // 1000 - term.detected_us)
        from_us = min(empty_us, heard_us) if heard_us is not None else empty_us
        return [one for one in self._unwritten if one.at_us >= from_us]

    def _write(self, change: TableChange, token: int) -> None:
        kind = _KINDS.get(change.kind)
        if kind is None:
            return
        detected_us = time_ns() // 1000 - (monotonic_ns() // 1000 - change.at_us)
        is_silence = kind in {Kind.NODE_SUSPECT, Kind.NODE_DEAD}
        self._note(
            make_entry(
                kind,
                detected_us - change.silent_us if is_silence else detected_us,
                node=change.member.node,
                region=change.member.region,
                by=self._me.node,
                reason="no heartbeat" if is_silence else "",
                token=token,
                detected_us=detected_us,
                details={"silent_s": change.silent_us / 1e6, "role": change.member.role},
            )
        )

    def _write_regions(self, token: int) -> None:
        lost = lost_regions(self._table.rows())
        changes = [(Kind.REGION_LOST, name) for name in sorted(lost - self._lost_regions)]
        changes += [(Kind.REGION_BACK, name) for name in sorted(self._lost_regions - lost)]
        self._lost_regions = lost
        now_us = time_ns() // 1000
        for kind, region in changes:
            nodes = _nodes_of(self._table.rows(), region)
            self._note(
                make_entry(
                    kind, now_us, node=region, region=region, by=self._me.node, token=token, detected_us=now_us,
                    details={"nodes": nodes},
                )
            )  # fmt: skip

    def note_own(
        self,
        kind: Kind,
        at_us: int,
        *,
        reason: str = "",
        token: int = 0,
        detected_us: int = 0,
        acted_us: int = 0,
        details: dict[str, object] | None = None,
    ) -> None:
        """Write something that this node knows of itself: of its spool, of the servers that it writes to."""
        me = self._me
        self._note(
            make_entry(
                kind, at_us, node=me.node, region=me.region, by=me.node, reason=reason, token=token,
                detected_us=detected_us, acted_us=acted_us, details=details,
            )
        )  # fmt: skip


def _nodes_of(rows: Sequence[Row], region: str) -> list[str]:
    return [row.member.node for row in rows if row.is_known and row.member.region == region]
