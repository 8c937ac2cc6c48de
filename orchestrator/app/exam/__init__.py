"""Exams: small calls of a model that show whether it keeps what a run counts on. Nothing of them is stored."""
