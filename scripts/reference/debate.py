"""docs/reference/debate.md: the graph of a debate as LangGraph draws it, and the form of each role's reply."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.assets import Folders, shipped
from orchestrator.cast import Debate, read_debate
from orchestrator.debate.graph import build_graph
from orchestrator.debate.replies import MOST_QUOTES, reply_form
from orchestrator.domain import Role
from scripts.reference.comments import member_meanings
from scripts.reference.markdown import block, document, mark, table

_DEBATE = "posting"
_GRAPH = """\
`orchestrator/debate/graph.py` builds one graph for every debate, and LangGraph draws it so. A visit enters at the
actor that has not spoken yet. After each turn it goes on if the next actor's model is loaded on the same endpoint;
otherwise it ends here, and another visit goes on later. A turn is a committed row before its node returns."""
_FORMS = f"""\
A server is given this schema, and what it sends back is checked against the same rules again. Reasoning stands before
the decision; the order is right both as declared and alphabetically. At most {MOST_QUOTES} quotes are taken; each is
compared with the record, and what is not there is marked. What becomes of a reply of another form stands in
[What becomes of a reply](../explanation/replies.md).

An actor is asked for `nothing_to_contest` only where `early_end` is true in debate.toml, and never the one who opens
the debate. Only the judge's score is a verdict; the label follows from it. The judge's last field says in a word where
the analysis came out; a reply whose word is not the label of its score contradicts itself, and is no verdict."""


def page() -> str:
    """The page."""
    debate = read_debate(_DEBATE, Folders(Path(shipped())))
    return document(
        "The debate",
        "## Who speaks when",
        _GRAPH,
        block("mermaid", build_graph().get_graph().draw_mermaid()),
        table(["actor", "what it does"], [[mark(word), meaning] for word, meaning in member_meanings(Role).items()]),
        "## What they reply",
        _FORMS,
        f"These are the forms of the debate `{_DEBATE}`, whose scale goes from {debate.scale.minimum} to "
        f"{debate.scale.maximum}.",
        *(_form(debate, role) for role in Role),
    )


def _form(debate: Debate, role: Role) -> str:
    schema = json.dumps(dict(reply_form(debate, role, 1).schema), indent=2, ensure_ascii=False)
    return f"### {role.value}\n\n{block('json', schema)}"
