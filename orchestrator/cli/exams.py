"""How an exam of the models shows itself while it goes on: a line on standard error for each thing asked."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from orchestrator.cli.format import duration, visible

if TYPE_CHECKING:
    from orchestrator.app.exam.models import ExamRequest


def request(within_s: float | None) -> ExamRequest:
    """An exam that may take so many seconds, and says on standard error how far it is."""
    from orchestrator.app.exam.models import WITHIN_S, ExamRequest

    started = time.monotonic()

    def tell(what: str) -> None:
        print(f"{duration(time.monotonic() - started)}  {visible(what)}", file=sys.stderr, flush=True)

    return ExamRequest(within_s=WITHIN_S if within_s is None else within_s, tell=tell)
