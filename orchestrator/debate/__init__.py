"""One debate: what is said to the actors, what they may answer, and who speaks next."""
