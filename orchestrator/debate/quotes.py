"""Whether a quote stands in the record, once both are written the same way."""

from __future__ import annotations

import re
import unicodedata

from orchestrator.domain import Quote
from orchestrator.unseen import without

_SAME = str.maketrans(
    {
        "‹": "<", "›": ">", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'",
        "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "•": "-", "⟦": "[", "⟧": "]", "♯": "#", "∶": ":",
    }
)  # fmt: skip
_EDGE = " \"'.,;:!?…-"


def normalised(text: str) -> str:
    """One spelling: nothing unseen, NFKC, small letters, plain quotation marks, dashes and brackets, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", without(text)).translate(_SAME).casefold().split())


def check(quotes: list[str], normalised_record: str) -> tuple[Quote, ...]:
    """Each quote with whether the record holds it; marks at its ends and an ellipsis there do not matter."""
    checked = []
    for text in quotes:
        core = normalised(text).strip(_EDGE)
        checked.append(Quote(text=text, verified=bool(core) and _stands(core, normalised_record)))
    return tuple(checked)


def _stands(core: str, record: str) -> bool:
    """Whether whole words of the record are these."""
    return re.search(rf"(?<!\w){re.escape(core)}(?!\w)", record) is not None
