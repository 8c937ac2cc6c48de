"""The ladder: how a reply that cannot be used is asked for again, and when nobody asks any more."""

from __future__ import annotations

import pytest

from orchestrator.assets import Folders, shipped
from orchestrator.cast import read_debate
from orchestrator.debate.repair import MOST_ASKS, Rung, asked, endless, next_rung
from orchestrator.debate.replies import reply_form
from orchestrator.domain import Role
from orchestrator.errors import Guard, ShapeError
from orchestrator.ports import Message

FIRST = (Message(role="system", content="Rules."), Message(role="user", content="Judge."))
SHAPE, CONTRADICTION = Guard.SHAPE, Guard.CONTRADICTION
FORM = reply_form(read_debate("candidate", Folders(shipped())), Role.JUDGE, 1)


@pytest.mark.parametrize(
    ("told", "rung"),
    [
        ([SHAPE], Rung.AGAIN),
        ([SHAPE, SHAPE], Rung.SHORTER),
        ([SHAPE, SHAPE, SHAPE], None),
        ([CONTRADICTION], Rung.AGAIN),
        ([CONTRADICTION, CONTRADICTION], None),
        ([SHAPE, CONTRADICTION], Rung.AGAIN),
        ([CONTRADICTION, SHAPE], Rung.SHORTER),
        ([CONTRADICTION, SHAPE, CONTRADICTION], None),
        ([SHAPE, SHAPE, CONTRADICTION], None),
    ],
)
def test_ladder_has_two_rungs(told: list[Guard], rung: Rung | None) -> None:
    assert next_rung(told) is rung
    assert rung is None or len(told) < MOST_ASKS


def test_first_rung_shows_the_error() -> None:
    messages = asked(Rung.AGAIN, FIRST, FORM.schema, ShapeError("it is no JSON", reply="Sure! {"))

    assert messages[:2] == FIRST
    assert messages[2] == Message(role="assistant", content="Sure! {")
    assert messages[3].role == "user"
    assert messages[3].content.startswith("That cannot be used: it is no JSON. Reply again")


@pytest.mark.parametrize(("reply", "shown"), [("", "(nothing)"), (" \n" * 500, "(nothing)"), ("x" * 9000, "x" * 4000)])
def test_first_rung_shows_no_reply_without_end(reply: str, shown: str) -> None:
    messages = asked(Rung.AGAIN, FIRST, FORM.schema, ShapeError("no", reply=reply))

    assert messages[2].content == shown


def test_second_rung_names_the_fields_only() -> None:
    messages = asked(Rung.SHORTER, FIRST, FORM.schema, ShapeError("it is no JSON", reply="Sure! {"))

    assert [message.role for message in messages] == ["system", "user"]
    assert messages[0] == FIRST[0]
    assert messages[1].content.splitlines() == [
        "Judge.",
        "",
        "Two replies could not be used (the last one: it is no JSON). Reply once more, and shorter: "
        "one JSON object with these fields in this order, and nothing before or after it:",
        '- "analysis": a text of at most 40 words',
        '- "evidence": a list of at most one text; [] is allowed',
        '- "verdict_score": a whole number from 0 to 10',
        '- "verdict_side": one of "poor", "partial", "strong"',
    ]


@pytest.mark.parametrize(
    ("reply", "found"),
    [("", False), ("{}" + " " * 63, False), ("{}" + " \n" * 32, True), (" " * 64, True), ("\t" * 500 + "{", False)],
)
def test_endless_is_white_space_at_the_end(reply: str, found: bool) -> None:
    assert endless(reply) is found
