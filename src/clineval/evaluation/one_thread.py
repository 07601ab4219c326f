"""Linear algebra on one thread, so that no last digit depends on the number of cores."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")


def on_one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, its sums never split over threads: added up in another order they end otherwise."""

    @wraps(function)
    def limited(*args: P.args, **named: P.kwargs) -> R:
        with threadpool_limits(limits=1):
            return function(*args, **named)

    return limited
