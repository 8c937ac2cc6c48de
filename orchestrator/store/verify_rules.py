"""What must never be in a database, as questions in SQL: each finds the tasks that break a promise.

They are questions of their own and not those of the writer: what checks must not share the fault of what it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A question that finds the tasks that break a promise: their number and what is wrong in a few words."""

    promise: str
    meaning: str
    sql: str


# What the other questions, and every reader, take for granted.
UNREADABLE: Sequence[Rule] = (
    Rule(
        promise="P1",
        meaning="what was said cannot be read any more",
        sql="""SELECT task_id, role || ' ' || round || ': its reply or its quotes are no JSON' FROM turns
            WHERE NOT json_valid(reply) OR NOT json_valid(quotes)""",
    ),
)
RULES: Sequence[Rule] = (
    Rule(
        promise="P4",
        meaning="a record would be counted twice",
        sql="SELECT task_id, count(*) || ' verdicts' FROM verdicts GROUP BY task_id HAVING count(*) > 1",
    ),
    Rule(
        promise="P4",
        meaning="a verdict is missing, or was never reached",
        sql="""SELECT id, 'is done without a verdict' FROM tasks
            WHERE status = 'done' AND id NOT IN (SELECT task_id FROM verdicts)""",
    ),
    Rule(
        promise="P4",
        meaning="it would be judged again",
        sql="""SELECT tasks.id, 'has a verdict and is ' || tasks.status FROM tasks
            JOIN verdicts ON verdicts.task_id = tasks.id WHERE tasks.status <> 'done'""",
    ),
    Rule(
        promise="P4",
        meaning="the verdict cannot be traced to what was said",
        sql="""SELECT verdicts.task_id, 'its verdict refers to a turn that is not its judge''s' FROM verdicts
            LEFT JOIN turns ON turns.id = verdicts.turn_id AND turns.task_id = verdicts.task_id
            WHERE turns.role IS NOT 'judge'""",
    ),
    Rule(
        promise="P4",
        meaning="the judge's turn was stored without its verdict",
        sql="""SELECT task_id, 'its judge has spoken, and there is no verdict from that turn' FROM turns
            WHERE role = 'judge' AND id NOT IN (SELECT turn_id FROM verdicts)""",
    ),
    Rule(
        promise="P4",
        meaning="the verdict is not what the judge said",
        sql="""SELECT verdicts.task_id, 'its verdict is ' || verdicts.score || ', its judge said '
            || coalesce(json_extract(turns.reply, '$.verdict_score'), 'nothing') FROM verdicts
            JOIN turns ON turns.id = verdicts.turn_id
            WHERE json_extract(turns.reply, '$.verdict_score') IS NOT verdicts.score""",
    ),
    Rule(
        promise="P5",
        meaning="a worker without the right to it has written",
        sql="""SELECT tasks.id, 'a turn has claim number ' || turns.token || ', the task only ' || tasks.token
            FROM turns JOIN tasks ON tasks.id = turns.task_id WHERE turns.token NOT BETWEEN 1 AND tasks.token""",
    ),
    Rule(
        promise="P5",
        meaning="a worker whose lease had run out has written",
        sql="""SELECT task_id, 'a turn of claim ' || token || ' was stored after one of claim ' || earlier FROM (
            SELECT task_id, token, max(token) OVER (PARTITION BY task_id ORDER BY id) AS earlier FROM turns)
            WHERE token < earlier""",
    ),
    Rule(
        promise="P5",
        meaning="two workers have written under one claim",
        sql="""SELECT tasks.id, 'one claim has both failed and spoken: ' || turns.role || ' ' || turns.round
            FROM turns JOIN tasks ON tasks.id = turns.task_id JOIN attempts ON attempts.task_id = turns.task_id
            AND attempts.token = turns.token AND attempts.role = turns.role AND attempts.round = turns.round""",
    ),
    Rule(
        promise="P5",
        meaning="a worker without the right to it has written",
        sql="""SELECT tasks.id, 'a failed attempt has claim number ' || attempts.token || ', the task only '
            || tasks.token FROM attempts JOIN tasks ON tasks.id = attempts.task_id
            WHERE attempts.token NOT BETWEEN 1 AND tasks.token""",
    ),
    Rule(
        promise="P5",
        meaning="two workers have written under one claim",
        sql="""SELECT task_id, 'one claim has failed ' || count(*) || ' times: ' || role || ' ' || round FROM attempts
            GROUP BY task_id, token, role, round HAVING count(*) > 1""",
    ),
    Rule(
        promise="P5",
        meaning="it would wait for a worker that is gone until its lease runs out",
        sql="""SELECT tasks.id, 'is held by run ' || runs.id || ', which is ' || runs.status FROM tasks
            JOIN runs ON runs.id = tasks.run_id WHERE tasks.status = 'leased' AND runs.ended_at IS NOT NULL""",
    ),
    Rule(
        promise="P3",
        meaning="tries are counted that were never made",
        sql="""SELECT id, 'counts ' || attempts || ' tries after ' || token || ' claims' FROM tasks
            WHERE attempts > token""",
    ),
    Rule(
        promise="P3",
        meaning="nobody could say why it failed",
        sql="""SELECT id, 'failed as ' || error_class || ' without such an attempt' FROM tasks WHERE status = 'failed'
            AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.task_id = tasks.id
            AND attempts.token = tasks.token AND attempts.error_class = tasks.error_class)""",
    ),
    Rule(
        promise="P1",
        meaning="what it was asked cannot be told",
        sql="""SELECT task_id, role || ' ' || round || ': its prompt''s hash is no SHA-256' FROM turns
            WHERE length(prompt_hash) <> 64 OR prompt_hash GLOB '*[^0-9a-f]*'""",
    ),
    Rule(
        promise="P1",
        meaning="one digest means one definition",
        sql="""SELECT NULL, 'digest ' || digest || ' belongs to the debates ' || group_concat(DISTINCT debate)
            FROM tasks GROUP BY digest HAVING count(DISTINCT debate) > 1""",
    ),
    Rule(
        promise="P1",
        meaning="one digest means one model for each role",
        sql="""SELECT NULL, 'under digest ' || digest || ' the ' || next_role || ' speaks with '
            || group_concat(DISTINCT next_model) FROM tasks WHERE next_role IS NOT NULL
            GROUP BY digest, next_role HAVING count(DISTINCT next_model) > 1""",
    ),
)
