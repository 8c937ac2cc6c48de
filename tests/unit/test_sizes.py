"""A prompt that a server cut is told from its count, and one that was read whole is never taken for cut."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.debate.sizes import ENOUGH, WHOLE, Counts
from orchestrator.errors import OverflowingError, TruncatedError
from orchestrator.ports import Message

RECORDINGS = Path(__file__).parents[1] / "recordings"
RULES = "You judge records by what stands in them. " * 20
BLANKS = [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter.isspace()]
CHINESE = "我保管了九千件借展品并记录了每一件的去向，没有一件遗失。"


def prompt(text: str, rules: str = RULES) -> tuple[Message, ...]:
    return Message(role="system", content=rules), Message(role="user", content=text)


def record(number: int, words: int = 400) -> tuple[Message, ...]:
    return prompt(f"Record {number}: " + "kept many loans, carefully " * (words // 4))


def english(messages: tuple[Message, ...]) -> int:
    """Tokens as a tokenizer for English counts them."""
    return 13 + sum(len(message.content) for message in messages) * 10 // 45


def told(counts: Counts, messages: tuple[Message, ...], tokens: int | None) -> str:
    """What comes of a count: "" if nothing, else what is said."""
    try:
        counts.check(messages, tokens, "{}")
    except TruncatedError as error:
        return f"{error.kind.value}: {error} ({error.reply})"
    return ""


def learned(count: int = ENOUGH) -> Counts:
    """Counts of so many prompts that were read whole."""
    counts = Counts()
    for number in range(count):
        assert not told(counts, record(number), english(record(number)))
    return counts


SEASONED = learned()


def exchanges() -> list[tuple[str, tuple[Message, ...], int]]:
    """Every recorded call whose prompt was counted: its name, its messages and the count."""
    found = []
    for path in sorted(RECORDINGS.glob("*/*.json")):
        recording = json.loads(path.read_text(encoding="utf-8"))
        body: Any = recording["request"].get("body")
        answer: Any = recording.get("response", {}).get("json")
        if not isinstance(body, dict) or not isinstance(answer, dict) or not body.get("messages"):
            continue
        count = answer.get("prompt_eval_count") or (answer.get("usage") or {}).get("prompt_tokens")
        if count and all(isinstance(message["content"], str) for message in body["messages"]):
            messages = tuple(Message(role=each["role"], content=each["content"]) for each in body["messages"])
            found.append((f"{path.parent.name}/{path.stem}", messages, count))
    return found


def test_recorded_cuts_are_told_from_recorded_wholes() -> None:
    cut = {name for name, messages, count in exchanges() if told(Counts(), messages, count)}

    assert cut == {"ollama/ctx_overflow_last_message", "ollama/ctx_overflow_history_dropped"}
    assert len(exchanges()) > 50


def test_message_names_both_numbers() -> None:
    _, messages, count = next(each for each in exchanges() if each[0] == "ollama/ctx_overflow_last_message")

    said = told(Counts(), messages, count)

    assert said.startswith("overflow: the server read only 2050 tokens of a prompt that has at least 9000: ")
    assert said.endswith(" ({})")


@pytest.mark.parametrize("seen", [0, ENOUGH - 1, ENOUGH, 5 * ENOUGH])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.6])
def test_cut_is_found_early_and_late(seen: int, kept: float) -> None:
    counts, messages = learned(seen), record(9_999, words=4_000)

    assert "cut without a word" in told(counts, messages, int(kept * english(messages)))


def test_script_without_spaces_needs_calibration() -> None:
    counts = Counts()
    whole = [prompt(f"{number}{CHINESE * 30}", rules=CHINESE) for number in range(2 * ENOUGH)]
    for messages in whole:
        assert not told(counts, messages, 600)

    assert not told(counts, prompt(f"new {CHINESE * 30}", rules=CHINESE), 550)
    assert "cut without a word" in told(counts, prompt(f"long {CHINESE * 300}", rules=CHINESE), 2_050)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 60_000,
        " " * 60_000,
        ("| a |" + " " * 200 + "\n") * 300,
        CHINESE * 500,
        "Ich habe neuntausend Leihgaben verwaltet und keine verloren. " * 300,
        "मैंने नौ हज़ार वस्तुओं का रिकॉर्ड रखा। " * 300,
    ],
    ids=["dashes", "blanks", "table", "Chinese", "German", "Hindi"],
)
def test_odd_records_are_not_taken_for_cut(text: str) -> None:
    # About as few tokens as any tokenizer makes of them.
    tokens = english(prompt("")) + max(len(text.split()), len(text.encode()) // 9 if text.strip(" -") else 900)

    assert not told(learned(), prompt(text), tokens)
    assert not told(Counts(), prompt(text), tokens)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=300), max_size=40), st.integers(min_value=0))
def test_a_token_for_every_byte_pair_is_never_cut(texts: list[str], more: int) -> None:
    counts = Counts()
    for text in texts:
        messages = prompt(text)
        size = sum(len(message.content.encode()) for message in messages)
        counts.check(messages, max(1, (size + 1) // 2) + more, "")


@given(st.text(st.characters(codec="utf-8") | st.sampled_from([*BLANKS, "="]), max_size=300), st.booleans())
def test_first_look_refuses_nothing_that_a_closer_one_takes(text: str, calibrated: bool) -> None:
    counts = SEASONED if calibrated else Counts()

    assert counts._least(prompt(text, rules=text)) <= counts._at_most(prompt(text, rules=text))


def test_every_blank_is_looked_for() -> None:
    for blank in BLANKS:
        assert Counts()._at_most(prompt(blank.join("words"), rules="")) >= len("words")
        assert len(blank.join("words").split()) == len("words")


def test_plain_prompt_needs_no_closer_look() -> None:
    messages = record(1)

    assert Counts()._at_most(messages) <= len(messages[0].content.split()) + len(messages[1].content.split()) + 2
    assert SEASONED._at_most(messages) < english(messages)


@pytest.mark.parametrize("nothing", [None, 0])
def test_server_that_tells_nothing_is_believed(nothing: int | None) -> None:
    assert not told(Counts(), record(1, words=4_000), nothing)


def test_count_without_cached_tokens_is_no_cut() -> None:
    counts = Counts()

    for number in range(50):
        first = record(number)
        # What is new is the record, then only what was said about it; the rest was cached, and is not counted.
        assert not told(counts, first, english(first[1:]))
        then = (first[0], Message(role="user", content=first[1].content + "\n\nDebater A said: no. " * 3))
        assert not told(counts, then, 20)
        assert not told(counts, then, 1)


def test_cut_of_known_opening_needs_whole_counts() -> None:
    known, unknown = learned(), learned()
    for number in range(WHOLE):
        assert not told(known, record(number), english(record(number)))

    longer = record(3)[0], Message(role="user", content=record(3)[1].content * 20)
    assert "cut without a word" in told(known, longer, 2_050)
    assert not told(unknown, longer, 2_050)


def test_prompt_beyond_context_is_refused_unsent() -> None:
    messages = prompt("word " * 8_192)

    with pytest.raises(OverflowingError, match=r"at least 83\d\d tokens, as many as the context of 8192 or more"):
        Counts().refuse(messages, 8_192)

    Counts().refuse(messages, 8_500)


@pytest.mark.parametrize("text", ["=" * 500_000, "abcdefgh" * 10_000, CHINESE * 500])
def test_prompt_that_may_fit_is_sent(text: str) -> None:
    learned().refuse(prompt(text), 8_192)
    Counts().refuse(prompt(text), 8_192)


def test_calibration_refuses_what_has_no_words() -> None:
    counts = Counts()
    for number in range(ENOUGH):
        counts.check(prompt(f"{number}{CHINESE * 30}", rules=CHINESE), 600, "")

    counts.refuse(prompt(CHINESE * 1_000, rules=CHINESE), 8_192)
    with pytest.raises(OverflowingError, match="nothing was sent"):
        counts.refuse(prompt(CHINESE * 2_000, rules=CHINESE), 8_192)
