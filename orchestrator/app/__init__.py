"""Joins the parts: the only room that knows them all. One module for each kind of thing a user does."""
