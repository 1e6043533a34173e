"""Fig. 6: ELU, adversarial training and residual connections against over-invariance."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, counted, standard_columns
from graph_metamers.paper.claims import Pairs, finder, paired, rises
from graph_metamers.paper.grid import DATASETS, MODELS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import CS_AXIS, panels
from graph_metamers.report.numbers import ABSENT

FACTORS = {"activation": ("relu", "elu"), "adversarial": (False, True), "residual": (False, True)}
CELL = ("dataset", "model", *FACTORS)
STRATEGIES = {
    "activation": ("elu", "relu", "ELU", "ELU in place of ReLU raises CS."),
    "adversarial": (True, False, "adversarial training", "Adversarial training raises CS."),
    "residual": (True, False, "residual connections", "Residual connections raise CS."),
}


def grid(options: Options) -> list[Job]:
    products = itertools.product(*FACTORS.values())
    variants: list[dict[str, Any]] = [
        dict(zip(FACTORS, values, strict=True)) for values in products
    ]
    return [
        search_job(options, dataset, model, seed, **variant)
        for seed, dataset, model, variant in itertools.product(
            range(options.seeds),
            chosen(options.datasets, DATASETS),
            chosen(options.models, MODELS),
            variants,
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("dataset", "dataset", "name"),
        Column("model", "model", "name"),
        Column("variant", "variant"),
        Column("accuracy_test", "acc.", "percent", ""),
        *standard_columns(),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    rows = cells(results, options, CELL)
    for row in rows:
        row["variant"] = variant_name(row)
    return rows


def variant_name(row: Row) -> str:
    """What differs from the plain model.

    >>> variant_name({"activation": "elu", "adversarial": True, "residual": False})
    'ELU+adversarial'
    """
    return "+".join(_switched_on(row)) or "plain"


def _switched_on(row: Row) -> list[str]:
    named = {"ELU": row["activation"] == "elu"}
    named |= {name: row[name] for name in ("adversarial", "residual")}
    return [name for name, on in named.items() if on]


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    shown = [row for row in rows if len(_switched_on(row)) <= 1]
    panels(
        figure,
        shown,
        across="model",
        series="variant",
        score="consistency",
        name=CS_AXIS,
    )


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    find, equal = finder(rows, CELL), options.search != "paper"
    pairs = {
        factor: paired(
            [row for row in rows if row[factor] == on],
            lambda row, factor=factor, off=off: find(row, **{factor: off}),
            whole=len(DATASETS) * len(MODELS) * 2 ** (len(FACTORS) - 1),
            equal=equal,
        )
        for factor, (on, off, _, _) in STRATEGIES.items()
    }
    return [
        *(rises(c, pairs[factor], equal=equal) for factor, (_, _, _, c) in STRATEGIES.items()),
        _all_three(pairs),
        _most_stable(pairs),
    ]


def _all_three(pairs: Mapping[str, Pairs]) -> Claim:
    holds = [each.holds() for each in pairs.values()]
    return Claim(
        "All three strategies consistently reduce over-invariance.",
        "Each of the three claims above holds.",
        f"{holds.count(True)} hold, {holds.count(False)} do not.",
        False if False in holds else None if None in holds else True,
    )


def _most_stable(pairs: Mapping[str, Pairs]) -> Claim:
    shares = {f: each.risen() / len(each.changes) for f, each in pairs.items() if each.changes}
    others = [share for factor, share in shares.items() if factor != "adversarial"]
    # Open as long as pairs are missing, or most of them cannot be compared.
    told = all(p.told == p.whole and 2 * len(p.changes) >= p.whole for p in pairs.values())
    return Claim(
        "Adversarial training shows the most stable improvements.",
        "It raises CS in a greater share of the pairs than each of the others.",
        ", ".join(f"{f}: {share:.0%}" for f, share in shares.items()) + "." if shares else ABSENT,
        shares["adversarial"] > max(others) if told else None,
    )


def note(rows: Sequence[Row], options: Options) -> list[str]:
    variants = dict.fromkeys(row["variant"] for row in rows)
    return [
        counted(options),
        f"Of the eight combinations of the three strategies {len(variants)} were run: "
        f"{'; '.join(variants)}. The picture shows each strategy alone.",
        "Graphormer's own blocks have residual connections; its other variants go without.",
        *_where_found(rows),
    ]


def _where_found(rows: Sequence[Row]) -> list[str]:
    """In how many pairs of cells a strategy decides whether there is a metamer to compare."""
    find = finder(rows, CELL)
    told: list[str] = []
    for factor, (on, off, name, _) in STRATEGIES.items():
        pairs = [(row, find(row, **{factor: off})) for row in rows if row[factor] == on]
        found = Counter(
            (row["matched"] > 0, other["matched"] > 0) for row, other in pairs if other is not None
        )
        if found:
            told.append(
                f"{name}, both {found[True, True]}, only without {found[False, True]}, "
                f"only with {found[True, False]}, neither {found[False, False]}"
            )
    sentence = "Pairs of cells that differ in one strategy, by which of the two have metamers: "
    return [f"{sentence}{'; '.join(told)}."] if told else []


ITEM = Item(
    name="fig6",
    title="Fig. 6: strategies against over-invariance",
    shows="CS with ELU, adversarial training and residual connections, in all combinations",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
