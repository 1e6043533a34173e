"""How over-invariant is a model? A fixed protocol, and a leaderboard of those that went through."""

from graph_metamers.benchmark.board import invariance, summarise, write_board
from graph_metamers.benchmark.task import PROTOCOL, Protocol, protocol_jobs

__all__ = ["PROTOCOL", "Protocol", "invariance", "protocol_jobs", "summarise", "write_board"]
