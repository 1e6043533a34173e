"""What made a result is told as it is."""

import re

import torch

import graph_metamers as gm
from graph_metamers.environment import commit, environment


def test_versions_are_those_that_run():
    found = environment()
    assert found["graph_metamers"] == gm.__version__
    assert found["torch"] == str(torch.__version__)
    assert found["threads"] == torch.get_num_threads()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
    assert found.get("commit", "") == commit()


def test_a_device_that_is_not_there_is_told_by_its_name():
    assert environment("cuda:99")["device"] == "cuda:99"
