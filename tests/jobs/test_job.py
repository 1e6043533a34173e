"""A job is known by its content, and its rows hold plain values."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, told_apart

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    plain | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
names = st.text("abcdef", min_size=1)


def test_the_key_stays_what_it_was():
    # Stores that exist are looked up by it. By hand: sha256 of 'm:f\n{"a": 1, "b": [2.5, "x"]}'.
    job = Job.of("m:f", b=[2.5, "x"], a=1)
    assert job.settings == '{"a": 1, "b": [2.5, "x"]}'
    assert job.key == "6e4382535f34a2e2"


@settings(deadline=None)  # the cores may be busy
@given(st.dictionaries(names, values), st.randoms(use_true_random=False))
def test_the_key_depends_on_content_only(arguments, chance: random.Random):
    shuffled = list(arguments.items())
    chance.shuffle(shuffled)
    job, same = Job.of("m:f", **arguments), Job.of("m:f", **dict(shuffled))
    assert job == same
    assert job.key == same.key
    assert job.arguments == arguments
    assert len({job.key, Job.of("m:g", **arguments).key, Job.of("m:f", a=arguments).key}) == 3


@pytest.mark.parametrize(
    "value", [{1, 2}, b"x", Path("x"), math.nan, math.inf, object(), (1, 2), {1: 2}, [{"a": (1,)}]]
)
def test_what_json_does_not_give_back_is_told(value):
    with pytest.raises(
        InputError, match=r"must be what JSON gives back: numbers.*; got \{'x': .*Na"
    ):
        Job.of("m:f", x=value)


@pytest.mark.parametrize("task", ["", "module.function", ":f", "module:"])
def test_a_task_that_names_no_function_is_told(task):
    with pytest.raises(InputError, match=rf"must name a function, 'package\.module:.*got '{task}'"):
        Job.of(task)


def test_rows_come_without_what_is_no_number(tmp_path):
    row = {"a": 1, "b": None, "d": "", "e": False}
    assert Job.of("tasks:plain", rows=[row, {}])(tmp_path) == [{"a": 1, "d": "", "e": False}, {}]
    first, second = Job.of("tasks:square", x=3)(tmp_path)
    assert first == {"x": 3, "square": 9, "half": 1.5}
    assert second == {"x": 3, "name": "number 3"}  # its NaN is gone


def test_it_prints_as_the_call_that_it_is():
    assert str(Job.of("a.b:square", w="v", x=3, y=["z"], z=False)) == "square(w=v, x=3)"
    two = {"a": {"units": 8, "fast": True}, "b": {"units": 4}}
    assert str(Job.of("a.b:pair", **two)) == "pair(a.fast, a.units=8, b.units=4)"


def test_jobs_are_told_apart_by_what_differs():
    jobs = [Job.of("m:f", x=1, same=2), Job.of("m:f", x=1, same=2, fast=True)]
    assert told_apart([]) == {}
    assert list(told_apart(jobs).values()) == ["f(same=2, x=1)", "fast"]
