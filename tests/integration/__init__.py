"""Rooms together: real files, real databases, real servers."""
