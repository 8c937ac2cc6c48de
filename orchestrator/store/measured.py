"""What runs measured, and what was said of them before they began: rows that are added and not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from orchestrator.domain import RunId
from orchestrator.measures import LoadRate, Prediction, TurnRate
from orchestrator.store.codec import storable, time_text
from orchestrator.store.engine import Statement, Writer
from orchestrator.store.run_tables import load_rates, predictions, turn_rates

_ADD_TURNS = Statement(turn_rates.insert(), [column.name for column in turn_rates.c if column.name != "id"])
_ADD_LOADS = Statement(load_rates.insert(), [column.name for column in load_rates.c if column.name != "id"])
# A prediction kept twice, because an acknowledgement was lost, is kept once.
_ADD_PREDICTION = Statement(predictions.insert().prefix_with("OR REPLACE"), [column.name for column in predictions.c])


def keep_rates(
    writer: Writer, run_id: RunId | None, turns: Sequence[TurnRate], loads: Sequence[LoadRate], now: datetime
) -> None:
    """Keep what was measured by a run, or by a probe of no run."""
    known = {"run_id": run_id, "measured_at": time_text(now)}
    writer.run_many(_ADD_TURNS, [known | asdict(rate) | _said(rate) | {"role": rate.role.value} for rate in turns])
    writer.run_many(_ADD_LOADS, [known | asdict(rate) | _said(rate) for rate in loads])


def keep_predictions(writer: Writer, run_id: RunId, said: Sequence[Prediction]) -> None:
    """Keep what was said of a run before it began."""
    writer.run_many(_ADD_PREDICTION, [{"run_id": run_id} | asdict(prediction) for prediction in said])


def _said(rate: TurnRate | LoadRate) -> dict[str, str]:
    """What a server told, as it can be stored."""
    return {"model_digest": storable(rate.model_digest)}
