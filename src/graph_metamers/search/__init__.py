"""Find a graph whose activation equals the target."""

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.search.adam import Adam
from graph_metamers.search.auto import Auto
from graph_metamers.search.base import Search, Seek
from graph_metamers.search.edge_swap import EdgeSwap
from graph_metamers.search.exact import Exact
from graph_metamers.search.gauss_newton import GaussNewton
from graph_metamers.search.problem import Problem
from graph_metamers.search.swap import Swap
from graph_metamers.search.walk import Ended, Solution

SEARCHES: dict[str, type[Search]] = {
    s.name: s for s in (Auto, Adam, Swap, Exact, GaussNewton, EdgeSwap)
}


def configured(search: Search | str) -> Search:
    """A search by its name, with its default settings, or as it was handed in.

    Raises:
        InputError: It is neither.
    """
    if isinstance(search, Search):
        return search
    if not isinstance(search, str) or search not in SEARCHES:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"search must be one of {listing(SEARCHES)}, or a configured search such as "
            f"Adam(steps=200); got {search!r}.{suggestion(str(search), SEARCHES)}"
        )
    return SEARCHES[search]()


__all__ = [
    "SEARCHES",
    "Adam",
    "Auto",
    "EdgeSwap",
    "Ended",
    "Exact",
    "GaussNewton",
    "Problem",
    "Search",
    "Seek",
    "Solution",
    "Swap",
    "configured",
]
