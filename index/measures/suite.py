"""All figures of an audit but the cold start's: what is compared with what, and under which name.

A figure's name is ``measure@k``; what stands beside it bears the same name with ``_chance`` (random neighbours),
``_matched`` (random neighbours as popular as the found ones) or ``_attributes`` (the oracle of attributes only).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.stats import binom

from configs.console import say
from graph.figure import Figure
from index.measures import ann, geometry
from index.measures.figures import Bootstrap
from index.measures.neighbourhoods import (
    Labels,
    Null,
    attribute_neighbours,
    overlap,
    overlap_chance,
    popularity_strata,
    purities,
    purity,
)

ORACLE_QUERIES = 2000
OCCURRENCE_EDGES = (0, 1, 3, 6, 11, 21, 51, 101)
"""First k-occurrence of each bar of the hubness picture."""

Units = Float32[np.ndarray, "items dimension"]
Rows = Int64[np.ndarray, " rows"]
Figures = dict[str, Figure]


@dataclass(frozen=True)
class Subject:
    """What is audited. Rows are rows of P, the items that have a ψ.

    Args:
        psi, phi: L2-normalised vectors of P's items under both embeddings, in one order.
        psi_centred, phi_centred: the same less their mean before L2.
        outside: L2-normalised φ of the queries outside P.
        queries: rows of P whose neighbours are searched.
        attributes: column → code of each row's value; -1 where it has none.
        outside_attributes: the same for the queries outside P.
        impressions: training impressions of each row; all zero where nothing is known of popularity.
        neighbours: k, ascending.
        bootstrap: of the intervals.
    """

    psi: Units
    phi: Units
    psi_centred: Units
    phi_centred: Units
    outside: Units
    queries: Rows
    attributes: dict[str, Int64[np.ndarray, " items"]]
    outside_attributes: dict[str, Int64[np.ndarray, " outside"]]
    impressions: Int64[np.ndarray, " items"]
    neighbours: list[int]
    bootstrap: Bootstrap

    @property
    def widest(self) -> int:
        """The largest k."""
        return self.neighbours[-1]

    @property
    def main_attribute(self) -> str | None:
        """The attribute of the pictures: category where the log has it, else the first."""
        return "category" if "category" in self.attributes else next(iter(self.attributes), None)

    @cached_property
    def has_place_in_psi(self) -> Bool[np.ndarray, " queries"]:
        """Whether "near" means something for the query: its vector is not zero, and the vectors are not all one."""
        return _has_place(self.psi, self.queries)

    @cached_property
    def has_place_in_phi(self) -> Bool[np.ndarray, " queries"]:
        """The same under φ."""
        return _has_place(self.phi, self.queries)

    @property
    def placeless(self) -> str:
        """Why no query has a place under both embeddings, where that is so."""
        for name, placed in (("ψ", self.has_place_in_psi), ("φ", self.has_place_in_phi)):
            if not placed.any():
                return f"all vectors of {name} are one: no item is nearer than another"
        return "no item has a value"


@dataclass(frozen=True)
class Neighbours:
    """The lists of the widest k, rows of P: under ψ, under φ, both centred, and of the queries outside P under φ."""

    psi: Int64[np.ndarray, "queries k"]
    phi: Int64[np.ndarray, "queries k"]
    psi_centred: Int64[np.ndarray, "queries k"]
    phi_centred: Int64[np.ndarray, "queries k"]
    outside: Int64[np.ndarray, "outside k"]


def find_neighbours(subject: Subject) -> Neighbours:
    """Exact searches among the items of P, on the fastest device."""
    say(f"searching {subject.widest} neighbours of {len(subject.queries):,} items among {len(subject.psi):,} of P")

    def of(units: Units, note: str) -> Int64[np.ndarray, "queries k"]:
        index = ann.on_fastest(ann.exact_index(units))
        return ann.search(index, units[subject.queries], subject.queries, subject.widest, note)

    nowhere = np.full(len(subject.outside), -1)
    return Neighbours(
        psi=of(subject.psi, "psi"),
        phi=of(subject.phi, "phi"),
        psi_centred=of(subject.psi_centred, "psi, centred"),
        phi_centred=of(subject.phi_centred, "phi, centred"),
        outside=ann.search(
            ann.on_fastest(ann.exact_index(subject.phi)), subject.outside, nowhere, subject.widest, "phi outside P"
        ),
    )


def overlap_figures(subject: Subject, lists: Neighbours) -> Figures:
    """Overlap of φ's and ψ's lists, the same after centring, the attribute oracle's overlap with ψ, and the chance."""
    columns = {}
    oracle, asked = _oracle(subject)
    placed = subject.has_place_in_psi & subject.has_place_in_phi
    for k in subject.neighbours:
        columns[f"overlap@{k}"] = placed_overlap(subject, lists, k)
        centred = overlap(lists.phi_centred[:, :k], lists.psi_centred[:, :k])
        columns[f"overlap@{k}_centred"] = np.where(placed, centred, np.nan)
        if oracle is not None:
            by_attributes = np.full(len(subject.queries), np.nan)
            by_attributes[asked] = overlap(oracle[:, :k], lists.psi[asked, :k])
            by_attributes[~subject.has_place_in_psi] = np.nan
            columns[f"overlap@{k}_attributes"] = by_attributes
            columns[f"overlap@{k}_less_attributes"] = columns[f"overlap@{k}"] - by_attributes
    queries, candidates = len(subject.queries), len(subject.psi)
    chance = {f"overlap@{k}_chance": Figure.exact(overlap_chance(k, candidates), queries) for k in subject.neighbours}
    return {**subject.bootstrap.means(columns, subject.placeless), **chance}


def placed_overlap(subject: Subject, lists: Neighbours, k: int) -> Float64[np.ndarray, " queries"]:
    """Overlap of φ's and ψ's first k; NaN where the query has no place under one of them."""
    placed = subject.has_place_in_psi & subject.has_place_in_phi
    return np.where(placed, overlap(lists.phi[:, :k], lists.psi[:, :k]), np.nan)


def placed_purity(subject: Subject, lists: Neighbours, k: int, of: str = "phi") -> Float64[np.ndarray, " queries"]:
    """Purity of the first k by the main attribute; NaN where the query has no place or no value.

    Args:
        of: ``psi`` or ``phi``.
    """
    name = subject.main_attribute
    if name is None:
        return np.full(len(subject.queries), np.nan)
    label = _labels(subject, subject.attributes, subject.queries, subject.queries)[name]
    near, placed = (lists.psi, subject.has_place_in_psi) if of == "psi" else (lists.phi, subject.has_place_in_phi)
    return np.where(placed, purity(near[:, :k], label), np.nan)


def purity_figures(subject: Subject, lists: Neighbours) -> dict[str, Figures]:
    """Purity of every attribute, and of brand within category, under ψ, under φ, and of φ's queries outside P."""
    outside = np.full(len(subject.outside), -1)
    placed_outside = _has_direction(subject.outside)
    if not geometry.varies(subject.phi):
        placed_outside[:] = False
    inside_labels = _labels(subject, subject.attributes, subject.queries, subject.queries)
    outside_labels = _labels(subject, subject.outside_attributes, np.arange(len(outside)), outside)
    return {
        "psi": _purities(subject, lists.psi, inside_labels, subject.has_place_in_psi),
        "phi": _purities(subject, lists.phi, inside_labels, subject.has_place_in_phi),
        "phi_outside_p": _purities(subject, lists.outside, outside_labels, placed_outside),
    }


def geometry_figures(subject: Subject, lists: Neighbours) -> dict[str, Figures]:
    """Hubness and spread of each embedding, and what they have in common."""
    k, figures = subject.neighbours[0], {}
    for name, units, near in _embeddings(subject, lists):
        occurrence = geometry.k_occurrence(near[:, :k], len(units))
        figures[name] = {
            **geometry.hubness(occurrence, len(near), k, subject.bootstrap),
            **geometry.spread(units, subject.bootstrap),
        }
    both = geometry.similarity(subject.psi, subject.phi, subject.bootstrap)
    return {**figures, "both": both | geometry.alignment(subject.phi, subject.psi_centred, subject.bootstrap)}


def popularity_rows(subject: Subject, lists: Neighbours) -> list[dict[str, Any]]:
    """Overlap and purity at the first k in each tenth of popularity, least seen first."""
    k, attribute = subject.neighbours[0], subject.main_attribute
    columns = {"overlap": placed_overlap(subject, lists, k)}
    if attribute is not None:
        labels = _labels(subject, subject.attributes, subject.queries, subject.queries)[attribute]
        for name in ("psi", "phi"):
            columns[f"purity_{name}"] = placed_purity(subject, lists, k, name)
        columns["purity_chance"] = purities(lists.phi, [k], labels, Null(labels, None)).expected[0]
    impressions = subject.impressions[subject.queries]
    strata = popularity_strata(impressions)
    rows = []
    for stratum in range(int(strata.max(initial=0)) + 1):
        members = strata == stratum
        within = {name: column[members] for name, column in columns.items()}
        figures = subject.bootstrap.means(within, subject.placeless)
        rows.append(
            {
                "items": int(members.sum()),
                "fewest_impressions": int(impressions[members].min()),
                "most_impressions": int(impressions[members].max()),
                **{name: figure.as_json() for name, figure in figures.items()},
            }
        )
    return rows


def occurrence_rows(subject: Subject, lists: Neighbours) -> list[dict[str, Any]]:
    """Share of items by how many of the first k's lists they are in, beside random lists' (binomial)."""
    k, items = subject.neighbours[0], len(subject.psi)
    edges = np.array([*OCCURRENCE_EDGES, np.iinfo(np.int64).max])
    shares = {
        name: np.histogram(geometry.k_occurrence(near[:, :k], items), edges)[0] / items
        for name, _, near in _embeddings(subject, lists)
    }
    chance = np.diff(binom.cdf(edges - 1, len(subject.queries), k / (items - 1)))
    return [
        {
            "from": int(edges[place]),
            "to": int(edges[place + 1]) - 1 if place + 1 < len(OCCURRENCE_EDGES) else None,
            "psi": float(shares["psi"][place]),
            "phi": float(shares["phi"][place]),
            "chance": float(chance[place]),
        }
        for place in range(len(OCCURRENCE_EDGES))
    ]


def _oracle(subject: Subject) -> tuple[Int64[np.ndarray, "asked k"] | None, Rows]:
    """The attribute oracle's lists, if there are attributes, and the places in ``queries`` that it was asked for."""
    generator = np.random.default_rng(subject.bootstrap.seed)
    asked = np.sort(generator.permutation(len(subject.queries))[:ORACLE_QUERIES])
    if not subject.attributes:
        return None, asked
    if len(asked) < len(subject.queries):
        say(f"attribute oracle: asked for a random {len(asked):,} of {len(subject.queries):,} items")
    codes = np.stack(list(subject.attributes.values()), axis=1)
    return attribute_neighbours(codes, subject.queries[asked], subject.widest, subject.bootstrap.seed), asked


def _labels(
    subject: Subject, of_queries: dict[str, Int64[np.ndarray, " items"]], queries: Rows, own_rows: Rows
) -> dict[str, Labels]:
    return {
        name: Labels(of_queries[name][queries], candidates, own_rows) for name, candidates in subject.attributes.items()
    }


def _purities(
    subject: Subject,
    lists: Int64[np.ndarray, "queries k"],
    labels: dict[str, Labels],
    placed: Bool[np.ndarray, " queries"],
) -> Figures:
    """Purity, its base rate and, where popularity is known, its popularity-matched shuffle, at every k."""
    compared: list[tuple[str, Labels, Labels | None]] = [(name, label, None) for name, label in labels.items()]
    if {"brand", "category"} <= labels.keys():
        compared.append(("brand_within_category", labels["brand"], labels["category"]))
    nulls = {"_chance": None, "_matched": popularity_strata(subject.impressions) if subject.impressions.any() else None}
    columns: dict[str, Float64[np.ndarray, " queries"]] = {}
    for name, label, within in compared:
        for suffix, strata in nulls.items():
            if suffix == "_matched" and strata is None:
                continue
            both = purities(lists, subject.neighbours, label, Null(label, strata, within))
            for place, k in enumerate(subject.neighbours):
                columns[f"{name}@{k}"] = np.where(placed, both.observed[place], np.nan)
                columns[f"{name}@{k}{suffix}"] = np.where(placed, both.expected[place], np.nan)
    reason = "no item has a place and a value" if len(placed) else "no item has a value"
    return subject.bootstrap.means(columns, reason)


def _embeddings(subject: Subject, lists: Neighbours) -> list[tuple[str, Units, Int64[np.ndarray, "placed k"]]]:
    """Name, vectors and lists of both embeddings; lists of queries that have no place would count row numbers."""
    return [
        ("psi", subject.psi, lists.psi[subject.has_place_in_psi]),
        ("phi", subject.phi, lists.phi[subject.has_place_in_phi]),
    ]


def _has_place(units: Units, queries: Rows) -> Bool[np.ndarray, " queries"]:
    return _has_direction(units[queries]) if geometry.varies(units) else np.zeros(len(queries), dtype=bool)


def _has_direction(units: Units) -> Bool[np.ndarray, " items"]:
    """False for a vector of zeros, to which all items are equally near."""
    directed: Bool[np.ndarray, " items"] = np.square(units).sum(axis=1) > 0
    return directed
