"""How a metamer is looked for."""

from graph_metamers.search.adam import Adam
from graph_metamers.search.base import Best, Problem, Search, Solution, Status, Watch

__all__ = ["Adam", "Best", "Problem", "Search", "Solution", "Status", "Watch"]
