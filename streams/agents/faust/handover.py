"""What rebalances mean to a reader in another thread, who hears of them at its polls, one step at a time."""

from __future__ import annotations

from collections.abc import Iterable

from streams.errors import Fenced
from streams.event_log.protocol import TopicPartition


class Handover:
    """The partitions that a group gave to one member, and those that the member's reader knows of. No I/O.

    In an orderly rebalance a member keeps what it had and is given again: nobody else had it in between. One that
    missed a generation cannot know, so its reader loses everything first. One that comes back under another name was
    put out by the group, and its reader is told so.
    """

    def __init__(self) -> None:
        self._owned: frozenset[TopicPartition] = frozenset()
        self._told: frozenset[TopicPartition] = frozenset()
        self._lost: frozenset[TopicPartition] = frozenset()
        """Of those told: what others own, or have owned in between."""
        self._member = ""
        self._generation = -1
        self._was_put_out = False

    @property
    def told(self) -> frozenset[TopicPartition]:
        """The partitions that the reader knows it holds."""
        return self._told

    @property
    def held(self) -> frozenset[TopicPartition]:
        """Those of them that are still the member's: it alone may read and commit them."""
        return frozenset() if self._was_put_out else self._told - self._lost

    @property
    def was_put_out(self) -> bool:
        """Whether the group put the member out since the reader's last poll."""
        return self._was_put_out

    def assigned(self, owned: Iterable[TopicPartition], member: str, generation: int) -> frozenset[TopicPartition]:
        """Take in what the group gives in a new generation; return the partitions that the reader reads on in."""
        self._owned = frozenset(owned)
        in_order = member == self._member and generation == self._generation + 1
        self._lost |= self._told - self._owned if in_order else self._told
        self._was_put_out |= bool(self._told) and member != self._member
        self._member, self._generation = member, generation
        return self.held

    def put_out(self) -> None:
        """Take in that the group no longer knows this member."""
        self._was_put_out |= bool(self._told)

    def next_step(self) -> bool:
        """Tell the reader what it lost, or else what it gained; return whether there was anything to tell.

        Raises Fenced once if the member was put out; the reader holds nothing then, and gains anew."""
        if self._was_put_out:
            self.begin()
            raise Fenced("the group went on without this member")
        if self._lost:
            self._told, self._lost = self._told - self._lost, frozenset()
            return True
        changes = self._told != self._owned
        self._told = self._owned
        return changes

    def begin(self) -> None:
        """Begin with a new reader, who knows of nothing."""
        self._told = self._lost = frozenset()
        self._was_put_out = False
