"""Something people can look at: one page for an audit."""

from graph_metamers.report.html import write_report

__all__ = ["write_report"]
