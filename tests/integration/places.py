"""A workplace in a folder of its own, and a run of it inside the test's own loop."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.app.clock import SystemClock
from orchestrator.app.lanes import look_first, open_lane
from orchestrator.app.planning import outlook
from orchestrator.app.running import run_settings
from orchestrator.app.submitting import SubmitRequest, submit
from orchestrator.app.workplace import Workplace, open_workplace
from orchestrator.ports import Clock
from orchestrator.scheduler.run import RunEnd, run

ROOT = Path(__file__).resolve().parents[2]


def workplace(home: Path, models: dict[str, str], settings: str, records: int = 42, **card: object) -> Workplace:
    """A folder with cards that name `models` by role, and records from the shipped sample, submitted."""
    (home / "actors").mkdir(parents=True)
    for role, model in models.items():
        lines: dict[str, Any] = {"role": role, "model": model, "prompt": f"{role}.md", **card}
        text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
        (home / "actors" / f"{role}.toml").write_text(text)
    (home / "orchestrate.toml").write_text(settings)
    place = open_workplace(home, {})
    lines_of_sample = (ROOT / "prompts/posting/sample.jsonl").read_text().splitlines(keepends=True)
    file = home / "records.jsonl"
    file.write_text("".join(lines_of_sample[:records]))
    submit(place, SubmitRequest(file=file, debate="posting"))
    return place


async def run_here(place: Workplace, *, clock: Clock | None = None, **changes: Any) -> RunEnd:
    """What `process-pending` does, without a loop, signals or lock file of its own."""
    debates = place.debates("posting")
    told = await asyncio.to_thread(outlook, place, debates)
    lanes = [open_lane(place.config, working) for working in told.workings]
    try:
        await look_first(lanes)
        with place.store() as store:
            return await run(store, clock or SystemClock(), replace(run_settings(place, debates, lanes, ""), **changes))
    finally:
        for lane in lanes:
            await lane.endpoint.close()
