"""What made a result: versions, machine and commit, without names of places or people."""

import datetime
import functools
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch_geometric


def environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Versions, machine, date and, where the package is run from a checkout, its commit."""
    name = str(device)
    there = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    known = name in there or (name == "cuda" and there)
    graphics = f" ({torch.cuda.get_device_name(name)})" if known else ""
    found = {
        "graph_metamers": version("graph-metamers"),
        "torch": str(torch.__version__),
        "torch_geometric": torch_geometric.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": name + graphics,
        "date": datetime.date.today().isoformat(),
    }
    return found | ({"commit": commit()} if commit() else {})


@functools.cache
def processor() -> str:
    """The processor's name, as far as it is known."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@functools.cache
def commit() -> str:
    """The commit that the package is run from, "-dirty" where its code was changed; else empty."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        name = _git(root, "describe", "--always")
        # Results that are written into the checkout change files too, but no figure.
        changed = _git(root, "status", "--porcelain", "--", "src", "pyproject.toml")
    except OSError:  # there is no git
        return ""
    return f"{name}-dirty" if changed else name


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
