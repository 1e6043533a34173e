"""All of the paper's tables and figures, by name."""

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.paper import fig4, fig5, fig6, fig7, fig8, fig9, table1, table2
from graph_metamers.paper.item import Item

ITEMS: dict[str, Item] = {
    module.ITEM.name: module.ITEM for module in (table1, table2, fig4, fig5, fig6, fig7, fig8, fig9)
}


def named(name: str) -> list[Item]:
    """The item of a name, or all.

    Raises:
        InputError: There is no such item.

    Example:
        >>> [item.title for item in named("fig7")]
        ['Fig. 7: width of the hidden layer']
    """
    if name == "all":
        return list(ITEMS.values())
    if name not in ITEMS:
        raise InputError(
            f"'{name}' is not one of the paper's tables and figures."
            f"{suggestion(name, ITEMS)} Choose among {listing([*ITEMS, 'all', 'list'])}."
        )
    return [ITEMS[name]]
