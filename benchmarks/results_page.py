"""Write docs/results.md, and the README's figures, from the committed result files.

python benchmarks/results_page.py
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

from graph_metamers.paper.reported import table1, table2

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATASETS = ("cora", "citeseer", "pubmed", "chameleon", "squirrel")
TABLE1, TABLE2 = table1(), table2()  # the paper's, in shares
WIDTH = {"gat": 64, "graphormer": 32}  # the zoo's own; 16 for the others
WIDE = ("gcn", "graphsage", "gin")  # shown at several widths
DATE = re.compile(r'"date": "([0-9-]+)"')
dates: set[str] = set()  # of all files that were read
SCORES = ("feature_similarity", "prediction_match", "consistency")


def main() -> None:
    audits = {name: read(f"gcn_{name}.json") for name in DATASETS}
    steps = {name: read(f"adam_step_{name}.json") for name in ("cora", "pubmed")}
    accuracy = read("accuracy.json")
    auto = [
        (name, read(f"{kind}_gcn_{name}.json"))
        for kind in ("auto", "farthest")
        for name in ("cora", "pubmed")
    ]
    search, training = read("search.json"), read("training.json")
    cast, pairs = read("cora_models.json"), read("all_pairs.json")
    made = audits["cora"]["environment"]
    blanks = {
        "{AUDITS}": "\n".join(audit_row(name, audit) for name, audit in audits.items()),
        "{COMMANDS}": "\n".join(f"    {a['environment']['command']}" for a in audits.values()),
        "{AUTO}": "\n".join(auto_row(name, audit) for name, audit in auto),
        "{AUTO_COMMANDS}": "\n".join(f"    {a['environment']['command']}" for _, a in auto),
        "{ACCURACY}": "\n".join(accuracy_rows(accuracy["rows"])),
        "{CORA}": "\n".join(model_row(row) for row in cast["rows"]),
        "{PAIRS}": "\n".join(pair_rows(pairs["rows"])),
        "{ADVERSARIAL}": "\n".join(attack_row(row) for row in read("adversarial.json")["rows"]),
        "{SEARCHES}": "\n".join(search_row(row) for row in search["rows"]),
        "{MEAN_RATIO}": f"{search['geometric_mean_ratio']:.0f}",
        "{LEAST_RATIO}": f"{search['least_ratio']:.0f}",
        "{EXACT}": "\n".join(exact_row(row) for row in read("exact.json")["rows"]),
        "{DEEPER}": "\n".join(deeper_row(row) for row in read("deeper.json")["rows"]),
        "{STRUCTURE}": "\n".join(structure_rows(read("structure_table.json")["rows"])),
        "{FIG5}": "\n".join(relaxed_rows(read("structure_paper.json")["rows"])),
        "{METHODS}": "\n".join(method_row(row) for row in read("structure.json")["rows"]),
        "{LARGE}": "\n".join(large_row(row) for row in read("structure.json")["large"]),
        "{CLAIMS}": "\n".join(claim_row(row) for row in read("claims.json")["rows"]),
        "{RANKS}": "\n".join(rank_rows(read("claims.json")["rows"])),
        "{COLLAPSE}": "\n".join(collapse_rows(read("claims.json")["rows"])),
        "{STEPS}": "\n".join(step_row(step) for step in steps.values()),
        "{TRAINING}": "\n".join(training_row(row) for row in training["rows"]),
        "{ENVIRONMENT}": f"graph-metamers {made['graph_metamers']}, torch {made['torch']}, PyTorch "
        f"Geometric {made['torch_geometric']}, {steps['cora']['environment']['processor']}, "
        f"{min(dates)} to {max(dates)}",
    }
    page = (ROOT / "docs" / "results.md.in").read_text()
    for blank, text in blanks.items():
        page = page.replace(blank, text)
    (ROOT / "docs" / "results.md").write_text(page)

    readme = (ROOT / "README.md").read_text()
    head, ruler = (
        "| Graph | Matched | Activation error | S_feat | S_match |",
        "|---|---|---|---|---|",
    )
    rows = [head, ruler, *(short_row(name, audit) for name, audit in audits.items())]
    table = re.escape(head) + r"\n(\|.*\n)+"
    readme = replaced(table, "\n".join(rows) + "\n", readme)
    (cora,), (pubmed,) = (read(f"farthest_gcn_{name}.json")["summary"] for name in steps)
    farthest = r"(?<=for: )S_feat .* on Cora .* on PubMed \([^,]*"
    (ROOT / "README.md").write_text(replaced(farthest, farthest_told(cora, pubmed), readme))


def replaced(pattern: str, told: str, text: str) -> str:
    found, count = re.subn(pattern, told, text)
    if count != 1:
        raise ValueError(f"The README must have '{pattern}' once; it has it {count} times.")
    return found


def farthest_told(cora: dict[str, Any], pubmed: dict[str, Any]) -> str:
    similarity = max(s["feature_similarity"] for s in (cora, pubmed))
    return (
        f"S_feat {100 * similarity:.1f} at a prediction match of "
        f"{100 * cora['prediction_match']:.1f} % on Cora (activation error "
        f"{cora['activation_error']:.1e}) and of {100 * pubmed['prediction_match']:.1f} % on "
        f"PubMed ({pubmed['activation_error']:.1e}"
    )


def read(name: str) -> dict[str, Any]:
    text = (RESULTS / name).read_text()
    dates.update(DATE.findall(text))
    return json.loads(text)


def audit_row(name: str, audit: dict[str, Any]) -> str:
    (s,) = audit["summary"]
    paper = TABLE1[name, "gcn"]
    ours = [
        f"{100 * s[score]:.1f} ± {100 * s[f'{score}_std']:.1f} ({100 * paper[score]:.1f})"
        for score in SCORES
    ]
    start = [f"{100 * s[f'start_{k}']:.1f}" for k in SCORES]
    cells = [
        name,
        f"{100 * audit['accuracy']['test']:.1f}",
        f"{s['matched']} of {s['runs']}",
        f"{s['activation_error']:.1e}",
        *ours,
        " / ".join(start),
        f"{s['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def short_row(name: str, audit: dict[str, Any]) -> str:
    (s,) = audit["summary"]
    error = f"{s['activation_error']:.1e}"
    beside = [f"{100 * s[k]:.1f} ({100 * s[f'start_{k}']:.1f})" for k in SCORES[:2]]
    return f"| {name} | {s['matched']} of {s['runs']} | {error} | {' | '.join(beside)} |"


def auto_row(name: str, audit: dict[str, Any]) -> str:
    (s,) = audit["summary"]
    cells = [
        name,
        s["search"],
        f"{s['matched']} of {s['runs']}",
        f"{s['activation_error']:.1e}",
        f"{100 * s['feature_similarity']:.1f} ({100 * s['start_feature_similarity']:.1f})",
        f"{100 * s['prediction_match']:.1f}",
        f"{s['output_error']:.1e}",
        f"{s['seconds']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def accuracy_rows(rows: list[dict[str, Any]]) -> list[str]:
    """A row a model, a column a dataset; the paper gives PubMed's alone."""
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = [
            f"{100 * row['test_accuracy']:.1f}"
            + (f" ± {100 * row['test_accuracy_std']:.1f}" if row["test_accuracy_std"] else " (one)")
            for name in DATASETS
            for row in rows
            if (row["model"], row["dataset"]) == (model, name)
        ]
        paper = 100 * TABLE2["original", model]["accuracy"]
        lines.append(f"| {model} | {' | '.join(cells)} | {paper:.2f} |")
    return lines


def model_row(row: dict[str, Any]) -> str:
    paper = TABLE1["cora", row["model"]]
    ours = [
        f"{100 * row[score]:.1f}"
        + (f" ± {100 * row[f'{score}_std']:.1f}" if row["runs"] > 1 else "")
        + f" ({100 * (row[score] - paper[score]):+.1f})"
        for score in SCORES[:2]
    ]
    cells = [
        row["model"],
        str(row["hidden"] or WIDTH.get(row["model"], 16)),
        f"{row['matched']} of {row['runs']}",
        f"{row['activation_error']:.1e}",
        *ours,
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def pair_rows(rows: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = [
            f"{row['activation_error']:.2f} / {100 * row['feature_similarity']:.1f} / "
            f"{100 * row['prediction_match']:.0f}"
            for name in DATASETS
            for row in rows
            if (row["model"], row["dataset"]) == (model, name)
        ]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def attack_row(row: dict[str, Any]) -> str:
    cells = [
        f"{row['epsilon']:g}",
        row["training"],
        f"{row['clean_loss']:.2f}",
        f"{row['attacked_loss']:.2f}",
        f"{100 * row['test_accuracy']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def search_row(row: dict[str, Any]) -> str:
    walked = row["literal_steps_walked"]
    cells = [
        row["model"],
        row["dataset"],
        row["search"],
        f"{walked}, {row['literal_seconds']:.0f}",
        f"{row['literal_error']:.1e}",
        f"{row['auto_seconds']:.2f}",
        f"{row['ratio']:.0f}",
        f"{row['auto_final_error']:.0e} after {row['auto_final_seconds']:.1f} s",
        f"{row['adam_seconds']:.0f}",
        f"{row['plenoptic_error']:.1e}" if "plenoptic_error" in row else "",
    ]
    return "| " + " | ".join(cells) + " |"


def exact_row(row: dict[str, Any]) -> str:
    cells = [
        row["model"],
        row["dtype"],
        row["seek"],
        f"{row['activation_error']:.0e}",
        f"{row['output_error']:.0e}",
        f"{row['prediction_match']:.4f}",
        f"{100 * row['feature_similarity']:.1f} ({100 * row['start_feature_similarity']:.1f})",
        f"{row['pinned_nodes']:.0f}",
        f"{row['seconds']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def deeper_row(row: dict[str, Any]) -> str:
    cells = [
        row["model"],
        row["layer"],
        row["search"].partition("(")[0],
        f"{row['activation_error']:.1e}",
        f"{100 * row['feature_similarity']:.1f}",
        f"{row['prediction_match']:.4f}",
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def structure_rows(rows: list[dict[str, Any]]) -> list[str]:
    """A row for each dataset, model, layer and number of steps: means over the seeds."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        degrees = "fixed" if "fixed" in row["vary"] else "free"
        key = (row["dataset"], row["model"], row["layers"], degrees, row["steps_asked"])
        groups.setdefault(key, []).append(row)
    return [
        "| " + " | ".join([*map(str, key), str(len(group)), *_edge_cells(group)]) + " |"
        for key, group in sorted(groups.items(), key=lambda item: item[0][:1])
    ]


def relaxed_rows(rows: list[dict[str, Any]]) -> list[str]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["model"], f"{row['lr']:g}"), []).append(row)
    return [
        "| " + " | ".join([*key, str(len(group)), *_edge_cells(group)]) + " |"
        for key, group in groups.items()
    ]


def _edge_cells(group: list[dict[str, Any]]) -> list[str]:
    """Error, kept edges, S_struct and S_match, each beside the random start's."""

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in group)

    return [
        f"{mean('activation_error'):.3f} ({mean('start_activation_error'):.2f})",
        f"{100 * mean('edges_kept'):.1f} ({100 * mean('start_edges_kept'):.1f})",
        f"{100 * mean('structure_similarity'):.1f} "
        f"({100 * mean('start_structure_similarity'):.1f})",
        f"{100 * mean('prediction_match'):.1f} ({100 * mean('start_prediction_match'):.1f})",
    ]


def method_row(row: dict[str, Any]) -> str:
    cells = [
        row["method"],
        f"{row['activation_error']:.4f}",
        f"{100 * row['edges_kept']:.1f}",
        f"{100 * row['prediction_match']:.1f}",
        f"{row['seconds']:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def large_row(row: dict[str, Any]) -> str:
    name = row.get("dataset") or f"random, {row['nodes']:,} nodes, {row['edges']:,} edges"
    cells = [
        name,
        str(row["steps"]),
        f"{row['start_activation_error']:.3f} → {row['activation_error']:.4f}",
        f"{row['seconds_per_step']:.2f}",
        f"{row['memory_gib']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def claim_row(row: dict[str, Any]) -> str:
    seen = row["rank"] is not None
    volume = row["collapsed_share"] is not None
    matched = row["matched"] > 0
    cells = [
        row["dataset"],
        row["model"],
        row["activation"],
        str(row["hidden"] or WIDTH.get(row["model"], 16)),
        (row["of"] or "").replace("_", " "),
        f"{row['total']:.0f}" if seen else "",
        f"{row['rank']:.1f}" if seen else "",
        f"{row['effective_rank']:.1f}" if seen else "",
        f"{100 * row['collapsed_share']:.0f}" if volume else "",
        f"{row['matched']} of {row['runs']}",
        f"{row['activation_error']:.0e} ({row['null_activation_error']:.2f})",
        f"{100 * row['feature_similarity']:.1f} ({100 * row['start_feature_similarity']:.1f})"
        if matched
        else "",
        f"{100 * row['consistency']:.1f}" if matched else "",
        f"{row['baseline_nearest_node']:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def rank_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Spearman's correlation of the rank with what the searches found, over matched models."""
    lines: list[str] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for name, chosen in (
            ("one per architecture", [r for r in rows if r["hidden"] is None]),
            ("GCN, GraphSAGE, GIN at three widths", [r for r in rows if r["model"] in WIDE]),
        ):
            group = [
                row
                for row in chosen
                if (row["dataset"], row["activation"]) == (dataset, "relu")
                and row["matched"] == row["runs"]
                and row["of"] == "node"  # ranks of other maps are not comparable
            ]
            ranks = [row["rank"] for row in group]
            cells = [f"{spearman(ranks, [row[score] for row in group])}" for score in SCORES[::2]]
            lines.append(f"| {dataset} | {name} | {len(group)} | {' | '.join(cells)} |")
    return lines


def spearman(a: list[float], b: list[float]) -> str:
    from scipy.stats import spearmanr

    found: Any = spearmanr(a, b)
    return f"{found.statistic:+.2f}"


def collapse_rows(rows: list[dict[str, Any]]) -> list[str]:
    """ReLU beside ELU: units that are off, and how similar the metamers are."""
    lines: list[str] = []
    for row in rows:
        if row["activation"] != "relu" or row["hidden"] is not None:
            continue
        same = ("dataset", "model", "hidden")
        (other,) = [
            r for r in rows if r["activation"] == "elu" and all(r[k] == row[k] for k in same)
        ] or [None]
        if other is None or None in (row["collapsed_share"], other["collapsed_share"]):
            continue
        cells = [row["dataset"], row["model"]]
        cells += [f"{100 * each['collapsed_share']:.0f}" for each in (row, other)]
        cells += [f"{each['rank']:.1f}" if each["rank"] else "" for each in (row, other)]
        cells += [
            f"{100 * each['feature_similarity']:.1f}" if each["matched"] else "no match"
            for each in (row, other)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def step_row(step: dict[str, Any]) -> str:
    cells = [
        step["dataset"],
        f"{step['literal_ms_per_step']:.1f}",
        f"{step['ours_ms_per_step']:.1f}",
        f"{step['ratio']:.1f}",
        f"{step['largest_relative_difference']:.0e}",
    ]
    return "| " + " | ".join(cells) + " |"


def training_row(row: dict[str, Any]) -> str:
    cells = [
        row["dataset"],
        row["model"],
        f"{row['messages_ms']:.0f}",
        f"{row['products_ms']:.0f}",
        f"{row['ratio']:.1f}",
        f"{row['largest_relative_difference']:.0e}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
