"""Models small enough to make for a test run, real enough for real servers."""
