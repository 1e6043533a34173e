"""How over-invariant is a model? A fixed protocol, and a leaderboard of those that went through."""

from graph_metamers.benchmark.board import (
    invariance,
    read_board,
    summarise,
    update_board,
    write_page,
)
from graph_metamers.benchmark.task import PROTOCOL, Entrant, Protocol, entrant, protocol_jobs

__all__ = [
    "PROTOCOL",
    "Entrant",
    "Protocol",
    "entrant",
    "invariance",
    "protocol_jobs",
    "read_board",
    "summarise",
    "update_board",
    "write_page",
]
