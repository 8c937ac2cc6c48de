"""Lets a fuzz test leave its line among the other faults: how many inputs it tried, when all of them went well."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from tests.faults.report import line

Test = Callable[..., None]


def leaves_line(what: str) -> Callable[[Test], Test]:
    """Count the inputs that Hypothesis gives a test, and leave a line of F16 about them."""

    def decorated(test: Any) -> Test:
        inner, tried = test.hypothesis.inner_test, 0

        @wraps(inner)
        def counted(*given: Any, **named: Any) -> None:
            nonlocal tried
            tried += 1
            inner(*given, **named)

        test.hypothesis.inner_test = counted

        @wraps(test)
        def whole() -> None:
            nonlocal tried
            tried = 0
            test()
            line(f"F16 any {what}: read, or refused in words", tried, tried, 0, 0, 0, 0, 0)

        return whole

    return decorated
