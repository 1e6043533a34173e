"""What a result file says of where it was made."""

import shlex
import sys
from typing import Any

from torch_geometric.data import Data

from graph_metamers.environment import environment


def provenance(data: Data | None = None) -> dict[str, Any]:
    """Versions, machine, commit and command."""
    command = shlex.join(["python", *sys.argv])
    return environment("cpu" if data is None or data.x is None else data.x.device) | {
        "command": command
    }
