"""Claim, renew, finish, fail, expire, release, cancel and crash in any order: both stores agree at every step."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from orchestrator.domain import TaskId, Token
from orchestrator.store.tasks import SqlTaskStore
from tests.contract.test_task_store_states import PICKS, BothStores
from tests.faults import report
from tests.faults.audit import Audit
from tests.faults.report import many
from tests.store_rows import SECOND, Store, at, attempts_of, drafts, request, spoken, submission, turns_of

EXAMPLES = many(300, 10_000)
STEPS = 30

pytestmark = pytest.mark.slow


class Crash(Exception):  # noqa: N818 -- no error: the process ends here
    """The process ends in the middle of a transaction."""


class CrashingStores(BothStores):
    """The verbs of the contract, and crashes between and inside them."""

    audit: ClassVar = Audit()

    def __init__(self) -> None:
        """Nothing seen yet."""
        super().__init__()
        self.seen: dict[TaskId, tuple[Token, int]] = {}

    def teardown(self) -> None:
        """What is left breaks no promise."""
        found = self.audit.breaches(self.sql.path)
        super().teardown()
        assert found == []

    @rule(pick=PICKS)
    def crash(self, pick: int) -> None:
        """What the process was about to commit is gone, and a new one opens the file."""
        wanted = request(self.runs[pick % len(self.runs)], now=at(self.clock), leased_until=at(self.clock + 60))
        for store in (self.sql, self.memory):
            with suppress(Crash), store.batch():
                for claim in store.claim(wanted):
                    store.record(spoken(claim, then=SECOND, hold=True), at(self.clock))
                store.submit(submission(), drafts("never"), at(self.clock))
                raise Crash
        self.sql.close()
        self.sql = SqlTaskStore(self.sql.path, synchronous="NORMAL")

    @rule(key=st.sampled_from("abcde"))
    def read(self, key: str) -> None:
        """What was said, and what failed, is the same in both."""

        def said(store: Store) -> object:
            return turns_of(store, key), attempts_of(store, key)

        if any(task.key == key for task in self.memory.tasks()):
            self.both(said)

    @invariant()
    def nothing_is_taken_back(self) -> None:
        """Tokens only grow, turns stay, and a task has a verdict if and only if it is done."""
        for task in self.memory.tasks():
            token, turns = self.seen.get(task.task_id, (Token(0), 0))
            assert task.token >= token
            assert task.turns >= turns
            assert (task.verdict is not None) == (task.status == "done")
            self.seen[task.task_id] = task.token, task.turns


def test_both_stores_agree_in_any_order() -> None:
    machine = CrashingStores.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )

    machine("runTest").runTest()

    verified = CrashingStores.audit.verified
    report.line("F17 verbs in any order", EXAMPLES, EXAMPLES, 0, 0, 0, 0, verified)
    assert verified >= EXAMPLES
