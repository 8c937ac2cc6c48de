"""docs/howto/failures.md: what happens when something fails and what to do, from the table that decides it."""

from __future__ import annotations

from orchestrator.config import Settings
from orchestrator.errors import ErrorClass
from orchestrator.scheduler.ceiling import LEAST_ENDED
from orchestrator.scheduler.retry import ANSWERS
from scripts.reference.comments import member_meanings
from scripts.reference.markdown import block, document, mark, table

_MOST = int(Settings.model_fields["max_attempts"].default)
_INTRO = """\
A night meets servers that go away, memory that runs out and models that talk nonsense. None of it becomes a verdict:
each failed attempt has a class, the class decides what is done, and every one is kept and counted."""
_LOOK = """\
Where to look, while the run goes on or after it. `status` has the counts of each class, and says since when an endpoint
is paused and why. `errors` puts failures with the same text together, the most frequent first, each with a record to
look at and what to do. The run's own last words, and `--json`, have the counts and one example of each class."""
_COMMANDS = """\
orchestrate status
orchestrate errors
orchestrate errors --class shape --limit 5
orchestrate show posting-003
orchestrate retry --class shape"""
_TWICE = """\
The same error twice (the same class and, numbers aside, the same text, for the same turn) gives a task up at once:
the third call would only cost time. Of `transient` errors that holds only if the endpoint answered something else in
between; otherwise the fault may be the server's, and it gets a trial call first. A call that stalled tells nothing of
its record, so such a turn has all its attempts. Waits are spread by chance, and a wait that the server asks for
(`Retry-After`) is kept to, up to an hour; `PAUSED` says until when."""
_OUTAGE = """\
An endpoint is at fault if nothing answers there, or if three tasks in a row fail and nothing goes well in between. It
is paused then: turns in flight end, nothing new is sent, and after 1, 2, 4 … 30 s it is asked whether it is there,
and gets one small trial call. Once that goes well the run goes on by itself. Attempts are not used up by an outage,
however long it takes. Other endpoints go on meanwhile, and take over what they can."""
_ROOM = """\
Where a server runs out of memory, the record is not to blame and no attempt counts. The run tries less, one step at a
time, and says so:

1. half as many turns in flight, down to one;
2. the card's smaller context, if it names one;
3. the card's fallback model, if it names one;
4. the endpoint is paused, and asked again later.

After a number of turns that went well it tries the larger one again."""
_CARD = """\
model = "qwen2.5:14b"
context = 16384
fallback_context = 8192          # 0, the default: none
fallback_model = "qwen2.5:7b"    # has to be served by the same endpoints; "", the default: none"""
_MARKED = """\
A turn spoken by a fallback model names that model, in `turns.model`, in `show` and, for the judge's, in exports. It is
marked `fallback_model`, and one spoken in the smaller context `fallback_context`: `show` has the marks of each turn,
`status` and the end of a run count them, and a verdict with such a turn in its debate is flagged `fallback`, also in
exports. Both fields shape a verdict, so they are part of the digest. A prompt too long for the smaller context waits
until there is room for the card's own."""
_CEILING = f"""\
Some nights go wrong from the first minute: a prompt that no model understands, a field that every record lacks. With
`--max-failures`, or `max_failures` in `orchestrate.toml`, such a run stops: turns in flight finish and are stored, the
exit code is 1, and the last line says which class most of them failed with, one example and what to do. A per cent is
of the tasks that ended in this run, and counts once {LEAST_ENDED} have."""
_STOP = """\
orchestrate process-pending --max-failures 5%"""


def page() -> str:
    """The page."""
    meanings = member_meanings(ErrorClass)
    rows = [
        [mark(kind.value), meanings[kind.value], answer.happens, answer.mend, "yes" if answer.counted else "no"]
        for kind, answer in ANSWERS.items()
    ]
    return document(
        "When something fails",
        _INTRO,
        "## What happens, and what you do",
        table(["class", "meaning", "what happens", "what you do", "attempt counts"], rows),
        f"With `max_attempts = {_MOST}`, the default, a task has that many attempts at each turn; those that do not "
        "count leave them all.",
        _TWICE,
        "## Looking",
        _LOOK,
        block("sh", _COMMANDS),
        "## A server that is down",
        _OUTAGE,
        "## Too little memory",
        _ROOM,
        block("toml", _CARD),
        _MARKED,
        "## A run that goes wrong",
        _CEILING,
        block("sh", _STOP),
    )
