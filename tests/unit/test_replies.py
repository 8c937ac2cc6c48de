"""What models really send is read in one way or refused in words: never twice, never by half, never with a crash."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, Label, read_debate
from orchestrator.debate.judging import flags_of
from orchestrator.debate.replies import Read, reply_form
from orchestrator.domain import Flag, Mark, Role
from orchestrator.errors import ContradictionError, Guard, ShapeError

GOOD = '{"analysis": "a", "evidence": ["q"], "verdict_score": 7, "verdict_side": "strong"}'
FIELDS = json.loads(GOOD)


def debate(**changes: Any) -> Debate:
    return replace(read_debate("candidate", Folders(shipped())), **changes)


FORM = reply_form(debate(), Role.JUDGE, 1)


def refusal(text: str, thinking: str = "", role: Role = Role.JUDGE) -> ShapeError:
    with pytest.raises(ShapeError) as refused:
        reply_form(debate(), role, 1).read(text, thinking)
    return refused.value


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        (GOOD, ()),
        (f"\n  {GOOD}\n\n", ()),
        (GOOD + " " * 100_000, ()),
        (f"```json\n{GOOD}\n```", (Mark.FENCED,)),
        (f"```\n{GOOD}\n```", (Mark.FENCED,)),
        (f"~~~ JSON\n{GOOD}\n~~~\n", (Mark.FENCED,)),
        (f"```json\n{GOOD}", (Mark.FENCED,)),
        (f"{GOOD}\n```", (Mark.FENCED,)),
        (f"Sure! Here it is: {GOOD}", (Mark.PROSE,)),
        (f"{GOOD}\n\nI hope this {{really}} helps.", (Mark.PROSE,)),
        (f"The set {{a, b}} counts.\n{GOOD}", (Mark.PROSE,)),
        (f"See [1], and scores in [0, 10): {GOOD}", (Mark.PROSE,)),
        (f"[x] Done, [y] too.\n{GOOD}\nNo more (0, 10], [1].", (Mark.PROSE,)),
        (f"Here:\n```json\n{GOOD}\n```\nDone.", (Mark.FENCED, Mark.PROSE)),
        (f"<think>\nMaybe {{}} or {GOOD}?\n</think>\n{GOOD}", (Mark.THOUGHT,)),
        (f"So 7 it is.\n</think>\n\n```json\n{GOOD}\n```", (Mark.FENCED, Mark.THOUGHT)),
    ],
)
def test_wrapped_object_is_taken_out(text: str, marks: tuple[Mark, ...]) -> None:
    assert FORM.read(text) == Read(fields=FIELDS, marks=marks)


@pytest.mark.parametrize("words", ['{ [ } ] \\\\ \\"', "```json {} ```", "“quoted” \\u00e9"])
def test_braces_and_fences_in_words_are_words(words: str) -> None:
    text = GOOD.replace('"a"', f'"{words}"')

    assert FORM.read(text) == Read(fields=json.loads(text))
    assert FORM.read(f"So:\n{text}\nThat is all.").fields == json.loads(text)


def test_thought_in_words_is_words() -> None:
    text = GOOD.replace('"a"', '"</think> <think>"')

    assert FORM.read(text) == Read(fields=json.loads(text))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("7", '"7"', "verdict_score: input should be a valid integer"),
        ("7", "7.5", "verdict_score: input should be a valid integer"),
        ("7", "true", "verdict_score: input should be a valid integer"),
        ("7", "null", "verdict_score: input should be a valid integer"),
        ("7", "11", "verdict_score: input should be less than or equal to 10"),
        ("7", "-1", "verdict_score: input should be greater than or equal to 0"),
        ("7", "NaN", "NaN is not JSON"),
        ("7", "-Infinity", "-Infinity is not JSON"),
        ("7", "1e999", "1e999 is too large for a number"),
        ("strong", "Strong", "verdict_side: input should be 'poor', 'partial' or 'strong'"),
        ("verdict_score", "suggested_score", "verdict_score: field required; suggested_score: extra inputs"),
        (', "verdict_side": "strong"', "", "verdict_side: field required"),
        ("}", ', "label": "strong"}', "label: extra inputs are not permitted"),
        ("}", ', "verdict_score": 8}', "the field 'verdict_score' stands twice"),
        ('["q"]', '"q"', "evidence: input should be a valid list"),
        ('["q"]', "[1]", "evidence.0: input should be a valid string"),
        ('["q"]', '["1", "2", "3", "4", "5", "6"]', "evidence: list should have at most 5 items"),
        ('"a"', '""', "analysis: string should have at least 1 character"),
        ('"a"', '"\\ud800"', "half a surrogate pair"),
        ('"a"', "'a'", "the reply is not valid JSON"),
        (GOOD, f"[{GOOD}]", "its object stands in a list"),
        (GOOD, f"```json\n[{GOOD}]\n```", "its object stands in a list"),
        (GOOD, f"[1, {GOOD}, 2]", "its object stands in a list"),
        (GOOD, f"[1, {GOOD}", "its object stands in a list"),
        (GOOD, f'["a]", {GOOD}, 2]', "its object stands in a list"),
        (GOOD, f"[\n```json\n{GOOD}\n```\n]", "its object stands in a list"),
        (GOOD, "[1, 2]", "a JSON list at column 1"),
        (GOOD, f'{{"reply": {GOOD}}}', "the reply has the wrong shape: analysis: field required"),
        (GOOD, f"{{{GOOD}}}", "the reply is not valid JSON"),
        (GOOD, f"{GOOD} {GOOD}", "it holds more than one object"),
        (GOOD, f"First {{}}, then {GOOD}", "it holds more than one object"),
        (GOOD, f"{{'verdict_score': 10}} {GOOD}", "it holds more than one object"),
        (GOOD, f"{{“verdict_score”: 10}} {GOOD}", "it holds more than one object"),
        (GOOD, f"{GOOD} {{verdict_score: 10}}", "it holds more than one object"),
        (GOOD, f'{{ // so\n "verdict_score": 10}} {GOOD}', "it holds more than one object"),
        (GOOD, f"{GOOD}\nOr rather:\n{GOOD[:40]}", "it holds more than one object"),
        (
            "}",
            ", " + ", ".join(f'"{n}": 1' for n in range(99)) + "}",
            "its object has 103 fields, and 4 were asked for",
        ),
        ("}", f', "{"x" * 9000}": 1}}', "x …"),
        (GOOD, GOOD[:-1], "it ends in the middle of its object"),
        (GOOD, GOOD[:20], "it ends in the middle of its object"),
        (GOOD, f"Here you are: {GOOD[:50]}", "it ends in the middle of its object"),
        (GOOD, "{", "it ends in the middle of its object"),
        (GOOD, "I would rather not.", "not JSON at column 1"),
        (GOOD, "", "it is empty"),
        (GOOD, " \n\t" * 1000, "it is empty"),
        (GOOD, "<think>Hm.</think>", "nothing stands after its thinking"),
        (GOOD, f"<think>Perhaps {GOOD}", "its thinking does not end"),
    ],
)
def test_other_shape_is_said_and_kept(old: str, new: str, says: str) -> None:
    text = GOOD.replace(old, new)

    refused = refusal(text)

    assert says in str(refused)
    assert (refused.reply, refused.guard) == (text, Guard.SHAPE)


def test_reply_all_in_thinking_is_said() -> None:
    refused = refusal(" \n", thinking=GOOD)

    assert f"all {len(GOOD)} characters that the model wrote are in its thinking field" in str(refused)
    assert refused.reply == GOOD
    assert FORM.read(GOOD, thinking="I thought about it.") == Read(fields=FIELDS)


def test_end_must_be_answered_if_asked() -> None:
    text = '{"analysis": "a", "evidence": [], "suggested_score": 7}'

    assert "nothing_to_contest: field required" in str(refusal(text, role=Role.CRITIC))
    assert reply_form(debate(), Role.ADVOCATE, 1).read(text).fields["suggested_score"] == 7


@pytest.mark.parametrize(("score", "side"), list(product(range(11), ("poor", "partial", "strong"))))
def test_side_must_be_that_of_the_score(score: int, side: str) -> None:
    text = GOOD.replace("7", str(score)).replace("strong", side)
    label = debate().verdict(score).label

    if label == side:
        assert FORM.read(text).fields["verdict_side"] == side
        return
    refused = refusal(text)
    assert isinstance(refused, ContradictionError)
    assert f"verdict_score {score} means {label}, but verdict_side says {side}" in str(refused)
    assert refused.guard is Guard.CONTRADICTION


def test_sides_stand_from_low_to_high() -> None:
    labels = [("high", 6, 10), ("low", -5, 0), ("odd", 1, 3), ("low", 4, 5)]
    made = tuple(Label.model_validate({"name": name, "from": first, "to": last}) for name, first, last in labels)

    form = reply_form(debate(labels=made), Role.JUDGE, 1)

    assert form.schema["properties"]["verdict_side"]["enum"] == ["low", "odd", "high"]
    assert form.read(GOOD.replace("7", "4").replace("strong", "low")).fields["verdict_score"] == 4


@pytest.mark.parametrize(
    ("score", "suggested", "flags"),
    [
        (5, [2, 8], ()),
        (2, [2, 8], ()),
        (8, [8, 2], ()),
        (1, [2, 8], (Flag.OUTSIDE,)),
        (9, [8, 2], (Flag.OUTSIDE,)),
        (5, [6], (Flag.OUTSIDE,)),
        (4, [8, 7, 4, 6], ()),
        (5, [], ()),
    ],
)
def test_judge_outside_both_debaters_is_flagged(score: int, suggested: list[int], flags: tuple[Flag, ...]) -> None:
    assert flags_of(score, suggested) == flags


@pytest.mark.parametrize(
    ("marks", "flags"),
    [
        ([Mark.FENCED, Mark.PROSE, Mark.THOUGHT], ()),
        ([Mark.FENCED, Mark.FALLBACK_MODEL], (Flag.FALLBACK,)),
        ([Mark.FALLBACK_CONTEXT], (Flag.FALLBACK,)),
    ],
)
def test_fallback_in_any_turn_is_flagged(marks: list[Mark], flags: tuple[Flag, ...]) -> None:
    assert flags_of(5, [2, 8], marks) == flags
    assert flags_of(9, [2, 8], marks) == (Flag.OUTSIDE, *flags)


PIECES = (
    *(GOOD, GOOD[:30], GOOD[30:], "{", "}", "[", "]", '"', "\\", "```json\n", "```", "~~~", "\n", " ", "<think>", ","),
    *("</think>", "Sure:", "NaN", '{"a": 1}', "{}", "\x00", "\ud800", "\u2028", '"verdict_score": 7'),
)


def read_or_refused(text: str) -> Read | ShapeError:
    try:
        return FORM.read(text)
    except ShapeError as refused:
        return refused


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    found = read_or_refused(text)

    if isinstance(found, ShapeError):
        assert found.reply == text
        assert len(str(found)) < 600
    else:
        assert FORM.read(json.dumps(found.fields)).fields == found.fields
        assert found.marks or text.strip().startswith("{")


@pytest.mark.parametrize(
    "piece",
    [
        *(
            '"',
            "\\",
            "{",
            "}",
            "[",
            "{}",
            '{"',
            '"\\',
            "```",
            "</think>",
            "<think>",
            "{x}",
            '{"a": ',
            "\n",
            "~~~ ",
            "{ ",
        ),
        *('{"a": 1}', '{"a": {', ',"b":2', "`", "\\u0000", '\\"'),
    ],
)
def test_a_million_characters_are_read_at_once(piece: str) -> None:
    # A reader that went over the text once for each of its pieces would not come to an end here.
    text = piece * (1_000_000 // len(piece))

    for wrapped in (text, f"{{{text}", f'{{"analysis": "{text}"}}', f"Sure: {text}", f"<think>{text}"):
        with pytest.raises(ShapeError):
            FORM.read(wrapped)
