"""Faults put in on purpose, and how many turns and verdicts each lost or doubled."""
