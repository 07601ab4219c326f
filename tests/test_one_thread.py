"""No number of an evaluation depends on how many threads linear algebra may use."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_info, threadpool_limits

from clineval.evaluation import evaluate
from clineval.evaluation.curves import curves
from clineval.evaluation.one_thread import on_one_thread


def threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_one_thread_is_used_inside_and_the_former_number_after():
    with threadpool_limits(limits=2):
        before = threads()
        assert set(on_one_thread(threads)()) == {1}
        assert threads() == before


def test_arguments_result_and_name_pass_through():
    @on_one_thread
    def power(base: int, *, exponent: int) -> int:
        """Power."""
        return base**exponent

    assert power(2, exponent=5) == 32
    assert (power.__name__, power.__doc__) == ("power", "Power.")


def test_two_threads_give_the_last_digit_of_one():
    chance = np.random.default_rng(0)
    outcome = np.arange(400) % 4 == 0
    risk = 1 / (1 + np.exp(1.2 - 1.5 * outcome - chance.normal(size=400)))
    table = pd.DataFrame(
        {"model": "m", "split": "test", "case": np.arange(400).astype(str), "outcome": outcome, "risk": risk}
    )
    found = []
    for number in (1, 2):
        with threadpool_limits(limits=number):
            evaluation = evaluate(table, draws=200)
            found.append((evaluation.to_json(), repr(curves(table, evaluation))))
    assert found[0] == found[1]
