"""A key that was read shows in no traceback and no log line, however it is spelt there."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from urllib.parse import quote

import pytest

from orchestrator.redaction import STARS, spelled

KEY = "sk-planted/Key+0123=<é>"
_SCRIPT = """
import asyncio, logging, sys, threading
from orchestrator import redaction
redaction.install()
redaction.install()
redaction.keep_out({key!r})
key = {key!r}
{body}
"""


def said(body: str) -> str:
    done = subprocess.run([sys.executable, "-c", _SCRIPT.format(key=KEY, body=body)], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        json.dumps(KEY),
        json.dumps(KEY).replace("/", "\\/"),
        json.dumps(KEY).replace("+", "\\u002B"),
        json.dumps(json.dumps(KEY)),
        quote(KEY, safe=""),
        quote(KEY).replace("%2B", "%2b"),
        html.escape(KEY),
        "".join(f"&#{ord(one)};" for one in KEY),
        "".join(f"&#x{ord(one):X};" for one in KEY),
    ],
)
def test_every_spelling_is_starred(spelling: str) -> None:
    assert STARS in spelled(KEY).sub(STARS, f"no {spelling}.")
    assert "planted" not in spelled(KEY).sub(STARS, f"no {spelling}.").casefold()


@pytest.mark.parametrize("longer", [f"{KEY}-and-more", f"0-{KEY}", f"0-{KEY}-and-more"])
def test_key_within_a_key_leaves_no_rest(longer: str) -> None:
    # A set has no order: several keys, so that a wrong one shows.
    keys = [longer[:length] for length in range(len(longer) - 8, len(longer) + 1)]

    report = said("".join(f"redaction.keep_out({each!r})\n" for each in keys) + f"raise ValueError({longer!r})")

    assert report.endswith("ValueError: ***\n")


@pytest.mark.parametrize("text", ["sk-planted", KEY.upper(), KEY[:-1], ""])
def test_other_text_stays(text: str) -> None:
    assert spelled(KEY).sub(STARS, text) == text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError(f'bad header {key}')", "ValueError: bad header ***"),
        ("try:\n    1 / 0\nexcept ArithmeticError as e:\n    raise RuntimeError(key) from e", "RuntimeError: ***"),
        ("t = threading.Thread(target=lambda: int(key)); t.start(); t.join()", "***"),
        ("logging.getLogger('lib').warning('sent %s', key)", "sent ***"),
        ("logging.getLogger('lib').error('no', exc_info=ValueError(key))", "ValueError: ***"),
        ("async def f():\n    asyncio.ensure_future(g())\n    await asyncio.sleep(0)\n"
         "async def g():\n    raise ValueError(key)\nasyncio.run(f())", "never retrieved"),
    ],
    ids=["uncaught", "chained", "thread", "log", "log with error", "forgotten coroutine"],
)  # fmt: skip
def test_key_is_in_no_report(body: str, says: str) -> None:
    report = said(body)

    assert says in report
    assert "planted" not in report


def test_report_without_key_is_whole() -> None:
    assert said("raise ValueError('fine')").endswith("ValueError: fine\n")
