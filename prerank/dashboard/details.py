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
from graph.figure import Difference, Figure
from graph.logs.log import SearchLog
from prerank.dashboard.attributes import Attribute, attributes_of
from prerank.dashboard.curves import GAIN_SHARES
from prerank.dashboard.figures import DRAWS, Details, read_split, system_details
from prerank.dashboard.requests import differing_requests
from prerank.encoding.batches import EncodedLog
from prerank.encoding.places import encoding_of
from prerank.evaluation.claims import claim_of, judged
from prerank.evaluation.definitions import CHANCE, lower_is_better
from prerank.evaluation.evaluation import SPLITS
from prerank.evaluation.measures import split_rows
from prerank.evaluation.measuring import EvaluationContext, evaluation_context
from prerank.evaluation.significance import difference_of_draws, holm
from prerank.pages.render import rounded
from pretrain.embeddings import EmbeddingTable

DECIMALS = 4
CLAIMS = {"better": 1, "worse": -1, "": 0}


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
    measured: dict[str, Details] = {}
    left_out: dict[str, str] = {}
    for system in systems:
        try:
            measured[system] = _system(run, system, shared)
        # A column of another type or a manifest of another form must not end a fit that has succeeded.
        except (InputError, KeyError, TypeError, ValueError, OSError) as error:
            left_out[system] = str(error)
            warn(f"the dashboard has no attributes, curves and lists of {system}: {error}")
    return details_content(measured, baselines, shared.left_out, left_out, _requests(run, measured, baselines, shared))


def details_content(
    measured: Mapping[str, Details],
    baselines: Sequence[str],
    columns_left_out: Mapping[str, str],
    left_out: Mapping[str, str],
    requests: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The page's ``details``, JSON-like; figures are short lists so that the page stays small.

    ``figures[system][split][attribute][value][metric]`` is ``[value, low, high, n]`` or ``[reason, n]``, metrics in the
    order of ``metrics[system][split]``; ``differences[baseline]`` likewise ``[value, low, high, p_holm, p, n, tests,
    claim]`` or null; a claim is 1 (better), -1 (worse) or 0.
    """
    reasons: dict[str, int] = {}
    splits = {system: details.content["splits"] for system, details in measured.items()}
    first: dict[str, Any] = next(iter(splits.values()), {})
    return {
        "attributes": next((details.content["attributes"] for details in measured.values()), []),
        "metrics": {
            system: {split: part["metrics"] for split, part in parts.items()} for system, parts in splits.items()
        },
        "figures": {
            system: {split: _cells(part["cells"], reasons) for split, part in parts.items()}
            for system, parts in splits.items()
        },
        "differences": {baseline: _compared(baseline, measured) for baseline in baselines if baseline in measured},
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
        items, np.asarray(encoded.training_counts.impressions), encoded.training_queries
    )
    identity = {"log": log.identity, "encoded": encoded.identity}
    return RunLog(encoded, items, identity, attributes, left_out)


def _system(run: Run, system: str, shared: RunLog) -> Details:
    """A system's figures, measured now or before."""
    folder = run.system(system)
    manifest = read_json(folder / "manifest.json")
    encoded = shared.encoded
    if manifest["inputs"].get("encoded", encoded.identity) != encoded.identity:
        encoded = EncodedLog.open(encoding_of(run, system))
    if encoded.identity != manifest["inputs"]["encoded"] or encoded.schema.log != shared.encoded.schema.log:
        raise InputError(f"{folder} was fitted on another encoding of the log than the run holds now: fit it again")
    identity = {**shared.identity, "encoded": encoded.identity, "system": manifest["identity"]}
    identity["predictions"] = source_fingerprint(folder / "predictions.parquet")
    return system_details(folder, identity, shared.attributes, _context(run, system, encoded))


def _context(run: Run, system: str, encoded: EncodedLog) -> EvaluationContext:
    """As the system was evaluated with: its own hash-id table, the run's P."""
    config = config_from(run.system(system) / "config.yaml")
    in_p = EmbeddingTable.load(run.psi).rows_of(encoded.item_ids) >= 0 if run.psi.exists() else None
    return evaluation_context(encoded, config.evaluation, in_p, config.model.item)


def _requests(
    run: Run, measured: Mapping[str, Details], baselines: Sequence[str], shared: RunLog
) -> dict[str, Any] | None:
    """The differing requests of the last split that there is, among systems that were measured on the same rows."""
    first = next(iter(measured), None)
    if first is None:
        return None
    split = next(name for name in reversed(SPLITS) if name in measured[first].content["splits"])
    pairing = measured[first].content["splits"][split]["pairing"]
    scores = {
        system: details.scores[split]
        for system, details in measured.items()
        if details.content["splits"].get(split, {}).get("pairing") == pairing
    }
    if len(scores) < 2:
        return None
    part, _ = read_split(run.system(first) / "predictions.parquet", split)
    return differing_requests(part, split_rows(part), scores, baselines, shared.items, split)


def _cells(attributes: Sequence[Sequence[Sequence[Figure]]], reasons: dict[str, int]) -> list[Any]:
    """Short lists in place of figures; the reasons of undefined ones are numbered as they come."""

    def short(cell: Figure) -> list[Any]:
        if cell.value is None:
            return [reasons.setdefault(cell.reason or "", len(reasons)), cell.n]
        return [*rounded([cell.value, cell.low, cell.high], DECIMALS), cell.n]

    return [[[short(cell) for cell in value] for value in values] for values in attributes]


def _each(splits: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {
        system: {split: rounded(part[name], DECIMALS) for split, part in parts.items()}
        for system, parts in splits.items()
    }


def _compared(baseline: str, measured: Mapping[str, Details]) -> dict[str, Any]:
    """Paired differences of every other system to a baseline, with Holm's correction.

    The family is what the page shows at once: one metric of one split, all systems and all values of one attribute.
    """
    compared: dict[str, Any] = {system: {} for system in measured if system != baseline}
    differences: dict[tuple[str, str, int, int, str], Difference] = {}
    for system, by_split in compared.items():
        for split, part in measured[system].content["splits"].items():
            cells = _differences(measured[system], measured[baseline], split)
            if cells is not None:
                by_split[split] = [[[None] * len(part["metrics"]) for _ in values] for values in part["cells"]]
                differences |= {(system, split, *place): difference for place, difference in cells.items()}
    for key, difference in holm(differences, family=lambda key: (key[1], key[2], key[4])).items():
        system, split, attribute, value, metric = key
        column = measured[system].content["splits"][split]["metrics"].index(metric)
        compared[system][split][attribute][value][column] = _short(difference, metric)
    return compared


def _differences(of: Details, baseline: Details, split: str) -> dict[tuple[int, int, str], Difference] | None:
    """System less baseline by attribute, value and metric; None where the rows or draws are others."""
    ours, theirs = of.content["splits"][split], baseline.content["splits"].get(split)
    if theirs is None or ours["pairing"] != theirs["pairing"]:
        return None
    places = {metric: place for place, metric in enumerate(theirs["metrics"])}
    differences = {}
    row = 0
    for attribute, values in enumerate(ours["cells"]):
        for value, cells in enumerate(values):
            for place, metric in enumerate(ours["metrics"]):
                other = places.get(metric)
                if other is None or metric.endswith(CHANCE):
                    continue
                a, b = cells[place], theirs["cells"][attribute][value][other]
                if a.value is None or b.value is None:
                    continue
                draws_a = of.draws[split][row * len(ours["metrics"]) + place]
                draws_b = baseline.draws[split][row * len(places) + other]
                differences[attribute, value, metric] = difference_of_draws(
                    a.value - b.value, draws_a, draws_b, of.content["confidence"], min(a.n, b.n)
                )
            row += 1
    return differences


def _short(difference: Difference, metric: str) -> list[Any]:
    short: list[Any] = rounded([difference.value, difference.low, difference.high, difference.p_holm], DECIMALS)
    claim = CLAIMS[judged(claim_of(difference), lower_is_better(metric))]
    return [*short, rounded(difference.p, DECIMALS), difference.n, difference.tests, claim]
