"""A key that an answer repeats is found wherever it is spelt otherwise; other bodies are not looked through."""

from __future__ import annotations

import html
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backends.secrecy import hides, without_key
from orchestrator.redaction import STARS

KEYS = ["sk-planted/Key+0123", "sk_planted=", "a&b<c>'\"", "back\\slash", "schlüssel😀", "0123456789"]
WORDS = '{"analysis": "Ten \\"years\\", no\\n\\tmore.", "evidence": ["C:\\\\\\\\x", "5 % or 20%."], "verdict_score": 7}'


def spellings(key: str) -> list[str]:
    """A JSON text of the key, each in another way; none has it as it is."""
    wide = key.encode("utf-16-be")
    units = "".join(f"\\u{wide[at : at + 2].hex()}" for at in range(0, len(wide), 2))
    last = json.dumps(key, ensure_ascii=False)[1:-1].removesuffix(key[-1])
    return [
        f'"{units}"',
        f'"{units.upper().replace("U", "u")}"',
        f'"{last}{units[-6:]}"' if ord(key[-1]) < 2**16 else f'"{units}"',
        json.dumps(f'"{units}"'),
        json.dumps(json.dumps(f'"{units}"')),
        json.dumps("".join(f"&#{ord(one)};" for one in key)),
        json.dumps("".join(f"%{octet:02X}" for octet in key.encode())),
    ]


@pytest.mark.parametrize("key", KEYS)
def test_key_is_taken_out_of_every_spelling(key: str) -> None:
    for spelt in spellings(key):
        body = f'{{"a": [1, {{{spelt}: null}}, {spelt}], "b": true}}'

        assert key not in body
        assert hides(body.encode(), key), spelt
        found = without_key(json.loads(body), key)
        assert (list(found["a"][1]), found["b"]) == ([found["a"][2]], True)
        assert found["a"][2].strip('"\\') == STARS


@pytest.mark.parametrize("key", ["sk-planted/Key+0123", "sk_planted=", "0123456789"])
@pytest.mark.parametrize("escaped", [json.dumps, lambda key: json.dumps(key).replace("/", "\\/"), quote, html.escape])
def test_body_without_the_key_stays(key: str, escaped: Any) -> None:
    value = {"message": {"content": WORDS, escaped("so/so"): [1, 2.5, None, False, "half", key[:-1]]}}

    assert without_key(value, key) == value


@pytest.mark.parametrize("key", ["sk-planted/Key+0123", "sk_planted=", "0123456789"])
def test_usual_replies_are_not_looked_through(key: str) -> None:
    assert not hides(json.dumps({"message": {"content": WORDS}}).encode(), key)
    assert not hides(json.dumps({"message": {"content": json.dumps({"analysis": WORDS})}}).encode(), key)
    assert not hides("Zwölf Prüfungen – „bestanden“ 😀".encode(), key)


@given(st.sampled_from(KEYS[:4]), st.data())
def test_any_mixture_of_escapes_is_found(key: str, data: st.DataObject) -> None:
    ways = [(lambda one: json.dumps(one)[1:-1]), (lambda one: f"\\u{ord(one):04x}"), (lambda one: f"\\u{ord(one):04X}")]
    chosen = [data.draw(st.sampled_from(ways))(one) for one in key]
    text = f'"{"".join(chosen)}"'

    assert json.loads(text) == key
    assert key in text or hides(text.encode(), key)
    assert without_key(json.loads(text), key) == STARS
