"""Something people can look at."""

from graph_metamers.report.html import write_report

__all__ = ["write_report"]
