"""Seats on an endpoint: as many as the limit says, first come first served, and none is ever lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import TaskId
from orchestrator.scheduler.seats import Seats


class Hall:
    """Seats with a limit that can change, and what became of everybody who asked for one."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seats = Seats(lambda: self.limit)
        self.seated: list[int] = []
        self.sent_away: list[int] = []
        self.asking: dict[int, asyncio.Task[None]] = {}

    async def ask(self, *numbers: int) -> None:
        for number in numbers:
            self.asking[number] = asyncio.create_task(self._ask(number))
            await settled()

    async def leave(self, *numbers: int) -> None:
        for number in numbers:
            self.seats.leave(TaskId(number))
        await settled()

    async def _ask(self, number: int) -> None:
        seated = await self.seats.take(TaskId(number))
        (self.seated if seated else self.sent_away).append(number)


async def settled() -> None:
    """Let everybody run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def hall(limit: int) -> AsyncIterator[Hall]:
    """A hall; whoever waits at the end is sent home."""
    here = Hall(limit)
    try:
        yield here
    finally:
        for task in here.asking.values():
            task.cancel()
        await asyncio.gather(*here.asking.values(), return_exceptions=True)


async def test_limit_bounds_the_seated() -> None:
    async with hall(2) as here:
        await here.ask(1, 2, 3)

        assert here.seated == [1, 2]


async def test_first_to_come_is_served_first() -> None:
    async with hall(1) as here:
        await here.ask(5, 3, 4)
        await here.leave(5)
        await here.leave(3)

        assert here.seated == [5, 3, 4]


async def test_task_that_goes_on_keeps_its_seat() -> None:
    async with hall(1) as here:
        await here.ask(1, 2)

        assert await here.seats.take(TaskId(1))
        assert here.seated == [1]


async def test_going_on_works_when_closed() -> None:
    async with hall(1) as here:
        await here.ask(1)
        here.seats.close()

        assert await here.seats.take(TaskId(1))


async def test_leaving_twice_frees_one_seat() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3)
        await here.leave(1, 1)

        assert here.seated == [1, 2]


async def test_raised_limit_seats_more() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3, 4)
        here.limit = 3
        assert here.seated == [1]

        here.seats.give()
        await settled()

        assert here.seated == [1, 2, 3]


async def test_lowered_limit_unseats_nobody() -> None:
    async with hall(3) as here:
        await here.ask(1, 2, 3, 4)
        here.limit = 1

        await here.leave(1, 2)
        assert here.seated == [1, 2, 3]
        await here.leave(3)

        assert here.seated == [1, 2, 3, 4]


async def test_close_sends_waiting_away() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3)
        here.seats.close()
        await settled()
        await here.ask(4)
        await here.leave(1)

        assert here.seated == [1]
        assert here.sent_away == [2, 3, 4]


async def test_sent_away_the_seated_stay_and_seats_are_given_again() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3)
        here.seats.send_away()
        await here.ask(4)
        await here.leave(1)

        assert here.sent_away == [2, 3]
        assert here.seated == [1, 4]


async def test_opened_again_it_gives_seats() -> None:
    async with hall(1) as here:
        here.seats.close()
        here.seats.open()
        await here.ask(1)

        assert here.seated == [1]


async def test_cancelled_waiting_one_is_passed_over() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3)
        here.asking[2].cancel()
        await settled()
        await here.leave(1)

        assert here.seated == [1, 3]


async def test_cancel_gives_granted_seat_back() -> None:
    async with hall(1) as here:
        await here.ask(1, 2, 3)
        here.seats.leave(TaskId(1))  # the seat is granted to 2, who has not run since
        here.asking[2].cancel()
        await settled()

        assert here.seated == [1, 3]


async def test_cancel_after_close_takes_nothing() -> None:
    async with hall(1) as here:
        await here.ask(1, 2)
        here.seats.close()
        here.asking[2].cancel()
        await settled()
        here.seats.open()
        await here.leave(1)
        await here.ask(3)

        assert here.seated == [1, 3]
        assert here.sent_away == []


MOVES = st.lists(st.tuples(st.sampled_from(["ask", "leave", "cancel", "limit"]), st.integers(1, 9)), max_size=60)


@pytest.mark.parametrize("yields", [True, False])
@given(moves=MOVES)
async def test_no_seat_is_lost_or_doubled(yields: bool, moves: list[tuple[str, int]]) -> None:
    async with hall(2) as here:
        await play(here, moves, yields=yields)
        here.limit = 2
        for number in list(here.asking):
            here.asking[number].cancel()
            here.seats.leave(TaskId(number))
        await settled()
        here.seated.clear()
        await here.ask(101, 102, 103)

        assert here.seated == [101, 102]


async def play(here: Hall, moves: list[tuple[str, int]], *, yields: bool) -> None:
    for move, number in moves:
        match move:
            case "ask" if number not in here.asking:
                here.asking[number] = asyncio.create_task(here._ask(number))
            case "leave" if number in here.seated:
                here.seats.leave(TaskId(number))
            case "cancel" if number in here.asking:
                here.asking[number].cancel()
            case "limit":
                here.limit = number
                here.seats.give()
        if yields:
            await settled()
