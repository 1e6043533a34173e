"""What a result file says of where it was made."""

import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from graph_metamers.audit import environment


def provenance(data: Data) -> dict[str, Any]:
    """Versions, processor, commit and command."""
    command = ["python", *sys.argv]
    return environment(data) | {
        "processor": _processor(),
        "commit": _commit(),
        "command": shlex.join(command),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
