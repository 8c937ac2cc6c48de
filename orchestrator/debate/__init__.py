"""One debate: what is said to the actors, what they may answer, and who speaks next."""

from orchestrator.config import restrict_langgraph

# LangGraph looks once, when it is imported, and nothing imports it before this package.
restrict_langgraph()
