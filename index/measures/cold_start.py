"""The cold-start protocol: what would φ have said of these items, had the graph never seen them?

A share of P is held out, stratified by popularity, and ψ is trained again without the held-out items' edges (ψ_train).
Students learn ψ_train on the items that were kept. Then each held-out item looks for its neighbours among the kept
items, once under a student and once under the ψ that was trained on everything (ψ_full): the overlap says how much of
an item's place in the graph can be told before the graph knows the item.

Every vector is taken less the mean of the kept items, then L2-normalised: eq. 10's loss teaches ψ in that form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from configs.console import say, warn
from configs.errors import InputError
from configs.keys import Keys
from configs.schema import Config
from configs.stages import Stage, read_json, write_json
from graph.figure import Figure
from index.measures.ann import clip, exact_index, normalised, on_fastest, search
from index.measures.figures import Bootstrap
from index.measures.geometry import procrustes
from index.measures.neighbourhoods import overlap, overlap_chance, popularity_strata, rarity
from index.measures.students import BATCH, STEPS, STUDENTS, Student, item_vectors, train_student
from prerank.encoding.batches import EncodedLog
from pretrain.embeddings import EmbeddingTable

REFERENCE = STUDENTS[0].name
"""The student that everything else is compared with: the item network under eq. 10."""
CEILING_QUERIES = 2000
KEYS = Keys(
    (
        *("index.neighbours", "index.hold_out", "index.hold_out_max_epochs", "pretrain", "seed", "backend"),
        *("model.item", "model.contrast", "model.dimension", "model.buckets", "prerank.learning_rate"),
        *("evaluation.draws", "evaluation.confidence"),
    ),
    # A student has a loss of its own, and no other beside it to be weighted against.
    ("model.contrast.loss", "model.contrast.weight", "pretrain.threads", "prerank.threads"),
)
"""What the protocol, the training of ψ within it included, depends on."""

Vectors = Float32[np.ndarray, "items dimension"]
Rows = Int64[np.ndarray, " rows"]

TrainPsi = Callable[[Rows, Path], Vectors]
"""Train ψ without the edges of these items (item indices), in this folder; return a vector for every item of P, those
that were left out by induction."""


@dataclass(frozen=True)
class HoldOut:
    """What the protocol starts from; all rows are rows of ψ.

    Args:
        psi: ψ_full.
        items: item index of each row.
        attributes: code of each row's value in each attribute; -1 where it has none.
        held: rows that are held out.
        kept: the other rows, which are the candidates of every search.
    """

    psi: EmbeddingTable
    items: Int64[np.ndarray, " items"]
    attributes: Int64[np.ndarray, "items columns"]
    held: Rows
    kept: Rows


@dataclass(frozen=True)
class Placement:
    """Where one method puts the items: unit vectors of the held-out and of the kept ones."""

    held: Vectors
    kept: Vectors


def hold_out(impressions: Int64[np.ndarray, " items"], share: float, seed: int) -> tuple[Rows, Rows]:
    """Draw the held-out items, the same share from each tenth of popularity.

    Args:
        impressions: training impressions of each item of P.
        share: of each stratum, above 0 and below 1.

    Returns:
        Rows that are held out (at least one), and the others.

    Raises:
        InputError: if the share leaves nothing to hold out or nothing to learn from.
    """
    if not 0 < share < 1:
        raise InputError(f"index.hold_out must lie between 0 and 1, found {share}")
    generator = np.random.default_rng(seed)
    strata = popularity_strata(impressions)
    is_held_out = np.zeros(len(impressions), dtype=bool)
    for stratum in range(int(strata.max(initial=0)) + 1):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        # The fraction of an item that a stratum owes is drawn, so that small strata are not always rounded away.
        is_held_out[members[: int(share * len(members) + generator.random())]] = True
    if not is_held_out.any():
        is_held_out[generator.integers(0, len(is_held_out))] = True
    return np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)


def cold_start(
    config: Config,
    stage: Stage,
    protocol: HoldOut,
    encoded: EncodedLog,
    train_psi: TrainPsi,
) -> dict[str, Any]:
    """Run the protocol, or read what an earlier run of the same protocol found.

    ψ_train and every student's vectors are kept in the stage's folder, so that a killed run goes on after them.

    Returns:
        ``{"held_out", "kept", "neighbours", "figures": {name: figure}}``.
    """
    config = KEYS.view(config)
    if stage.finished:
        say(f"cold start: finished before, read from {stage.folder}")
        return dict(read_json(stage.folder / "cold_start.json"))
    if stage.start():
        say(f"cold start: resuming in {stage.folder}")
    neighbours = clip(config.index.neighbours, len(protocol.kept) + 1, "the kept part of P")
    n_held_out, n_others = len(protocol.held), len(protocol.kept)
    say(f"cold start: {n_held_out:,} of {n_held_out + n_others:,} items of P held out")

    def without_held() -> EmbeddingTable:
        say("cold start: training psi again without the held-out items' edges")
        vectors = train_psi(protocol.items[protocol.held], stage.folder / "psi_training")
        return EmbeddingTable(protocol.psi.ids, vectors, protocol.psi.catalogue, "psi_train")

    again = _cached(stage.folder / "psi_train", without_held)
    psi_train = _in_frame(np.asarray(again.vectors), protocol.kept)
    psi_full = _in_frame(np.asarray(protocol.psi.vectors), protocol.kept)
    placements = {
        **_students(config, stage.folder, protocol, psi_train, encoded),
        "graph_induction": _placed(psi_train, protocol),
    }
    if protocol.attributes.shape[1]:
        placements["attribute_mean"] = _attribute_mean(protocol, psi_train)
    bootstrap = Bootstrap(config.evaluation.draws, config.evaluation.confidence, config.seed)
    figures = {
        **compare(placements, _placed(psi_full, protocol), neighbours, bootstrap),
        **_ceiling(psi_full[protocol.kept], psi_train[protocol.kept], neighbours, bootstrap),
    }
    results = {"held_out": n_held_out, "kept": n_others, "neighbours": neighbours}
    results["figures"] = {name: figure.as_json() for name, figure in figures.items()}
    write_json(stage.folder / "cold_start.json", results)
    stage.finish(held_out=n_held_out, kept=n_others)
    return results


def stage_of(config: Config, folder: Path, inputs: dict[str, str]) -> Stage:
    """The protocol's own folder; what determines it is neither the clicks nor the system around the item network."""
    settings = KEYS.settings(config) | {"steps": STEPS, "batch": BATCH}
    return Stage(folder, settings, inputs, overwrite=True)


def compare(
    placements: dict[str, Placement], truth: Placement, neighbours: list[int], bootstrap: Bootstrap
) -> dict[str, Figure]:
    """Overlap and cosine of every method with ψ_full on the held-out items, and the reference less each other method.

    Cosines are taken after the rotation that brings ψ_full's kept items closest to the method's; their chance is the
    cosine with another held-out item's ψ_full.
    """
    widest = neighbours[-1]
    true_lists = _lists(truth, widest)
    shuffled = _other(len(truth.held), bootstrap.seed)
    columns: dict[str, Float64[np.ndarray, " held"]] = {}
    for name, placement in placements.items():
        lists = _lists(placement, widest)
        for k in neighbours:
            columns[f"{name}/overlap@{k}"] = overlap(lists[:, :k], true_lists[:, :k])
        aligned = truth.held @ procrustes(truth.kept, placement.kept)
        columns[f"{name}/cosine"] = (placement.held * aligned).sum(axis=1, dtype=np.float64)
        columns[f"{name}/cosine_chance"] = (placement.held * aligned[shuffled]).sum(axis=1, dtype=np.float64)
    measures = [f"overlap@{k}" for k in neighbours] + ["cosine"]
    for name in [name for name in placements if name != REFERENCE and REFERENCE in placements]:
        for measure in measures:
            difference = columns[f"{REFERENCE}/{measure}"] - columns[f"{name}/{measure}"]
            columns[f"{REFERENCE}_minus_{name}/{measure}"] = difference
    chance = {
        f"overlap@{k}_chance": Figure.exact(overlap_chance(k, len(truth.kept) + 1), len(truth.held)) for k in neighbours
    }
    return {**bootstrap.means(columns), **chance}


def _students(
    config: Config, folder: Path, protocol: HoldOut, psi_train: Vectors, encoded: EncodedLog
) -> dict[str, Placement]:
    """Every student, trained on the kept items; a student that has nothing to see is left out, out loud."""
    placements = {}
    for student in STUDENTS:
        seen = encoded.schema.sides["item"]
        if not student.hash_id and not (seen.ids or seen.numbers or seen.lists):
            warn(f"cold start: the items have no attributes, so there is no {student.name}")
            continue
        table = _cached(folder / student.name, partial(_taught, student, config, protocol, psi_train, encoded))
        placements[student.name] = _placed(normalised(np.asarray(table.vectors)), protocol)
    return placements


def _taught(
    student: Student, config: Config, protocol: HoldOut, psi_train: Vectors, encoded: EncodedLog
) -> EmbeddingTable:
    say(f"cold start: teaching {student.name} by distillation alone, without clicks")
    taught = protocol.items[protocol.kept]
    network = train_student(student, encoded, config, taught, psi_train[protocol.kept])
    psi = protocol.psi
    return EmbeddingTable(psi.ids, item_vectors(network, encoded, protocol.items), psi.catalogue, student.name)


def _attribute_mean(protocol: HoldOut, psi_train: Vectors) -> Placement:
    """A held-out item as the mean ψ_train of kept items with its attribute values, a rare value weighing more."""
    other_codes, held_out_codes = protocol.attributes[protocol.kept], protocol.attributes[protocol.held]
    total = np.zeros((len(held_out_codes), psi_train.shape[1]))
    for column in range(other_codes.shape[1]):
        width = int(protocol.attributes[:, column].max(initial=0)) + 1
        known = other_codes[:, column] >= 0
        sums = np.zeros((width, psi_train.shape[1]))
        np.add.at(sums, other_codes[known, column], psi_train[protocol.kept][known])
        counts = np.bincount(other_codes[known, column], minlength=width)
        means = sums / np.maximum(counts, 1)[:, None] * rarity(other_codes[:, column], width)[:, None]
        total += np.where(held_out_codes[:, [column]] >= 0, means[np.maximum(held_out_codes[:, column], 0)], 0.0)
    nothing = int((np.abs(total).sum(axis=1) == 0).sum())
    if nothing:
        warn(f"cold start: {nothing:,} held-out items share no attribute value with a kept item; their mean is zero")
    return Placement(normalised(total.astype(np.float32)), psi_train[protocol.kept])


def _ceiling(full: Vectors, again: Vectors, neighbours: list[int], bootstrap: Bootstrap) -> dict[str, Figure]:
    """How far ψ_train agrees with ψ_full on kept items, which both know: what training ψ twice leaves in common."""
    generator = np.random.default_rng(bootstrap.seed)
    rows = np.sort(generator.permutation(len(full))[:CEILING_QUERIES])
    widest = min(neighbours[-1], len(full) - 1)
    first, second = (search(on_fastest(exact_index(units)), units[rows], rows, widest) for units in (full, again))
    columns = {f"retrained_psi/overlap@{k}": overlap(first[:, :k], second[:, :k]) for k in neighbours}
    aligned = full[rows] @ procrustes(full, again)
    columns["retrained_psi/cosine"] = (again[rows] * aligned).sum(axis=1, dtype=np.float64)
    return bootstrap.means(columns)


def _lists(placement: Placement, k: int) -> Int64[np.ndarray, "held k"]:
    """The kept items that are nearest to each held-out one; no held-out item is its own candidate."""
    nowhere = np.full(len(placement.held), -1)
    return search(on_fastest(exact_index(placement.kept)), placement.held, nowhere, k)


def _other(items: int, seed: int) -> Rows:
    """Another item for each item: its successor in one random cycle through all."""
    cycle = np.random.default_rng(seed).permutation(items)
    successors = np.empty(items, dtype=np.int64)
    successors[cycle] = np.roll(cycle, 1)
    return successors


def _in_frame(vectors: Vectors, others: Rows) -> Vectors:
    """Less the mean of the kept items, L2-normalised."""
    return normalised(vectors - vectors[others].mean(axis=0, dtype=np.float64).astype(np.float32))


def _placed(units: Vectors, protocol: HoldOut) -> Placement:
    return Placement(units[protocol.held], units[protocol.kept])


def _cached(folder: Path, make: Callable[[], EmbeddingTable]) -> EmbeddingTable:
    """The table in this folder, made first where it is not there."""
    if not (folder / "manifest.json").exists():
        make().save(folder)
    return EmbeddingTable.load(folder)
