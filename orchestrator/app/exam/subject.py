"""Who is examined, and what came of one call of it: plain values for the readings."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.app.findings import Finding, Health
from orchestrator.app.rendering import Rendered
from orchestrator.backends.heard import Heard
from orchestrator.config import EndpointSettings
from orchestrator.domain import Backend
from orchestrator.errors import EndpointError
from orchestrator.ports import Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model on one endpoint.

    Attributes:
        sampling: of the cards that want it; of several the largest `context` and `reply_limit`.
        prompts: what the cards would send it, rendered for one record; may be empty.
        wanted_slots: turns that a run sends at once for one model; None if the settings do not say.
    """

    endpoint: str
    settings: EndpointSettings
    model: str
    sampling: Sampling
    prompts: tuple[Rendered, ...]
    wanted_slots: int | None

    @property
    def backend(self) -> Backend:
        """What answers there."""
        return Backend(self.settings.backend)

    def good(self, promise: str, text: str) -> Finding:
        """The promise is kept."""
        return self._finding(promise, Health.GOOD, text)

    def note(self, promise: str, text: str) -> Finding:
        """A run would go on, but this is worth knowing."""
        return self._finding(promise, Health.NOTE, text)

    def bad(self, promise: str, text: str) -> Finding:
        """A run would fail."""
        return self._finding(promise, Health.BAD, text)

    def _finding(self, promise: str, health: Health, text: str) -> Finding:
        return Finding(about=f"model {self.model} on {self.endpoint}, {promise}", health=health, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one call: the answer, if there was one, and the error a run would have had, if any."""

    heard: Heard | None
    error: EndpointError | None = None

    @property
    def replied(self) -> Heard | None:
        """The answer, if it was a reply, complete or cut."""
        return self.heard if self.heard is not None and self.heard.status == 200 else None
