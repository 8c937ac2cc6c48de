"""Claims for one endpoint: tasks begun before first, then fresh ones as far as the wave goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from orchestrator.domain import Claim, Digest
from orchestrator.ports import ClaimRequest, TaskStore
from orchestrator.scheduler.context import RunContext
from orchestrator.scheduler.loads import Loads

_Key = tuple[bool, str, Digest, str]


class Taking:
    """Claims turns of the models that one endpoint has loaded, and remembers where there was nothing to claim."""

    def __init__(self, run: RunContext, endpoint: str, loads: Loads, *, waves: bool) -> None:
        self.wave: dict[Digest, int] | None = {} if waves else None
        self.first = True  # no wave has begun
        self._run = run
        self._endpoint = endpoint
        self._loads = loads
        self._empty: set[_Key] = set()
        self._turn = 0

    def begin(self, wave: Mapping[Digest, int]) -> None:
        """Let so many tasks of each digest be begun."""
        self.wave = dict(wave)
        self.first = False
        self.look_again()

    def give_back(self, claim: Claim) -> None:
        """A first turn failed and will be tried again: it has its place in the wave still."""
        if self.wave is not None and not claim.turns:
            self.wave[claim.digest] = self.wave.get(claim.digest, 0) + 1

    def look_again(self) -> None:
        """Something may have come where there was nothing to claim."""
        self._empty.clear()

    async def take(self, free: int) -> list[Claim]:
        """Up to `free` tasks of one kind; none only if there is nothing to claim."""
        for key in self._keys():
            fresh, _, digest, _ = key
            room = free if not fresh or self.wave is None else min(free, self.wave.get(digest, 0))
            if key in self._empty or not room:
                continue
            limit, mine = self._run.reserve(room, fresh=fresh)
            if limit == 0:
                continue
            claims = await self._run.commits.do(partial(_claim, self._request(key, limit, mine)))
            self._run.admit(claims, limit, mine)
            if fresh and self.wave is not None:
                self.wave[digest] -= len(claims)
            if len(claims) < limit:
                self._empty.add(key)
            if claims:
                return claims
        return []

    def _keys(self) -> list[_Key]:
        # Tasks already begun come first: they are closest to a verdict and their prefix is still in the cache.
        speaking = [
            (model, digest)
            for model in self._loads.loaded
            for digest, debate in self._run.debates.items()
            if any(actor.model == model for actor in debate.actors)
        ]
        begun = [(False, model, digest, home) for model, digest in speaking for home in (self._endpoint, "")]
        fresh = [(True, model, digest, "") for model, digest in speaking if self._opens(digest, model)]
        # Debates take turns at beginning tasks, so that a small one does not wait for the end of a large one.
        self._turn += 1
        place = self._turn % len(fresh) if fresh else 0
        return [*begun, *fresh[place:], *fresh[:place]]

    def _opens(self, digest: Digest, model: str) -> bool:
        return self._run.debates[digest].first.model == model

    def _request(self, key: _Key, limit: int, mine: bool) -> ClaimRequest:
        fresh, model, digest, home = key
        now = self._run.clock.now()
        return ClaimRequest(
            run_id=self._run.run_id,
            endpoint=self._endpoint,
            digest=digest,
            model=model,
            limit=limit,
            now=now,
            leased_until=now + timedelta(seconds=self._run.lease_s),
            fresh=fresh,
            mine=mine,
            home=home,
            resident=self._loads.version,
        )


def _claim(request: ClaimRequest, store: TaskStore) -> list[Claim]:
    return store.claim(request)
