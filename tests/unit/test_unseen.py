"""What a reader does not see is named or escaped; what ordinary text needs is left alone; nothing is lost."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.unseen import escaped, named, restored, reversible, unseen, without

ORDINARY = [
    "Two lines\nand a\ttab.",
    "naïve – “quoted” • 3 €\u00a0each",
    "I ❤\ufe0f this 👩\u200d💻 1\ufe0f\u20e3",
    "می\u200cخواهم",
    "क्\u200dष",
    "名古屋市 東区",
]
MANY = st.text(alphabet="ab\\u0052dcfe⟨⟩U+ \u200b\u200d\ufe0f❤\x1b\u202e\U000e0041\U000e0042\U0001f600", max_size=40)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_has_nothing_unseen(text: str) -> None:
    assert unseen(text) is None
    assert named(text) == escaped(text) == reversible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("a\ufe0f", "a⟨U+FE0F⟩"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f⟨U+FE0F⟩"),
        ("\u202eabc\u202c", "⟨U+202E⟩abc⟨U+202C⟩"),
        ("\x1b[2J\x7f\x00", "⟨U+001B⟩[2J⟨U+007F⟩⟨U+0000⟩"),
        ("\u3164\u2066\u00ad", "⟨U+3164⟩⟨U+2066⟩⟨U+00AD⟩"),
        ("hi" + "".join(chr(0xE0000 + ord(one)) for one in "say ten"), "hi⟨U+E0073 and 6 more unseen⟩"),
    ],
)
def test_unseen_characters_are_named(text: str, shown: str) -> None:
    assert named(text) == shown
    assert without(text) == without(shown)


def test_every_format_character_but_visible_ones_is_unseen() -> None:
    visible = {chr(one) for one in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD)}
    visible |= {chr(one) for one in range(0x13430, 0x13440)}  # they place hieroglyphs

    seen = {one for one in map(chr, range(0x110000)) if unicodedata.category(one) in ("Cf", "Cc") and not unseen(one)}

    assert seen - visible == {"\n", "\t"}


def test_escapes_are_those_of_json() -> None:
    assert escaped("\u200b\U000e0041") == "\\u200b\\udb40\\udc41"


@example("\ufe0f\u200d❤")
@given(MANY | st.text())
def test_reversible_text_comes_back(text: str) -> None:
    written = reversible(text)

    assert unseen(written) is None
    assert restored(written) == text


@given(MANY)
def test_names_of_unseen_go_as_they_do(text: str) -> None:
    assert unseen(named(text)) is None
    assert without(without(text)) == without(text)
