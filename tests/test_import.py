"""What `import graph_metamers` brings along, and what only a plain process can show.

The other tests run with shapes checked at run time; this one runs as users do.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, random, sys
import torch_geometric
import torch_geometric.data, torch_geometric.nn, torch_geometric.utils

before = set(sys.modules)
import graph_metamers as gm

result = {"brought": sorted(set(sys.modules) - before), "before": sorted(before)}
result["all"] = {name: hasattr(gm, name) for name in gm.__all__}

data = gm.datasets.csbm(nodes=60, features=40)
model = torch_geometric.nn.GCN(40, 8, num_layers=2, out_channels=3)
random.seed(0)
state = random.getstate()
gm.metamer(model, data, "act", search=gm.Adam(steps=2))
result["random"] = random.getstate() == state

print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def plain() -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar, no warning, not even an empty line
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name", ["matplotlib", "jinja2", "rich", "typer", "pandas", "scipy", "torch_geometric.datasets"]
)
def test_the_import_brings_nothing_heavy(name, plain):
    brought = [m for m in plain["brought"] if m == name or m.startswith(f"{name}.")]
    assert brought == []  # what torch_geometric itself imports was there before


def test_the_import_brings_itself(plain):
    assert "graph_metamers" in plain["brought"]
    assert "torch_geometric.nn" in plain["before"]
    assert not any("graph_metamers.report" in name for name in plain["brought"])


def test_every_public_name_is_there(plain):
    assert plain["all"]
    assert all(plain["all"].values())


def test_pythons_random_state_is_not_changed(plain):
    assert plain["random"]
