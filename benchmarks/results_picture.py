"""The picture that opens docs/results.md, from docs/results/tables: ``python benchmarks/results_picture.py``.

Differences to PLE in points with their 95 % intervals, as the tables print them. What is not shown after Holm's
correction is drawn faint.
"""

from __future__ import annotations

import re
from pathlib import Path

from pictures import Dot, DotColumn, dots

from prerank.pages.plot import PlotAxis

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "tables"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "results.svg"
SYSTEMS = {
    "grace": "GRACE",
    "grace_no_generalization": "GRACE without eq. 10",
    "grace_plus": "grace_plus",
    "copr": "COPR",
    "rankflow": "RankFlow",
}
MARKETS, TRIVAGO, EXPEDIA = "simulated", "trivago", "expedia"
ROW = re.compile(
    r"^\| (\w+) \| (\w+) \| (\S+) \| (\S+) (?:…|to) (\S+) \|.*\| (\d+) \| (shown|not told apart) \|$", re.MULTILINE
)


def differences(table: str) -> dict[tuple[str, str], tuple[float, float, float, int, bool]]:
    """Difference, interval, seeds and whether it is shown, by system and metric."""
    text = (RESULTS / f"{table}.md").read_text(encoding="utf-8").replace("−", "-")
    return {
        (system, metric): (float(value), float(low), float(high), int(seeds), claim == "shown")
        for system, metric, value, low, high, seeds, claim in ROW.findall(text)
    }


def rows(metric_in_markets: str, metric: str) -> list[Dot]:
    """One dot for each system and place; markets of ten seeds where there are ten."""
    five, ten = differences("laboratory"), differences("laboratory_ten")
    logs = {TRIVAGO: differences("trivago"), EXPEDIA: differences("expedia")}
    drawn = []
    for system, name in SYSTEMS.items():
        key = (system, metric_in_markets)
        value, low, high, seeds, shown = ten.get(key) or five[key]
        drawn.append(Dot(name, f"{seeds} markets", MARKETS, value, low, high, faint=not shown))
        for place, log in logs.items():
            value, low, high, _, shown = log[system, metric]
            label = "trivago" if place == TRIVAGO else "Expedia"
            drawn.append(Dot(name, label, place, value, low, high, faint=not shown))
    return drawn


def main() -> None:
    """Write the picture."""
    clicks = PlotAxis(-6, 4, [(v, f"{v:+d}" if v else "PLE") for v in (-6, -4, -2, 0, 2, 4)])
    agreement = PlotAxis(-2, 15, [(v, f"{v:+d}" if v else "PLE") for v in (0, 5, 10, 15)])
    columns = [
        DotColumn(rows("gauc_click", "gauc_click"), clicks, (0, 0), "clicks: GAUC, points"),
        DotColumn(rows("recall_full_at_10", "recall_at_10"), agreement, (0, 0), "agreement: Recall@10, points"),
    ]
    note = (
        "Less PLE, 95 % intervals; faint: not shown after Holm's correction. Markets are simulated; their Recall@10 "
        "is over whole recalled sets."
    )
    PICTURE.write_text(dots("What a system gains over PLE", columns, note), encoding="utf-8")
    print(f"written: {PICTURE}")


if __name__ == "__main__":
    main()
