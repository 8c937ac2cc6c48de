"""A reply that ended before its end is counted under its check, wherever failures are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.app.failing import errors
from orchestrator.app.looking import status
from orchestrator.app.workplace import open_workplace
from orchestrator.backends.fallback import FallbackEndpoint
from orchestrator.cli import failing, tables
from orchestrator.cli.doubts import of_run
from orchestrator.errors import CapacityError, Guard
from tests.faults.sins import PATH, suffer
from tests.integration.test_wire import REQUEST, SAMPLING, ollama_at, ollama_reply
from tests.servers.hostile import HostileServer, says


@pytest.mark.parametrize("backend", PATH)
@pytest.mark.parametrize("sin", ["done: false", "half body", "200 with an error", "length"])
async def test_half_a_reply_is_counted_everywhere(
    sin: str, backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = await suffer(sin, backend, tmp_path)

    place, count = open_workplace(tmp_path, {}), len(outcome.classes)
    tally, found = outcome.end.tally, errors(place, None, None, 1)
    tables.status(status(place), json=False)
    failing.errors(found, json=False)
    said = capsys.readouterr().out
    assert count > 0
    assert tally.guards == {Guard.COMPLETENESS: count}
    assert list(of_run({}, {}, tally.guards)) == [f"replies refused: completeness {count}"]
    assert [(each.guard, each.attempts) for each in found.groups] == [(Guard.COMPLETENESS, count)]
    assert f"posting: replies refused for completeness: {count}\n" in said
    assert f"  replies refused: completeness {count}\n" in said
    assert f"    {outcome.classes[0].value} (completeness): " in said


async def test_reply_cut_in_a_smaller_context_keeps_its_guard() -> None:
    cut = says(ollama_reply("half of", done_reason="length"))
    async with HostileServer(cut) as server:
        models = {REQUEST.model: replace(SAMPLING, fallback_context=1024)}
        endpoint = FallbackEndpoint(ollama_at(server.url), models)
        endpoint.short = REQUEST.model
        endpoint.move()
        with pytest.raises(CapacityError) as caught:
            await endpoint.speak(REQUEST)
        await endpoint.close()

    assert caught.value.guard is Guard.COMPLETENESS
