"""Characters that a reader does not see, and so may hide what a model reads; written out, they hide nothing.

They are Unicode's controls, its format and default-ignorable characters (tags, zero-width characters, bidirectional
controls, variation selectors) and the fillers that show as nothing. What ordinary text needs stays as it is: line
ends, tabs, the joiners inside emoji and between letters of scripts that join, the selector behind an emoji.
"""

from __future__ import annotations

import re

_CLASS = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_PICTURE = "\u00a9\u00ae\u203c-\u27ff\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINING = "\u0600-\u109f\u1780-\u18af"  # Arabic to Myanmar, Khmer, Mongolian
_ORDINARY = (
    rf"(?<![{_PICTURE}][\ufe0e\ufe0f])(?<![#*0-9]\ufe0f(?=\u20e3))"
    rf"(?<![{_PICTURE}]\u200d(?=[{_PICTURE}]))(?<![{_PICTURE}]\ufe0f\u200d(?=[{_PICTURE}]))"
    rf"(?<![{_JOINING}][\u200c\u200d](?=[{_JOINING}]))"
)
UNSEEN = re.compile(rf"[{_CLASS}]{_ORDINARY}")
_RUN = re.compile(rf"(?:[{_CLASS}]{_ORDINARY})+")
_ANY = re.compile(f"[{_CLASS}]")
_ASCII = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NAME = re.compile(r"⟨U\+[0-9A-F]{4,6}(?: and \d+ more unseen)?⟩")
# UTF-16, as JSON writes it: a pair for what lies beyond the first 65,536 characters.
_ESCAPE = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\u([0-9a-f]{4})")
_MOST_NAMED = 3  # of a run; a long one would bury the text around it


def unseen(text: str) -> re.Match[str] | None:
    """The first unseen character of a text."""
    return (_ASCII if text.isascii() else UNSEEN).search(text)


def named(text: str) -> str:
    """The text with each unseen character as its name, ⟨U+200B⟩; of a long run the first, and how many follow."""
    return _RUN.sub(_names, text) if unseen(text) else text


def without(text: str) -> str:
    """The text without unseen characters and without the names that `named` gives them."""
    if not text.isascii():
        text = _NAME.sub("", text)
    return _ANY.sub("", text) if _ANY.search(text) else text


def escaped(text: str) -> str:
    r"""The text with each unseen character as JSON escapes it: \u200b, in pairs beyond \uffff."""
    return UNSEEN.sub(lambda found: _escape(found[0]), text) if unseen(text) else text


def reversible(text: str) -> str:
    r"""As `escaped`, and a backslash that begins such an escape as \u005c: `restored` gives the text back."""
    literal = _ESCAPE.sub(lambda found: found[0] if _denoted(found) is None else f"\\u005c{found[0][1:]}", text)
    return escaped(literal)


def restored(text: str) -> str:
    """The text that `reversible` has written."""

    def character(found: re.Match[str]) -> str:
        denoted = _denoted(found)
        return found[0] if denoted is None else denoted

    return _ESCAPE.sub(character, text)


def _names(run: re.Match[str]) -> str:
    more = len(run[0]) - 1
    if more >= _MOST_NAMED:
        return f"⟨U+{ord(run[0][0]):04X} and {more} more unseen⟩"
    return "".join(f"⟨U+{ord(one):04X}⟩" for one in run[0])


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _denoted(found: re.Match[str]) -> str | None:
    """The unseen character or the backslash that an escape stands for; None for any other."""
    units = found[3] or found[1] + found[2]
    character = bytes.fromhex(units).decode("utf-16-be", "surrogatepass")
    return character if character == "\\" or _ANY.fullmatch(character) else None
