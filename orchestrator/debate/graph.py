"""The debate as a LangGraph state machine: who speaks is the entry edge's choice, and each turn may be the last."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command
from langsmith.run_helpers import tracing_context

from orchestrator.debate.steps import Floor, Visit, take_turn
from orchestrator.domain import Role


class State(TypedDict):
    """The whole state is one visit; nothing of it outlives the visit, the task table holds the rest."""

    visit: Visit


Graph = CompiledStateGraph[State, Floor, State, State]


async def _speak(state: State, runtime: Runtime[Floor]) -> Command[str]:
    # The node says who is next: an edge that asked for it again would cost a sixth of the graph's time.
    visit = await take_turn(state["visit"], runtime.context)
    return Command(update={"visit": visit}, goto=_who_speaks(visit))


async def _who_begins(state: State) -> str:
    return _who_speaks(state["visit"])


def _who_speaks(visit: Visit) -> str:
    return END if visit.ending is not None else visit.step.role.value


def build_graph() -> Graph:
    """One graph for every debate; what differs between debates is in the visit and in the `Floor` it runs on.

    Without a checkpointer: a turn's row in the task table is the checkpoint, committed before the node returns.
    """
    after = {
        Role.ADVOCATE: [Role.CRITIC, Role.JUDGE],
        Role.CRITIC: [Role.ADVOCATE, Role.JUDGE],
        Role.JUDGE: [],
    }
    graph = StateGraph(State, context_schema=Floor)
    for role, followers in after.items():
        graph.add_node(role.value, _speak, destinations=(*(follower.value for follower in followers), END))
    graph.add_conditional_edges(START, _who_begins, [role.value for role in Role])
    return graph.compile()


async def hold_debate(graph: Graph, visit: Visit, floor: Floor) -> Visit:
    """Run one visit as far as the loaded models carry it."""
    # Ten rounds are twenty-one turns; LangGraph's default limit would end the longest legal debate.
    state = await graph.ainvoke({"visit": visit}, context=floor, config={"recursion_limit": 64})
    ended: Visit = state["visit"]
    return ended


def untraced() -> AbstractContextManager[None]:
    """Keep LangSmith out, whatever the environment says: it would send every prompt to a third party."""
    return tracing_context(enabled=False)
