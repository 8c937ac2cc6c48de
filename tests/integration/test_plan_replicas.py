"""A plan shares the turns out among the replicas that answer, as the run will."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator.app.planning import plan
from tests.integration.places import workplace
from tests.servers.hostile import HostileServer, nobody_listens, says

MODEL = "tiny"
CAST = dict.fromkeys(("advocate", "critic", "judge"), MODEL)
SERVES = says({"data": [{"id": MODEL}]})
Planned = dict[str, tuple[bool, int]]  # by endpoint: whether it answers, and its turns


async def planned(home: Path, **urls: str) -> Planned:
    """The plan of 10 records, debated by replicas at these addresses."""
    backend = f'backend = "vllm"\nmodels = ["{MODEL}"]'
    settings = "\n".join(f'[endpoints.{name}]\n{backend}\nurl = "{url}"' for name, url in urls.items())
    place = workplace(home, CAST, settings, records=10)
    said = await asyncio.to_thread(plan, place, None)
    assert {role.endpoint for role in said.roles} == {", ".join(each.endpoint for each in said.endpoints if each.turns)}
    return {each.endpoint: (each.answers, each.turns) for each in said.endpoints}


async def test_replica_that_is_down_is_left_out(tmp_path: Path) -> None:
    with nobody_listens() as nowhere:
        async with HostileServer(SERVES) as one, HostileServer(SERVES) as two:
            found = await planned(tmp_path, one=one.url, down=nowhere, two=two.url)

    assert found == {"one": (True, 15), "down": (False, 0), "two": (True, 15)}


async def test_without_any_replica_all_have_a_share(tmp_path: Path) -> None:
    with nobody_listens() as one, nobody_listens() as two:
        found = await planned(tmp_path, one=one, two=two)

    assert found == {"one": (False, 15), "two": (False, 15)}


async def test_refusal_is_an_answer_too(tmp_path: Path) -> None:
    async with HostileServer(says("who are you", 401)) as one, HostileServer(SERVES) as two:
        found = await planned(tmp_path, one=one.url, two=two.url)

    assert found == {"one": (True, 15), "two": (True, 15)}


async def test_only_server_is_planned_for_unasked(tmp_path: Path) -> None:
    async with HostileServer(SERVES) as one:
        found = await planned(tmp_path, one=one.url)

        assert not one.seen
    assert found == {"one": (True, 30)}
