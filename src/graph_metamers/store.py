"""The folder of an audit: what was asked, the metamers, the report."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_metamers.errors import InputError
from graph_metamers.storage import read_json, write_json

if TYPE_CHECKING:
    from graph_metamers.audit import Audit

SCHEMA = 1


class Store:
    """The folder of an audit. A run is done when its metamer's file is there."""

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self._folder = folder
        self.held: dict[str, Any] = {}  # what the folder says already
        for name in (".audit.json.*.part", ".report.html.*.part", "metamers/.[0-9]*.part"):
            for stray in folder.glob(name):  # of a process that was killed while it wrote
                stray.unlink(missing_ok=True)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"out='{folder}' must be a folder; there is a file of that name.")
        if (folder / "audit.json").exists():
            held = read_json(folder / "audit.json")
            self.held = held if isinstance(held, dict) else {}
            held = self.held.get("question", {})
            differing = [
                re.sub("(.*)_digest", r"content of \1", name)
                for name in question
                if held.get(name) != question[name]
            ]
            if differing:
                raise InputError(
                    f"out='{folder}' already holds another audit ({', '.join(differing)} differ). "
                    "Choose another folder, or remove this one."
                )
        else:
            if any((folder / "metamers").glob("*.pt")):
                raise InputError(
                    f"out='{folder}' holds metamers but no audit.json that says what they are. "
                    "Choose another folder, or remove this one."
                )
            write_json(folder / "audit.json", {"schema": SCHEMA, "question": question, "rows": []})

    def path(self, place: int, label: str, seed: int) -> Path:
        slug = re.sub(r"[^A-Za-z0-9_]+", "-", label).strip("-")[:60]
        return self._folder / "metamers" / f"{place:03d}-{slug}-seed{seed}.pt"

    def write(self, audit: "Audit") -> None:
        write_json(
            self._folder / "audit.json",
            {
                "schema": SCHEMA,
                "environment": audit.environment,
                "question": audit.question,
                "accuracy": audit.accuracy,
                "theory": {label: found.as_dict() for label, found in audit.theory.items()},
                "baselines": audit.baselines,
                "rows": audit.rows,
                "summary": audit.summary(),
            },
        )

    def report(self, audit: "Audit") -> None:
        # matplotlib and jinja2 are imported by those who want a report.
        from graph_metamers.report import write_report

        write_report(audit, self._folder / "report.html")
