"""The folder of an audit: what was asked, the metamers, the report."""

import re
from pathlib import Path
from typing import Any

from graph_metamers.errors import InputError
from graph_metamers.storage import read_json, write_json

SCHEMA = 2


class Store:
    """The folder of an audit. A run is done when its metamer's file is there."""

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self.folder = folder
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
        return self.folder / "metamers" / f"{place:03d}-{slug}-seed{seed}.pt"

    def write(self, document: dict[str, Any]) -> None:
        """Write what is known so far; see `Audit.document`."""
        write_json(self.folder / "audit.json", {"schema": SCHEMA} | document)
