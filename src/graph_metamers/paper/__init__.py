"""The paper's tables and figures, each by one command: its grid, summary and picture."""
