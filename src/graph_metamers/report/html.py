"""One self-contained page for an audit."""

from pathlib import Path
from typing import TYPE_CHECKING

from graph_metamers.storage import write_text

if TYPE_CHECKING:
    from graph_metamers.audit import Audit


def write_report(audit: "Audit", path: Path) -> None:
    """Write the report of an audit."""
    write_text(path, repr(audit))
