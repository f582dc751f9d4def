"""All figures of an audit but the cold start's: what is compared with what, and under which name.

A figure's name is ``measure@k``; what stands beside it bears the same name with ``_chance`` (random neighbours),
``_matched`` (random neighbours as popular as the found ones) or ``_attributes`` (the oracle of attributes only).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.stats import binom

from configs.console import say
from index import ann, geometry
from index.figures import Bootstrap, Figure
from index.neighbourhoods import (
    Labels,
    attribute_neighbours,
    expected_purity,
    overlap,
    overlap_chance,
    popularity_strata,
    purity,
)

ORACLE_QUERIES = 2000
APPROXIMATE_ITEMS = 100_000
"""Items over which approximate indexes are built at most: a graph over a million takes minutes."""
APPROXIMATE_QUERIES = 2000
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
        impressions: training impressions of each row.
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
    for k in subject.neighbours:
        columns[f"overlap@{k}"] = overlap(lists.phi[:, :k], lists.psi[:, :k])
        columns[f"overlap@{k}_centred"] = overlap(lists.phi_centred[:, :k], lists.psi_centred[:, :k])
        if oracle is not None:
            by_attributes = np.full(len(subject.queries), np.nan)
            by_attributes[asked] = overlap(oracle[:, :k], lists.psi[asked, :k])
            columns[f"overlap@{k}_attributes"] = by_attributes
            columns[f"overlap@{k}_less_attributes"] = columns[f"overlap@{k}"] - by_attributes
    queries, candidates = len(subject.queries), len(subject.psi)
    chance = {f"overlap@{k}_chance": Figure.exact(overlap_chance(k, candidates), queries) for k in subject.neighbours}
    return {**subject.bootstrap.means(columns), **chance}


def purity_figures(subject: Subject, lists: Neighbours) -> dict[str, Figures]:
    """Purity of every attribute, and of brand within category, under ψ, under φ, and of φ's queries outside P."""
    outside = np.full(len(subject.outside), -1)
    inside_labels = _labels(subject, subject.attributes, subject.queries, subject.queries)
    outside_labels = _labels(subject, subject.outside_attributes, np.arange(len(outside)), outside)
    return {
        "psi": _purities(subject, lists.psi, inside_labels),
        "phi": _purities(subject, lists.phi, inside_labels),
        "phi_outside_p": _purities(subject, lists.outside, outside_labels),
    }


def geometry_figures(subject: Subject, lists: Neighbours) -> dict[str, Figures]:
    """Hubness and spread of each embedding, and what they have in common."""
    k, found = subject.neighbours[0], {}
    for name, units, near in (("psi", subject.psi, lists.psi), ("phi", subject.phi, lists.phi)):
        occurrence = geometry.k_occurrence(near[:, :k], len(units))
        found[name] = {
            **geometry.hubness(occurrence, len(near), k, subject.bootstrap),
            **geometry.spread(units, subject.bootstrap),
        }
    both = geometry.similarity(subject.psi, subject.phi, subject.bootstrap)
    if subject.psi.shape == subject.phi.shape:
        both |= geometry.alignment(subject.phi, subject.psi_centred, subject.bootstrap)
    return {**found, "both": both}


def approximate_figures(subject: Subject) -> dict[str, Figures]:
    """Recall of HNSW's and IVF's lists against the exact ones: what an approximate index would have cost."""
    generator = np.random.default_rng(subject.bootstrap.seed)
    kept = np.sort(generator.permutation(len(subject.psi))[:APPROXIMATE_ITEMS])
    if len(kept) < len(subject.psi):
        say(f"approximate indexes: built over a random {len(kept):,} of {len(subject.psi):,} items")
    rows = np.sort(generator.permutation(len(kept))[:APPROXIMATE_QUERIES])
    found = {}
    for name, units in (("psi", subject.psi[kept]), ("phi", subject.phi[kept])):
        widest = min(subject.widest, len(kept) - 2)
        exact = ann.search(ann.exact_index(units), units[rows], rows, widest)
        columns = {}
        for kind, build in (("hnsw", ann.hnsw_index), ("ivf", ann.ivf_index)):
            lists = ann.search(build(units), units[rows], rows, widest, f"{kind} of {name}")
            for k in subject.neighbours:
                columns[f"{kind}@{k}"] = overlap(lists[:, :k], exact[:, :k])
        found[name] = subject.bootstrap.means(columns)
    return found


def popularity_rows(subject: Subject, lists: Neighbours) -> list[dict[str, Any]]:
    """Overlap and purity at the first k in each tenth of popularity, least seen first."""
    k, attribute = subject.neighbours[0], subject.main_attribute
    columns = {"overlap": overlap(lists.phi[:, :k], lists.psi[:, :k])}
    if attribute is not None:
        labels = _labels(subject, subject.attributes, subject.queries, subject.queries)[attribute]
        columns["purity_psi"] = purity(lists.psi[:, :k], labels)
        columns["purity_phi"] = purity(lists.phi[:, :k], labels)
        columns["purity_chance"] = expected_purity(lists.phi[:, :k], labels)
    impressions = subject.impressions[subject.queries]
    strata = popularity_strata(impressions)
    rows = []
    for stratum in range(int(strata.max(initial=0)) + 1):
        members = strata == stratum
        figures = subject.bootstrap.means({name: column[members] for name, column in columns.items()})
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
        for name, near in (("psi", lists.psi), ("phi", lists.phi))
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


def _purities(subject: Subject, lists: Int64[np.ndarray, "queries k"], labels: dict[str, Labels]) -> Figures:
    strata = popularity_strata(subject.impressions)
    compared: list[tuple[str, Labels, Labels | None]] = [(name, label, None) for name, label in labels.items()]
    if {"brand", "category"} <= labels.keys():
        compared.append(("brand_within_category", labels["brand"], labels["category"]))
    columns: dict[str, Float64[np.ndarray, " queries"]] = {}
    for name, label, within in compared:
        for k in subject.neighbours:
            near = lists[:, :k]
            columns[f"{name}@{k}"] = purity(near, label, within)
            columns[f"{name}@{k}_chance"] = expected_purity(near, label, None, within)
            columns[f"{name}@{k}_matched"] = expected_purity(near, label, strata, within)
    return subject.bootstrap.means(columns)
