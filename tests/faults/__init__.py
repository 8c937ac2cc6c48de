"""Faults put in on purpose, and what has to be left of a run afterwards."""
