"""The parts of the dashboard that need a run's log and predictions, put together as the page holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from configs.command import config_from
from configs.console import warn
from configs.errors import InputError
from configs.stages import Run, read_json, source_fingerprint
from graph.logs.log import SearchLog
from prerank.dashboard.attributes import Attribute, attributes_of
from prerank.dashboard.curves import GAIN_SHARES
from prerank.dashboard.figures import DRAWS, Details, read_split, system_details
from prerank.dashboard.requests import differing_requests
from prerank.encoding.batches import EncodedLog
from prerank.evaluation.evaluation import SPLITS, EvaluationContext, evaluation_context
from prerank.evaluation.measures import split_rows
from prerank.evaluation.significance import difference_of_draws, holm
from prerank.pages.render import rounded
from pretrain.embeddings import EmbeddingTable

DECIMALS = 4


@dataclass(frozen=True)
class RunLog:
    """What all systems of a run share.

    Attributes:
        encoded: the encoded log.
        items: ``items.parquet``.
        identity: of log and encoding.
        attributes: by which rows are sliced.
        left_out: column → why it is no attribute.
    """

    encoded: EncodedLog
    items: pa.Table
    identity: dict[str, str]
    attributes: list[Attribute]
    left_out: dict[str, str]


def run_details(run: Run, systems: Sequence[str], baselines: Sequence[str]) -> dict[str, Any]:
    """Attribute figures, calibration, gain curves and differing requests of a run's systems.

    A system whose predictions cannot be used is left out with a warning; so is everything where the run has no log.

    Args:
        run: the run.
        systems: those on the page, in its order.
        baselines: those that others are compared with.
    """
    try:
        shared = _run_log(run)
    except InputError as error:
        warn(f"the dashboard has no attributes, curves and lists: {error}")
        return details_content({}, baselines, {}, dict.fromkeys(systems, str(error)), None)
    found: dict[str, Details] = {}
    left_out: dict[str, str] = {}
    for system in systems:
        try:
            found[system] = _system(run, system, shared)
        # A column of another type or a manifest of another form must not end a fit that has succeeded.
        except (InputError, KeyError, TypeError, ValueError, OSError) as error:
            left_out[system] = str(error)
            warn(f"the dashboard has no attributes, curves and lists of {system}: {error}")
    return details_content(found, baselines, shared.left_out, left_out, _requests(run, found, baselines, shared))


def details_content(
    found: Mapping[str, Details],
    baselines: Sequence[str],
    columns_left_out: Mapping[str, str],
    left_out: Mapping[str, str],
    requests: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The page's ``details``, JSON-like; figures are short lists so that the page stays small.

    ``figures[system][split][attribute][value][metric]`` is ``[value, low, high, n]`` or ``[reason, n]``, metrics in the
    order of ``metrics[system][split]``; ``differences[baseline]`` likewise ``[value, low, high, p_holm]`` or null.
    """
    reasons: dict[str, int] = {}
    splits = {system: details.content["splits"] for system, details in found.items()}
    first: dict[str, Any] = next(iter(splits.values()), {})
    return {
        "attributes": next((details.content["attributes"] for details in found.values()), []),
        "metrics": {
            system: {split: part["metrics"] for split, part in parts.items()} for system, parts in splits.items()
        },
        "figures": {
            system: {split: _cells(part["cells"], reasons) for split, part in parts.items()}
            for system, parts in splits.items()
        },
        "differences": {baseline: _compared(baseline, found) for baseline in baselines if baseline in found},
        "reasons": list(reasons),
        "draws": DRAWS,
        "sampled": {split: [part["requests"], part["of_requests"]] for split, part in first.items()},
        "gain_shares": list(GAIN_SHARES),
        "calibration": _each(splits, "calibration"),
        "gains": _each(splits, "gains"),
        "requests": requests,
        "columns_left_out": dict(columns_left_out),
        "left_out": dict(left_out),
    }


def _run_log(run: Run) -> RunLog:
    log, encoded = SearchLog.open(run.logs), EncodedLog.open(run.encoded)
    items = log.items()
    if log.catalogue != encoded.schema.catalogue or len(items) != len(encoded.items):
        raise InputError(f"{run.encoded} was encoded from another log than {run.logs} holds: run `prerank.fit` again")
    attributes, left_out = attributes_of(
        items, np.asarray(encoded.training_counts.impressions), encoded.split("train").requests["query"]
    )
    identity = {"log": log.identity, "encoded": encoded.identity}
    return RunLog(encoded, items, identity, attributes, left_out)


def _system(run: Run, system: str, shared: RunLog) -> Details:
    """A system's figures, measured now or before."""
    folder = run.system(system)
    manifest = read_json(folder / "manifest.json")
    if manifest["inputs"].get("encoded", shared.encoded.identity) != shared.encoded.identity:
        raise InputError(f"{folder} was fitted on another encoding of the log than the run holds now: fit it again")
    identity = {**shared.identity, "system": manifest["identity"]}
    identity["predictions"] = source_fingerprint(folder / "predictions.parquet")
    return system_details(folder, identity, shared.attributes, _context(run, system, shared.encoded))


def _context(run: Run, system: str, encoded: EncodedLog) -> EvaluationContext:
    """As the system was evaluated with: its own hash-id table, the run's P."""
    config = config_from(run.system(system) / "config.yaml")
    in_p = EmbeddingTable.load(run.psi).rows_of(encoded.item_ids) >= 0 if run.psi.exists() else None
    return evaluation_context(encoded, config.evaluation, in_p, config.model.item)


def _requests(
    run: Run, found: Mapping[str, Details], baselines: Sequence[str], shared: RunLog
) -> dict[str, Any] | None:
    """The differing requests of the last split that there is, among systems that were measured on the same rows."""
    first = next(iter(found), None)
    if first is None:
        return None
    split = next(name for name in reversed(SPLITS) if name in found[first].content["splits"])
    pairing = found[first].content["splits"][split]["pairing"]
    scores = {
        system: details.scores[split]
        for system, details in found.items()
        if details.content["splits"].get(split, {}).get("pairing") == pairing
    }
    if len(scores) < 2:
        return None
    part, _ = read_split(run.system(first) / "predictions.parquet", split)
    return differing_requests(part, split_rows(part), scores, baselines, shared.items, split)


def _cells(attributes: Sequence[Any], reasons: dict[str, int]) -> list[Any]:
    """Short lists in place of figures; the reasons of undefined ones are numbered as they come."""

    def short(cell: Mapping[str, Any]) -> list[Any]:
        if cell["value"] is None:
            return [reasons.setdefault(cell["reason"], len(reasons)), cell["n"]]
        return [*(rounded(cell[key], DECIMALS) for key in ("value", "low", "high")), cell["n"]]

    return [[[short(cell) for cell in value] for value in values] for values in attributes]


def _each(splits: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        system: {split: rounded(part[name], DECIMALS) for split, part in parts.items()}
        for system, parts in splits.items()
    }


def _compared(baseline: str, found: Mapping[str, Details]) -> dict[str, Any]:
    """Paired differences of every other system to a baseline, with Holm's correction.

    The family is what the page shows at once: one metric of one split, all systems and all values of one attribute.
    """
    made: dict[str, Any] = {}
    families: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for system, details in found.items():
        if system == baseline:
            continue
        made[system] = {}
        for split in details.content["splits"]:
            differences = _differences(details, found[baseline], split)
            if differences is None:
                continue
            made[system][split] = differences
            for place, values in enumerate(differences):
                for cells in values:
                    for metric, cell in zip(details.content["splits"][split]["metrics"], cells, strict=True):
                        if cell is not None and cell["p"] is not None:
                            families.setdefault((split, place, metric), []).append(cell)
    for family in families.values():
        for cell, adjusted in zip(family, holm([cell["p"] for cell in family]), strict=True):
            cell["p_holm"] = adjusted
    return {
        system: {split: [[[_short(c) for c in v] for v in values] for values in parts] for split, parts in each.items()}
        for system, each in made.items()
    }


def _differences(of: Details, baseline: Details, split: str) -> list[Any] | None:
    """System less baseline for each cell; None where the rows or draws are others."""
    ours, theirs = of.content["splits"][split], baseline.content["splits"].get(split)
    if theirs is None or ours["pairing"] != theirs["pairing"]:
        return None
    places = {metric: place for place, metric in enumerate(theirs["metrics"])}
    made: list[Any] = []
    row = 0
    for values_a, values_b in zip(ours["cells"], theirs["cells"], strict=True):
        made.append([])
        for cells_a, cells_b in zip(values_a, values_b, strict=True):
            made[-1].append([])
            for place, metric in enumerate(ours["metrics"]):
                other = places.get(metric)
                a, b = cells_a[place]["value"], None if other is None else cells_b[other]["value"]
                if a is None or b is None or other is None or metric.endswith("_chance"):
                    made[-1][-1].append(None)
                    continue
                draws = of.draws[split][row * len(ours["metrics"]) + place]
                draws_b = baseline.draws[split][row * len(places) + other]
                made[-1][-1].append(difference_of_draws(a - b, draws, draws_b, of.content["confidence"]))
            row += 1
    return made


def _short(cell: Mapping[str, Any] | None) -> list[Any] | None:
    return None if cell is None else [rounded(cell.get(key), DECIMALS) for key in ("value", "low", "high", "p_holm")]
