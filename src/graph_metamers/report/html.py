"""One self-contained page for an audit: no request leaves it, and no name in it can run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from graph_metamers import datasets, zoo
from graph_metamers.measure.distances import Kind
from graph_metamers.report import plots
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.glossary import VARIES, Score, explained, limitations
from graph_metamers.report.numbers import error_text, p_text, score_text, shorten
from graph_metamers.report.page import rendered
from graph_metamers.report.section import section
from graph_metamers.report.theory import theory_section
from graph_metamers.report.words import headline, kind_of, remedies, status_text, verdict_text
from graph_metamers.result import Metamer
from graph_metamers.storage import write_text

if TYPE_CHECKING:
    from graph_metamers.audit import Audit


def write_report(audit: "Audit", path: Path) -> None:
    """Write the report of an audit: one page, whole or not at all.

    Args:
        audit: A finished audit, or one that has come part of the way.
        path: The HTML file.

    Raises:
        InputError: The place cannot be written to.
    """
    write_text(path, rendered("report.html", **_context(audit)))


def _context(audit: "Audit") -> dict[str, Any]:
    groups, summary = audit.groups(), audit.summary()
    several = len({group[0].vary for group in groups}) > 1
    kinds: list[Kind] = [kind_of(group[0]) for group in groups]
    return {
        "question": audit.question,
        "environment": audit.environment,
        "headline": headline(groups),
        "advice": [] if any(m.matched for m in audit.metamers) else remedies(audit.metamers),
        "overview": _overview(groups) if groups else None,
        "asked": _asked(audit),
        "sections": [
            section(place, group, s, _baselines(audit, group[0]), several=several)
            for place, (group, s) in enumerate(zip(groups, summary, strict=True))
        ],
        "theory": theory_section(audit.theory, groups, summary),
        "scores": _glossary(groups),
        "limitations": limitations(kinds),
        "snippet": _snippet(audit.question),
        "score_text": score_text,
        "error_text": error_text,
        "p_text": p_text,
        "status_text": status_text,
        "verdict_text": verdict_text,
    }


def _baselines(audit: "Audit", m: Metamer) -> list[dict[str, Any]]:
    return [b for b in audit.baselines if (b["layer"], b["vary"]) == (m.layer, m.vary)]


def _glossary(groups: list[list[Metamer]]) -> list[Score]:
    """All that was measured, explained."""
    measured = dict.fromkeys(name for group in groups for name in group[0].scores)
    names = [name for name in measured if not name.startswith("start_")]
    kinds: list[Kind] = [kind_of(group[0]) for group in groups]
    return [explained(n, kinds) for n in ("activation_error", "null_activation_error", *names)]


def _overview(groups: list[list[Metamer]]) -> Markup:
    measured = dict.fromkeys(name for group in groups for name in group[0].symbols)
    rows = sum(len(group[0].symbols) for group in groups)
    what = " and ".join(name.replace("_", " ") for name in measured).capitalize()
    return inline_svg(
        lambda ax: plots.plot_similarity(groups, ax),
        f"{what} of each metamer and of its random start, for each layer. "
        "The same figures stand in the tables of scores.",
        "overview",
        width=4.1,
        height=0.95 + 0.34 * rows,
    )


def _asked(audit: "Audit") -> list[tuple[str, str]]:
    """The question, as terms and their values."""
    question = audit.question
    asked = [
        ("Model", str(question["model"])),
        ("Graph", f"{question['dataset']}: {_size(question)}"),
        ("Layers", _listed(question["layers"])),
        *([("Left out", _listed(list(question["skipped"])))] if question.get("skipped") else []),
        ("What varies", "; ".join(_varies(way) for way in question["vary"])),
        ("Search", audit.search),
        ("Random starts", _starts(question["seeds"])),
        (
            "Matched if",
            f"activation error is at most {question['tol']:g} and below that of unrelated graphs",
        ),
    ]
    if audit.accuracy:
        parts = (f"{value:.1%} {split}" for split, value in audit.accuracy.items())
        asked.insert(1, ("Its accuracy", ", ".join(parts)))
    return asked


def _snippet(question: dict[str, Any]) -> str:
    """The audit as Python, as far as its settings say it."""
    model, dataset = question["model"], question["dataset"]
    name, _, undirected = dataset.partition(", ")
    if name in datasets.NAMES and undirected in ("", "undirected") and model in zoo.MODELS:
        loaded = f"{name!r}, undirected=True" if undirected else repr(name)
        made = f"data = gm.datasets.load({loaded})\nmodel = gm.zoo.train({model!r}, data).model"
    else:
        made = "model, data = ...  # yours, with the digests below"
    layers = [part.split(" + ") if " + " in part else part for part in question["layers"]]
    ways = ", ".join(_constructor(way) for way in question["vary"])
    seeds = question["seeds"]
    seeds = len(seeds) if seeds == list(range(len(seeds))) else seeds
    return (
        f"import graph_metamers as gm\n\n{made}\n"
        "report = gm.audit(\n    model,\n    data,\n"
        f"    layers={layers!r},\n    vary=[{ways}],\n"
        f"    search={_constructor(question['search'])},\n"
        f"    seeds={seeds!r},\n    tol={question['tol']!r},\n"
        f"    dataset={dataset!r},\n    name={model!r},\n"
        ')\nreport.save("audit")\n'
    )


def _constructor(setting: str) -> str:
    """`gm.Adam(steps=200)` for "Adam(steps=200)"; a class of the user's own stays as it is.

    >>> _constructor("Adam"), _constructor("Mine(x=1)")
    ('gm.Adam()', 'Mine(x=1)')
    """
    import graph_metamers

    name = setting.partition("(")[0]
    call = setting if "(" in setting else f"{setting}()"
    return f"gm.{call}" if name in graph_metamers.__all__ else call


def _varies(setting: str) -> str:
    plain = VARIES.get(setting.partition("(")[0])
    return f"{setting}: {plain}" if plain else setting


def _size(question: dict[str, Any]) -> str:
    parts = ((question.get(name), name) for name in ("nodes", "features", "edges"))
    return ", ".join(f"{count:,} {name}" for count, name in parts if count is not None)


def _starts(seeds: list[int]) -> str:
    return f"{len(seeds)} ({'seed' if len(seeds) == 1 else 'seeds'} {_listed(seeds)})"


def _listed(values: Sequence[Any], most: int = 12) -> str:
    shown = [shorten(str(value), 60) for value in values[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")
