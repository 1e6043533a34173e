"""Write the results of docs/benchmark.md from the committed leaderboard.

graph-metamers benchmark --model gcn --out benchmarks/results/leaderboard
python benchmarks/leaderboard_page.py
"""

import math
from operator import itemgetter
from pathlib import Path
from typing import Any

from graph_metamers import zoo
from graph_metamers.benchmark import read_board
from graph_metamers.benchmark.protocol import PROTOCOL
from graph_metamers.jobs import Store
from graph_metamers.paper.grid import TITLES
from graph_metamers.report.numbers import ABSENT

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmark.md"
FOLDER = ROOT / "benchmarks" / "results" / "leaderboard"
HEADING = "## Results\n"


def main() -> None:
    board = [line for line in read_board(FOLDER) if line["protocol"] == PROTOCOL.version]
    before = PAGE.read_text().split(HEADING)[0]
    parts = [HEADING.strip(), told(board)]
    for layer in PROTOCOL.layers:
        lines = [line for line in board if line["layer"] == layer]
        parts += [f"### Invariance, {layer}", table(lines, "invariance")]
    outputs = [line for line in board if line["layer"] == "output"]
    parts += ["### Accuracy on the test nodes", table(outputs, "accuracy")]
    PAGE.write_text(before + "\n\n".join(parts) + "\n")


def told(board: list[dict[str, Any]]) -> str:
    results = Store(FOLDER / "runs").results()
    facts = {
        name: ", ".join(sorted({str(result.environment[name]) for result in results}))
        for name in ("processor", "torch", "commit")
    }
    hours = math.fsum(result.seconds for result in results) / 3600
    seeds = PROTOCOL.seeds
    figures = [line for line in board if not math.isnan(line["invariance"])]
    least = min(figures, key=itemgetter("invariance"))
    return (
        "From `benchmarks/results/leaderboard`, by `python benchmarks/leaderboard_page.py`: "
        f"{sum(line['runs'] for line in board)} runs, {hours:.1f} hours of one core; "
        f"{facts['processor']}, torch {facts['torch']}, commits {facts['commit']}. Means ± "
        "standard deviation, in percent. An invariance is over the matched runs; how many they "
        f"are stands behind it where they are not {seeds} of {seeds}, and alone where no run "
        f"matched. {ABSENT}: not run. Lower is better at the same accuracy.\n\n"
        f"Of {len(figures)} figures the least is {100 * least['invariance']:.1f} "
        f"(`{least['model']}`, {TITLES[least['dataset']]}, {least['layer']}), and "
        f"{sum(line['invariance'] >= 0.95 for line in figures)} are at least 95: the metamers are "
        "hardly more like their graph than chance is. The page `leaderboard.html` in that folder "
        "has all columns; `graph-metamers benchmark --model my_model.py:build --out FOLDER`, on a "
        "copy of it, puts your model beside them."
    )


def table(lines: list[dict[str, Any]], name: str) -> str:
    """Models against graphs, in the order of the zoo and the protocol."""
    graphs = [graph for graph in PROTOCOL.datasets if any(x["dataset"] == graph for x in lines)]
    rows = [["Model", *(TITLES[graph] for graph in graphs)], ["---"] * (1 + len(graphs))]
    found = {(line["model"], line["dataset"]): line for line in lines}
    for model in zoo.MODELS:
        cells = [cell(found.get((model, graph)), name) for graph in graphs]
        if any(text != ABSENT for text in cells):
            rows.append([f"`{model}`", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def cell(line: dict[str, Any] | None, name: str) -> str:
    if line is None:
        return ABSENT
    if math.isnan(line[name]):
        return f"{line['matched']} of {line['runs']}"
    spread = line[f"{name}_std"]
    text = f"{100 * line[name]:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")
    whole = line["matched"] == line["runs"] == PROTOCOL.seeds or name != "invariance"
    return text if whole else f"{text} ({line['matched']} of {line['runs']})"


if __name__ == "__main__":
    main()
