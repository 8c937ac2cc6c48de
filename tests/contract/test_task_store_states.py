"""Both stores, driven with the same random verbs, stay the same, and tasks make legal moves only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.domain import MOVES, Claim, Resident, RunId, RunStatus, Step, TaskId, TaskStatus
from orchestrator.errors import ErrorClass
from orchestrator.store.memory import MemoryTaskStore
from orchestrator.store.tasks import SqlTaskStore
from tests.store_rows import (
    DIGEST,
    ENDPOINT,
    FIRST,
    LAST,
    OTHER,
    SECOND,
    VERDICT,
    Store,
    at,
    begin,
    drafts,
    empty_database,
    failed,
    request,
    spoken,
    submission,
    turn,
)

THEN = {FIRST: SECOND, SECOND: LAST}
STEPS = st.sampled_from([FIRST, SECOND, LAST])
KEYS = st.lists(st.sampled_from("abcde"), max_size=6)
DIGESTS = st.sampled_from([DIGEST, OTHER])
PICKS = st.integers(0, 30)
FLAGS = st.tuples(st.booleans(), st.booleans())
HOMES = st.sampled_from(["", ENDPOINT, "http://elsewhere"])


class Undone(Exception):  # noqa: N818 - thrown to leave a batch, not an error
    """Leaves a batch."""


class BothStores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(prefix="states-")
        database = empty_database(Path(self.folder.name) / "tasks.db")
        self.sql = SqlTaskStore(database, synchronous="NORMAL")
        self.memory = MemoryTaskStore()
        self.clock = 0
        self.runs: list[RunId] = []
        self.claims: list[Claim] = []
        self.swaps: list[tuple[RunId, int]] = []
        self.statuses: dict[TaskId, TaskStatus] = {}

    def teardown(self) -> None:
        self.sql.close()
        self.folder.cleanup()

    def both(self, verb: Callable[[Store], Any]) -> Any:
        """Do the same on both; the same must come of it."""
        answer = verb(self.sql)
        assert verb(self.memory) == answer
        return answer

    def step_now(self, claim: Claim) -> Step:
        states = {task.task_id: task.step for task in self.memory.tasks()}
        return states[claim.task_id] or claim.step

    @initialize(keys=KEYS)
    def two_runs_and_some_jobs(self, keys: list[str]) -> None:
        self.runs = [self.both(begin), self.both(begin)]
        self.both(lambda store: store.submit(submission(), drafts(*keys), at(0)))

    @rule(seconds=st.integers(1, 40))
    def time_goes_on(self, seconds: int) -> None:
        self.clock += seconds

    @rule(keys=KEYS, digest=DIGESTS, update=st.booleans(), again=st.booleans(), size=st.integers(0, 2))
    def submit(self, keys: list[str], digest: Any, update: bool, again: bool, size: int) -> None:
        wanted = submission(digest=digest, update=update, again=again, priority=size)
        self.both(lambda store: store.submit(wanted, drafts(*keys, size=size), at(self.clock)))

    @rule(digest=DIGESTS)
    def supersede(self, digest: Any) -> None:
        self.both(lambda store: store.supersede("jobs", digest, FIRST, at(self.clock)))

    @rule(pick=PICKS, digest=DIGESTS, step=STEPS, limit=st.integers(1, 3), flags=FLAGS, home=HOMES)
    def claim(self, pick: int, digest: Any, step: Step, limit: int, flags: tuple[bool, bool], home: str) -> None:
        mine, agreed = flags
        version = self.memory.resident(ENDPOINT, at(self.clock)).version
        wanted = request(
            self.runs[pick % len(self.runs)],
            digest=digest,
            model=step.model,
            fresh=step == FIRST,
            limit=limit,
            mine=mine,
            home="" if step == FIRST else home,
            resident=version if agreed else None,
            now=at(self.clock),
            leased_until=at(self.clock + 60),
        )
        self.claims += self.both(lambda store: store.claim(wanted))

    @precondition(lambda self: self.claims)
    @rule(pick=PICKS, hold=st.booleans(), lost=st.booleans(), home=HOMES)
    def record(self, pick: int, hold: bool, lost: bool, home: str) -> None:
        claim = self.claims[-1 - pick % len(self.claims)]
        step = claim.step if lost else self.step_now(claim)
        after = THEN.get(step)
        sequel: dict[str, Any] = {"then": after, "hold": hold} if after else {"verdict": VERDICT}
        self.both(lambda store: store.record(spoken(claim, turn=turn(step), home=home, **sequel), at(self.clock)))

    @precondition(lambda self: self.claims)
    @rule(pick=PICKS, wait=st.none() | st.integers(0, 50), counted=st.booleans(), kind=st.sampled_from(ErrorClass))
    def fail(self, pick: int, wait: int | None, counted: bool, kind: ErrorClass) -> None:
        claim = self.claims[-1 - pick % len(self.claims)]
        retry_at = None if wait is None else at(self.clock + wait)
        failure = failed(claim, retry_at, counted=counted, error_class=kind)
        self.both(lambda store: store.fail(failure, at(self.clock)))

    @precondition(lambda self: self.claims)
    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        claim = self.claims[-1 - pick % len(self.claims)]
        self.both(lambda store: store.release(claim.task_id, claim.token, at(self.clock)))

    @rule(homes=st.lists(HOMES, max_size=2))
    def leave(self, homes: list[str]) -> None:
        self.both(lambda store: store.leave(homes, at(self.clock)))

    @rule(pick=PICKS)
    def renew(self, pick: int) -> None:
        run_id = self.runs[pick % len(self.runs)]
        self.both(lambda store: store.renew(run_id, at(self.clock + 60)))

    @rule(pick=PICKS, dies=st.booleans(), most=st.integers(1, 3))
    def rescue(self, pick: int, dies: bool, most: int) -> None:
        dead = [self.runs[pick % len(self.runs)]] if dies else []
        self.both(lambda store: store.rescue(at(self.clock), most, dead))
        self.runs = [run_id for run_id in self.runs if run_id not in dead] or [self.both(begin)]

    @rule(pick=PICKS)
    def end_run(self, pick: int) -> None:
        run_id = self.runs.pop(pick % len(self.runs))
        self.both(lambda store: store.end_run(run_id, RunStatus.DONE, at(self.clock)))
        self.runs.append(self.both(begin))

    @rule(keys=st.none() | KEYS)
    def cancel(self, keys: list[str] | None) -> None:
        self.both(lambda store: store.cancel(at(self.clock), keys=keys))

    @rule(keys=st.none() | KEYS, kind=st.none() | st.sampled_from(ErrorClass))
    def retry(self, keys: list[str] | None, kind: ErrorClass | None) -> None:
        self.both(lambda store: store.retry(at(self.clock), keys=keys, error_class=kind))

    @rule(pick=PICKS)
    def begin_swap(self, pick: int) -> None:
        run_id = self.runs[pick % len(self.runs)]
        seen: Resident = self.both(lambda store: store.resident(ENDPOINT, at(self.clock)))
        version = self.both(lambda store: store.begin_swap(run_id, seen, at(self.clock + 30), at(self.clock)))
        if version is not None:
            self.swaps.append((run_id, version))

    @precondition(lambda self: self.swaps)
    @rule(pick=PICKS)
    def end_swap(self, pick: int) -> None:
        run_id, version = self.swaps[-1 - pick % len(self.swaps)]
        self.both(lambda store: store.end_swap(run_id, version, ["qwen"], None, ENDPOINT))

    @rule(keys=KEYS, digest=DIGESTS)
    def undone_batch(self, keys: list[str], digest: Any) -> None:
        for store in (self.sql, self.memory):
            try:
                with store.batch():
                    store.cancel(at(self.clock))
                    store.leave([], at(self.clock))
                    store.submit(submission(digest=digest, update=True), drafts(*keys, undone=1), at(self.clock))
                    raise Undone
            except Undone:
                continue

    @invariant()
    def both_are_the_same(self) -> None:
        self.both(lambda store: list(store.tasks()))
        self.both(lambda store: [store.waiting([DIGEST, OTHER], at(self.clock), run) for run in (None, *self.runs)])
        self.both(lambda store: store.resident(ENDPOINT, at(self.clock)))
        self.both(lambda store: (store.running(), store.leased(ENDPOINT)))

    @invariant()
    def moves_are_legal(self) -> None:
        for task in self.memory.tasks():
            before = self.statuses.get(task.task_id, TaskStatus.PENDING)
            assert task.status is before or task.status in MOVES[before], f"{before} -> {task.status}"
            self.statuses[task.task_id] = task.status


TestBothStores = BothStores.TestCase
TestBothStores.settings = settings(max_examples=50, stateful_step_count=30, deadline=None, database=None)
