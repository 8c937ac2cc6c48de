"""orchestrate: batches of three-actor debates that survive the night."""

__version__ = "0.1.0"
