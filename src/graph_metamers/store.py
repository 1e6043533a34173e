"""The folder of an audit: what was asked, the metamers, the report."""

import re
from pathlib import Path
from typing import Any

from graph_metamers.digests import digest, same_answers
from graph_metamers.errors import InputError
from graph_metamers.storage import read_json, write_json, writing

SCHEMA = 3
GROWING = ("layers", "seeds", "skipped", "answers", "not_kept")  # of which more may be asked later


class Store:
    """The folder of an audit. A run is done when its metamer's file is there."""

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self.folder = folder
        self.held: dict[str, Any] = {}  # what the folder says already
        with writing(folder):
            is_file = folder.exists() and not folder.is_dir()
        for name in (".audit.json.*.part", ".report.html.*.part", "metamers/.*.part"):
            for stray in folder.glob(name):  # of a process that was killed while it wrote
                stray.unlink(missing_ok=True)
        if is_file:
            raise InputError(f"out='{folder}' must be a folder; there is a file of that name.")
        if (folder / "audit.json").exists():
            self.held = read_json(folder / "audit.json", checked=True)
            differing = _differing(self.held, question, folder)
            if differing:
                raise InputError(
                    f"out='{folder}' already holds another audit ({', '.join(differing)} differ). "
                    "Choose another folder, or remove this one."
                )
            known = self.held["question"]["answers"]
            question["answers"] = known | question["answers"]  # also of layers asked before
        else:
            if any((folder / "metamers").glob("*.pt")):
                raise InputError(
                    f"out='{folder}' holds metamers but no audit.json that says what they are. "
                    "Choose another folder, or remove this one."
                )
            start = {"schema": SCHEMA, "question": question, "rows": []}
            write_json(folder / "audit.json", start, checked=True)

    def path(self, label: str, vary: str, seed: int) -> Path:
        """The file of a run."""
        slug = re.sub(r"[^A-Za-z0-9_]+", "-", label).strip("-")[:60]
        return self.folder / "metamers" / f"{slug}-{digest(label, vary)[:6]}-seed{seed}.pt"

    def write(self, document: dict[str, Any]) -> None:
        """Write what is known so far; see `Audit.document`."""
        write_json(self.folder / "audit.json", {"schema": SCHEMA} | document, checked=True)


def _differing(document: Any, question: dict[str, Any], folder: Path) -> list[str]:
    """In what a folder's audit differs from the one that is asked for."""
    held = document.get("question") if isinstance(document, dict) else None
    if not isinstance(held, dict):
        raise InputError(
            f"'{folder / 'audit.json'}' must be the audit of this folder; it holds something else. "
            "Choose another folder, or remove this file."
        )
    known: dict[str, Any] = held.get("answers", {})
    answers = question["answers"]
    return [
        re.sub("(.*)_digest", r"content of \1", name)
        for name in question
        if name not in GROWING and held.get(name) != question[name]
    ] + [
        f"what the model answers at {label}"
        for label in answers
        if label in known and not same_answers(answers[label], known[label])
    ]
