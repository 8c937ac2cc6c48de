"""vLLM's cache of prompt blocks: what many prompts begin with is kept once, and the longest unused goes first.

A block is either held by requests that run, or free. A free block keeps what it holds until its room is needed; the
free ones leave in the order in which they became free, a request's last blocks before its first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The blocks of one request, in order; the first `hits` of them were there before."""

    blocks: tuple[Hashable, ...]
    hits: int


class BlockCache:
    """So many blocks of one size."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._holders: dict[Hashable, int] = {}
        self._free: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def usage(self) -> float:
        """The share of blocks that are held."""
        return (len(self._holders) - len(self._free)) / self.capacity

    def take(self, hashes: Sequence[int], total: int, may_hit: int) -> Lease | None:
        """Blocks for a request of `total` blocks, of which the first have these hashes; None while there is no room.

        No more than `may_hit` blocks may be taken from the cache.
        """
        hits = 0
        while hits < min(len(hashes), may_hit) and hashes[hits] in self._holders:
            hits += 1
        revived = sum(block in self._free for block in hashes[:hits])
        if len(self._holders) - len(self._free) + revived + total - hits > self.capacity:
            return None
        for hit in hashes[:hits]:
            self._free.pop(hit, None)
            self._holders[hit] += 1
        while len(self._holders) + total - hits > self.capacity:
            block, _ = self._free.popitem(last=False)
            del self._holders[block]
        # A block that another request made at the same time, or one of a reply, is found by nobody.
        known = [block if block not in self._holders else object() for block in hashes[hits:]]
        new: list[Hashable] = [*known, *(object() for _ in range(total - len(hashes)))]
        self._holders.update(dict.fromkeys(new, 1))
        return Lease(blocks=(*hashes[:hits], *new), hits=hits)

    def release(self, lease: Lease) -> None:
        """Free the blocks of a request that has ended."""
        for block in reversed(lease.blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                self._free[block] = None

    def clear(self) -> None:
        """Forget everything; nothing may be held."""
        self._holders.clear()
        self._free.clear()
