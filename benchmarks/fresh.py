"""Ten simulated days: a model that goes on each day, one trained anew on all days, and one that is left as it is.

    python benchmarks/fresh.py --seeds 0 1 2 --folder runs/fresh --output fresh.json

One simulation a seed is cut into days: the first ones make the run that all three start from, then each day is first
predicted by what each had learnt of the days before it, and then learnt. All are measured on the same rows, in segments
that are those of the model trained on all days. Costs are those of log, graph, psi and fit: processor seconds of this
process (one thread; other work on the machine does not count), rows read and rows trained on. What is in the output is
not made again.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.special import stdtrit

from configs.command import Invocation, parse
from configs.console import say
from configs.schema import DataConfig
from configs.stages import read_json, replacing, write_json
from configs.worlds import make_world
from graph.logs.log import SearchLog
from graph.logs.prepare import check_new_log
from graph.marketplace.simulate import simulate
from prerank.encoding.features import encode_new_log
from prerank.evaluation.fusion import FusionWeights
from prerank.evaluation.measuring import EvaluationContext, evaluate_predictions
from prerank.fitting import context_of, fit_system
from prerank.loading import load_system
from prerank.training.scoring import prediction_table
from pretrain.pipeline import make_psi

ARMS = ("incremental", "full", "never")
SEGMENTS = ("all", "cold", "tail")
METRICS = ("gauc_click", "auc_click", "recall_at_10")
WORLD = {
    **{"users": 150, "departments": 3, "leaves_per_department": 3, "topics_per_leaf": 5, "brands_per_department": 20},
    **{"shops_per_department": 20, "items": 1500, "new_items_per_day": 50, "queries": 300, "recalled": 120},
    **{"passed": 45, "ranked": 40, "browsing_depth": 25.0, "logged_passed": 2, "logged_recalled": 3},
    **{"logged_random": 3, "full_recall_share": 0.0, "warm_up_days": 6},
}
"""Small: about 45 rows a request."""
HELD_OUT = (0.10, 0.04)
"""Of the last day's sessions, for early stopping and fusion, and for nothing but the figures of the fit."""
SETTINGS = (
    *("graph.memory_limit_gb=1", "pretrain.threads=1", "pretrain.max_epochs=4", "pretrain.patience=2"),
    *("prerank.threads=1", "prerank.max_epochs=3", "evaluation.draws=20", "model.buckets=5000"),
    *("model.item.hash_vocabulary=5000", "model=grace"),
)


@dataclass(frozen=True)
class Market:
    """The days of one seed.

    Attributes:
        folder: holds ``base``, ``day_1`` ..., ``until_1`` ... as logs in the contract's form, and the runs.
        seed: of market and training.
    """

    folder: Path
    seed: int

    def log(self, name: str) -> Path:
        return self.folder / "logs" / name

    def asked(self, run: str, *keys: str) -> Invocation:
        """The command line of a run."""
        return parse([f"runs_folder={self.folder / 'runs'}", f"run={run}", f"seed={self.seed}", *SETTINGS, *keys])


def cut(market: Market, base: int, days: int, requests: int) -> None:
    """Simulate, and write a log for the first days, for each later day, and for all days up to it."""
    if (market.folder / "logs").exists():
        return
    raw = market.folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    simulate(make_world({**WORLD, "days": base + days, "requests_per_day": requests}, "the world"), market.seed, raw)
    names = sorted(path.name for path in (raw / "impressions").glob("day=*"))
    with replacing(market.folder / "logs") as folder:
        _write(raw, folder / "base", names[:base])
        for day in range(1, days + 1):
            _write(raw, folder / f"day_{day}", names[base + day - 1 : base + day])
            _write(raw, folder / f"until_{day}", names[: base + day])
    shutil.rmtree(raw)


def _write(raw: Path, folder: Path, days: Sequence[str]) -> None:
    """A log of some days, with the items that were listed by their end."""
    for day in days:
        shutil.copytree(raw / "impressions" / day, folder / "impressions" / day)
    end = datetime.fromisoformat(days[-1].removeprefix("day=")).replace(tzinfo=UTC) + timedelta(days=1)
    items = pq.read_table(raw / "items.parquet")
    listed = pc.less(items["listed_at"], pa.scalar(end).cast(items["listed_at"].type))
    pq.write_table(items.filter(pc.fill_null(listed, True)), folder / "items.parquet")
    for name in ("users.parquet", "queries.parquet"):
        shutil.copy(raw / name, folder / name)


def trained(market: Market, run: str, *keys: str) -> dict[str, Any]:
    """Make a run and say what it cost."""
    wall, processor = time.perf_counter(), time.process_time()
    make_psi(market.asked(run, *keys))
    psi = time.process_time() - processor
    system = fit_system(market.asked(run, *[key for key in keys if key.startswith("from=")]))
    root = system.parents[1]
    return {
        "processor_seconds": round(time.process_time() - processor, 2),
        "psi_seconds": round(psi, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "rows": read_json(root / "logs" / "log.json")["rows"],
        "rows_trained": read_json(system / "training.json")["rows"],
        "psi_epochs": read_json(root / "pretrain" / "metrics.json")["epochs"],
    }


def first_run(base: int) -> list[str]:
    """The keys of the run that all start from."""
    return ["data=marketplace", "data.name=contract", *_split(base)]


def _split(days: int) -> list[str]:
    """Held out is a share of one day, the last of some."""
    checked, tested = (share / days for share in HELD_OUT)
    return ["data.split.by=session", f"data.split.shares=[{1 - checked - tested},{checked},{tested}]"]


def measured(market: Market, log: SearchLog, day: int, runs: dict[str, str]) -> dict[str, Any]:
    """The figures of each arm on a day, in the segments of the arm ``full``."""
    tables, context = {}, None
    for arm, run in runs.items():
        asked = market.asked(run)
        loaded = load_system(asked)
        folder = market.folder / "encoded" / arm
        shutil.rmtree(folder, ignore_errors=True)
        new = encode_new_log(loaded.encoded, log, folder, asked.run.logs)
        weights = FusionWeights(**{**read_json(asked.run.system("grace") / "fusion.json"), "chosen_by": ()})
        split = new.split("test")
        tables[arm] = prediction_table(split, "test", loaded.fitted.predict(split), weights)
        if arm == "full":
            context = context_of(asked.config, asked.run, new, loaded.encoded)
    assert context is not None
    return {arm: _figures(table, context) for arm, table in tables.items()} | {"day": day}


def _figures(table: pa.Table, context: EvaluationContext) -> dict[str, Any]:
    metrics = evaluate_predictions(table, context).metrics["test"]
    return {
        segment: {name: {"value": cells[name].value, "n": cells[name].n} for name in METRICS if name in cells}
        for segment, cells in metrics.items()
        if segment in SEGMENTS
    }


def live(market: Market, base: int, days: int, known: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Predict and learn day after day; yields what is known of the seed after each."""
    if "base" not in known:
        keys = [*first_run(base), f"data.path={market.log('base')}"]
        known["base"], known["days"] = trained(market, "base", *keys), []
        yield known
    for day in range(1 + len(known["days"]), days + 1):
        before = {arm: "base" if day == 1 or arm == "never" else f"{arm}_{day - 1}" for arm in ARMS}
        log = check_new_log(DataConfig(name="contract", path=str(market.log(f"day_{day}"))), market.folder / "day")
        entry = measured(market, log, day, before)
        if day < days:
            new = f"data.path={market.log(f'day_{day}')}"
            shares = [1 - sum(HELD_OUT), *HELD_OUT]
            entry["incremental_cost"] = trained(
                market, f"incremental_{day}", f"from={before['incremental']}", new, f"data.split.shares={shares}"
            )
            whole = [*first_run(base)[:2], *_split(base + day), f"data.path={market.log(f'until_{day}')}"]
            entry["full_cost"] = trained(market, f"full_{day}", *whole)
        known["days"].append(entry)
        yield known
        for arm in ("incremental", "full"):  # a run that goes on needs the one before it and no other
            shutil.rmtree(market.folder / "runs" / f"{arm}_{day - 1}", ignore_errors=True)


def summary(seeds: dict[str, Any]) -> dict[str, Any]:
    """Means over days of each seed, and over seeds with Student's t intervals; the first day is the same for all."""
    figures: dict[str, Any] = {}
    for segment in SEGMENTS:
        for metric in METRICS:
            by_arm = {
                arm: [_mean(seed["days"][1:], arm, segment, metric) for seed in seeds.values() if len(seed["days"]) > 1]
                for arm in ARMS
            }
            name = f"{segment} {metric}"
            figures[name] = {arm: _interval(values) for arm, values in by_arm.items()}
            for arm, other in (("incremental", "full"), ("incremental", "never"), ("full", "never")):
                pairs = zip(by_arm[arm], by_arm[other], strict=True)
                figures[name][f"{arm} less {other}"] = _interval([a - b for a, b in pairs])
    costs = {}
    for arm in ("incremental", "full"):
        entries = [day[f"{arm}_cost"] for seed in seeds.values() for day in seed["days"] if f"{arm}_cost" in day]
        if entries:
            costs[arm] = {key: float(np.mean([entry[key] for entry in entries])) for key in entries[0]}
    return {"figures": figures, "costs a day": costs}


def _mean(days: Sequence[dict[str, Any]], arm: str, segment: str, metric: str) -> float:
    """Over days, each as heavy as it has cases."""
    cells = [day[arm].get(segment, {}).get(metric) for day in days]
    told = [cell for cell in cells if cell is not None and cell["value"] is not None]
    weights = [cell["n"] for cell in told]
    return float(np.average([cell["value"] for cell in told], weights=weights)) if sum(weights) else math.nan


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean over seeds with its 95 % interval, where there are several."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return {"value": None, "n": 0}
    mean, n = float(np.mean(known)), len(known)
    if n < 2:
        return {"value": mean, "n": n, "by_seed": known}
    reach = float(stdtrit(n - 1, 0.975) * np.std(known, ddof=1) / math.sqrt(n))
    return {"value": mean, "low": mean - reach, "high": mean + reach, "n": n, "by_seed": known}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--base", type=int, default=6, help="days that all start from")
    parser.add_argument("--days", type=int, default=10, help="days after them")
    parser.add_argument("--requests", type=int, default=150, help="requests a day")
    parser.add_argument("--folder", type=Path, default=Path("runs/fresh"), help="of logs and runs, a folder a seed")
    parser.add_argument("--output", type=Path, default=Path("fresh.json"))
    asked = parser.parse_args()
    content = read_json(asked.output) if asked.output.exists() else {"seeds": {}}
    content["protocol"] = {"base": asked.base, "days": asked.days, "requests_per_day": asked.requests, "world": WORLD}
    content["protocol"] |= {"settings": list(SETTINGS), "held out": list(HELD_OUT)}
    for seed in asked.seeds:
        market = Market(asked.folder / str(seed), seed)
        cut(market, asked.base, asked.days, asked.requests)
        for known in live(market, asked.base, asked.days, content["seeds"].get(str(seed), {})):
            content["seeds"][str(seed)] = known
            content["summary"] = summary({name: each for name, each in content["seeds"].items() if each.get("days")})
            write_json(asked.output, content)
    say(f"results: {asked.output}")


if __name__ == "__main__":
    main()
