"""Every error the program raises on purpose, in one tree.

OrchestrateError             said in one line, with what to do next; exit 1
├── ConfigError              orchestrate.toml, the environment or a flag is wrong
├── CastError                a card, a prompt or a debate.toml is wrong
├── IntakeError              a file of records cannot be stored as it is
├── StoreError               the database cannot be read or written
│   └── SchemaError          it is older or newer than this program
├── NotFoundError            no such key, debate, run or endpoint
├── BusyError                somebody else uses what is wanted now
├── TooManyFailuresError     a run was stopped, because more tasks failed than was allowed
└── EndpointError            a model server did not give a usable reply; one failed attempt
    ├── TransientError       the call may work later: refused, reset, timed out, a half body, 5xx
    │   └── StalledError     no reply after much longer than such turns take
    ├── CapacityError        the server has no room now: 429, 503, out of memory
    ├── OverflowingError     prompt and reply do not fit the context, or the reply was cut at its limit
    │   └── TruncatedError   the server read less of the prompt than it was sent, and did not say so
    ├── ShapeError           the reply is not what the schema asks for, even after it was asked for again
    │   └── ContradictionError  a judge's analysis ends against its score, even after it was asked about it
    ├── RefusalError         the model declined to answer
    ├── DeterministicError   the same call will fail again: 400, or a 500 that names an option
    └── SetupError           unknown model, bad key, no credit, wrong address: nothing works until somebody mends it
        └── UnreachableError  it did not answer, or was loading, when it was asked before the first record
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TypeVar

_LONGEST_GIST = 300  # characters
_VARIES = re.compile(r"0x[0-9a-f]+|\d+(?:[.,]\d+)*", re.I)


class ErrorClass(StrEnum):
    """Why an attempt failed; decides what is done about it."""

    TRANSIENT = "transient"  # the call may work later
    CAPACITY = "capacity"  # the server has no room now
    OVERFLOW = "overflow"  # prompt and reply do not fit the context
    SHAPE = "shape"  # the reply is not what was asked for
    REFUSAL = "refusal"  # the model declined
    DETERMINISTIC = "deterministic"  # the same call fails again
    CONFIGURATION = "configuration"  # nothing works until somebody mends it
    LOST = "lost"  # the worker died or its lease ran out while it spoke
    CANCELLED = "cancelled"  # a person stopped it


class Guard(StrEnum):
    """Which check kept a reply from becoming a turn; finer than a class, and counted by itself."""

    TRUNCATION = "truncation"  # the server read less of the prompt than it was sent, or forgot its beginning
    COMPLETENESS = "completeness"  # the reply ended before its end, or nobody said that it had ended
    SHAPE = "shape"  # it is not the one JSON object that was asked for
    CONTRADICTION = "contradiction"  # its analysis ends against its verdict


class OrchestrateError(Exception):
    """Base of all errors said to the user: one line that names what, where and what to do."""


class ConfigError(OrchestrateError):
    """A setting is wrong; the message names its source and key."""


class CastError(OrchestrateError):
    """A card, a prompt or a debate.toml is wrong; the message names the file."""


class IntakeError(OrchestrateError):
    """A file of records cannot be stored as it is; nothing of it was."""


class StoreError(OrchestrateError):
    """The database cannot be read or written."""


class SchemaError(StoreError):
    """The database's schema is not the one this program works with."""


class NotFoundError(OrchestrateError):
    """Nothing under that key, debate, run or endpoint."""


class BusyError(OrchestrateError):
    """Somebody else uses what is wanted now; later it will be free."""


class TooManyFailuresError(OrchestrateError):
    """More tasks failed than the run was allowed; the message says why most of them did, and what to do."""


class EndpointError(OrchestrateError):
    """A model server did not give a usable reply.

    Attributes:
        kind: the class that decides what is done about it.
        guard: the check that refused the reply; None if it was no such check.
        asks: calls of the model that this attempt took.
        reply: what the server did say, kept with the attempt; may be empty.
        retry_after_s: seconds the server asked us to wait, if it did.
    """

    kind = ErrorClass.TRANSIENT
    guard: Guard | None = None

    def __init__(self, message: str, *, reply: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.asks = 1
        self.reply = reply
        self.retry_after_s = retry_after_s


class TransientError(EndpointError):
    """Refused, reset, timed out, a half body, or a 5xx without a reason: a later call may work.

    Attributes:
        down: nothing answered at all, so the fault lies with the server and not with this record.
    """

    def __init__(
        self, message: str, *, reply: str = "", retry_after_s: float | None = None, down: bool = False
    ) -> None:
        super().__init__(message, reply=reply, retry_after_s=retry_after_s)
        self.down = down


class StalledError(TransientError):
    """No reply after much longer than such turns take; it was not waited for any longer."""


class CapacityError(EndpointError):
    """The server has no room now (429, 503, out of memory): a later call may work.

    Attributes:
        memory: it was out of memory, so that waiting alone may not help, and a smaller model or context may.
        crowded: fewer calls at a time would help.
    """

    kind = ErrorClass.CAPACITY

    def __init__(
        self,
        message: str,
        *,
        reply: str = "",
        retry_after_s: float | None = None,
        memory: bool = False,
        crowded: bool = True,
    ) -> None:
        super().__init__(message, reply=reply, retry_after_s=retry_after_s)
        self.memory = memory
        self.crowded = crowded


class OverflowingError(EndpointError):
    """Prompt and reply do not fit the context, or the reply was cut at its limit."""

    kind = ErrorClass.OVERFLOW


class TruncatedError(OverflowingError):
    """The server read less of the prompt than it was sent, or forgot its beginning, and did not say so."""

    guard = Guard.TRUNCATION


class ShapeError(EndpointError):
    """The reply is not what the schema asks for."""

    kind = ErrorClass.SHAPE
    guard: Guard = Guard.SHAPE


class ContradictionError(ShapeError):
    """A judge's analysis ends on one side, and its score says another: which of the two is meant, nobody knows."""

    guard = Guard.CONTRADICTION


class RefusalError(EndpointError):
    """The model declined to answer."""

    kind = ErrorClass.REFUSAL


class DeterministicError(EndpointError):
    """The same call will fail again; a retry cannot help."""

    kind = ErrorClass.DETERMINISTIC


class SetupError(EndpointError):
    """Unknown model, bad key, no credit or wrong address: nothing works until somebody mends it."""

    kind = ErrorClass.CONFIGURATION


class UnreachableError(SetupError):
    """An endpoint did not answer, or was loading, when it was asked before the first record."""


Incomplete = TypeVar("Incomplete", bound=EndpointError)


def incomplete(error: Incomplete) -> Incomplete:
    """The same error, counted under the check of completeness; its class stays that of what broke the reply off."""
    error.guard = Guard.COMPLETENESS
    return error


def gist(text: str) -> str:
    """An error's text without what differs from time to time (numbers, blanks, its end): alike for alike errors."""
    return " ".join(_VARIES.sub("N", text[: 2 * _LONGEST_GIST]).split())[:_LONGEST_GIST]
