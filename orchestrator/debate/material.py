"""How records and other actors' words are written into a prompt: nothing in them ends their fence or begins a role.

Only what a chat template or this program's own layout reads as a delimiter is changed, and only by characters that
look alike and that Unicode folds to nothing else; what nobody sees is named. Everything else stays as it came.
The markers are those of the chat templates of ChatML, Llama 2 to 4, Mistral, Gemma, DeepSeek, GLM, EXAONE, InternLM,
Alpaca and Vicuna, and of models that call tools.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

from orchestrator.unseen import named

LOOK_ALIKES = {"<": "‹", ">": "›", "[": "⟦", "]": "⟧", "#": "♯", ":": "∶"}

Span = tuple[int, int]

_FENCE = re.compile(r"<<<|>>>")
_HEADING = ", as material to judge"
# What begins a line is looked for behind a line end, a literal that the regular expressions find fast.
_OUR_LINE = re.compile(rf"\n[^\n]{{0,60}}{_HEADING}[ \t]*(:)", re.I)
_MARKER = re.compile(
    r"""
      <(?=\|)|(?<=\|)>                                           # ChatML, Llama 3, Phi, DeepSeek, Command R
    | \[(?=\|)|(?<=\|)\]                                         # EXAONE
    | <<\s*/?\s*SYS\s*>>
    | \[\s*/?\s*(?:INST|SYSTEM_PROMPT|MODEL_SETTINGS|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID
        |THINK|[gs]MASK)\s*\]
    | <\s*/?\s*(?:start_of_turn|end_of_turn|bos|eos|s|sop|eop|eoh|eoa|eot|pad|unk|mask|endoftext|unused_?\d+
        |reserved_\d+|system|user|assistant|human|developer|model|think|thinking|tools?|tool_calls?|tool_responses?
        |tool_results?|functions?|function_calls?|function_results?|function=[^<>\n]{1,60})\s*/?\s*>
    """,
    re.X | re.I,
)
_ROLE_LINE = re.compile(
    r"""
    \n(?:
        [ \t]*(\#{2,6})[ \t]*(?:instructions?|input|response|output|system(?:[ ](?:prompt|message))?|user|assistant
            |human)[ \t]*(?=[:\n]|\Z)
      | [ \t>*_-]{0,6}(?:system|user|assistant|human|developer|ai)(?:[ ](?:prompt|message|instructions?|note
            |override))?[ \t*_]{0,3}(:)
    )
    """,
    re.X | re.I,
)
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_LABEL = re.compile(r"\n[ \t]*(?:quotes|suggested score)[ \t]*(:)", re.I)


def as_material(text: str) -> str:
    """A text as it stands inside its fence; `quotes.normalised` writes both forms the same way."""
    text = named(re.sub(r"\r\n?", "\n", text) if "\r" in text else text)
    plain = folded(text)
    return _replaced(_replaced(text, plain, fences(plain)), plain, role_markers(plain))


def as_argument(text: str) -> str:
    """An actor's argument inside its statement: no line of it looks like the labels that this program writes there."""
    plain = folded(text)
    return _replaced(text, plain, _in_lines(_LABEL, plain))


def fences(plain: str) -> Iterator[Span]:
    """Where a folded text has what our own prompts set their parts off by."""
    if "<<<" in plain or ">>>" in plain:
        yield from (found.span() for found in _FENCE.finditer(plain))
    if _HEADING in plain.lower():
        yield from _in_lines(_OUR_LINE, plain)


def role_markers(plain: str) -> Iterator[Span]:
    """Where a folded text has what a chat template begins or ends a role with."""
    if "<" in plain or "[" in plain or "|" in plain:
        yield from (found.span() for found in _MARKER.finditer(plain))
    yield from _in_lines(_ROLE_LINE, plain)


def folded(text: str) -> str:
    """The text with every variant of a plain character, full-width or mathematical, as that one; of the same length."""
    if text.isascii():
        return text
    for one in set(_BEYOND_ASCII.findall(text)):
        if (plain := _plain(one)) != one:
            text = text.replace(one, plain)
    return text


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() else character


def _in_lines(pattern: re.Pattern[str], plain: str) -> Iterator[Span]:
    """Spans of the one group that takes part in each match; a pattern of a line begins with the end of the last."""
    for found in pattern.finditer(f"\n{plain}"):
        start, end = found.span(found.lastindex or 0)
        yield start - 1, end - 1


def _replaced(text: str, plain: str, spans: Iterable[Span]) -> str:
    pieces, at = [], 0
    for start, end in sorted(spans):
        pieces.append(text[at:start])
        pieces += [LOOK_ALIKES.get(sign, one) for sign, one in zip(plain[start:end], text[start:end], strict=True)]
        at = end
    return "".join([*pieces, text[at:]]) if at else text
