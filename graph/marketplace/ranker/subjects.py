"""What titles and queries are about within their category, from which words stand together in titles. No clicks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int32, Int64
from torch import Tensor

from graph.marketplace.world.noise import stream
from graph.marketplace.world.state import Seen

SUBJECTS = 10
"""Classes of titles that are looked for in each leaf; it need not be the number that there are."""
OWN_WORD = 0.9
"""A word belongs to a leaf when this share of the titles that have it are there."""
COMMON_WORD = 0.9
"""A word of this share of a leaf's titles is the category's noun and tells no subject."""
PRIOR_TITLES = 0.5
"""Titles added to each class and word."""
STARTS, STEPS = 5, 50
"""Random starts, of which the likeliest outcome is kept, and the steps of each."""


@dataclass(frozen=True)
class Subjects:
    """Probabilities of the classes of a leaf; they can be compared only within the leaf."""

    items: Float32[np.ndarray, "items subjects"]
    queries: Float32[np.ndarray, "queries subjects"]
    prior: Float32[np.ndarray, "leaves subjects"]
    query_leaf: Int32[np.ndarray, " queries"]
    """That of the query's words; the predicted one where they tell none."""


def subjects(seen: Seen, seed: int) -> Subjects:
    """Fit a mixture of multinomials to the titles of each leaf, and ask it about titles and queries.

    Words of one subject stand together, so two texts can be known to mean the same though they share no word. Run it on
    one thread of torch: sums of many threads differ in the last digit.

    Args:
        seen: its titles and queries.
        seed: of the random starts.
    """
    catalogue, queries = seen.catalogue, seen.queries
    leaf_of, leaves = _leaf_of_words(seen), len(seen.shelves.categories)
    votes = leaf_of[queries.words].max(axis=1)
    query_leaf = np.where(votes >= 0, votes, queries.predicted_leaf).astype(np.int32)
    prior = np.full((leaves, SUBJECTS), 1.0 / SUBJECTS, np.float32)
    of_items, of_queries = prior[catalogue.leaf], prior[query_leaf]
    for leaf in range(leaves):
        titles, asked = np.flatnonzero(catalogue.leaf == leaf), np.flatnonzero(query_leaf == leaf)
        words = np.flatnonzero(leaf_of == leaf)
        has = _has(catalogue.title_words[titles], words)
        telling = has.sum(dim=0).numpy() < COMMON_WORD * len(titles)
        if not telling.any():
            continue
        has, words = has[:, torch.from_numpy(telling)], words[telling]
        shares, log_words = _fitted(has, stream(seed, "subjects of titles", leaf))
        prior[leaf] = shares.numpy()
        of_items[titles] = _posterior(has, shares, log_words)
        of_queries[asked] = _posterior(_has(queries.words[asked], words), shares, log_words)
    return Subjects(items=of_items, queries=of_queries, prior=prior, query_leaf=query_leaf)


def _leaf_of_words(seen: Seen) -> Int64[np.ndarray, " words"]:
    """The leaf that each word belongs to, or -1; the last entry is that of padding."""
    catalogue, words = seen.catalogue, len(seen.shelves.vocabulary.words)
    in_leaf = np.zeros((words + 1, len(seen.shelves.categories)), np.int64)
    for column in catalogue.title_words.T:
        np.add.at(in_leaf, (column, catalogue.leaf), 1)
    in_leaf[words] = 0
    titles = in_leaf.sum(axis=1)
    own = (titles > 0) & (in_leaf.max(axis=1) >= OWN_WORD * titles)
    return np.where(own, in_leaf.argmax(axis=1), -1)


def _has(
    texts: Int32[np.ndarray, "texts length"], words: Int64[np.ndarray, " words"]
) -> Float64[Tensor, "texts words"]:
    return torch.from_numpy((texts[:, :, None] == words).any(axis=1).astype(np.float64))


def _fitted(
    has: Float64[Tensor, "texts words"], random: np.random.Generator
) -> tuple[Float64[Tensor, " subjects"], Float64[Tensor, "subjects words"]]:
    """Shares of the classes and the logs of their words' probabilities, by expectation and maximisation."""
    member = torch.from_numpy(random.dirichlet(np.ones(SUBJECTS), size=(STARTS, len(has))))
    for _ in range(STEPS):
        shares = (member.sum(dim=1) + 1.0) / (len(has) + SUBJECTS)
        words = member.transpose(1, 2) @ has + PRIOR_TITLES
        log_words = (words / words.sum(dim=2, keepdim=True)).log()
        joint = has @ log_words.transpose(1, 2) + shares.log().unsqueeze(1)
        member = joint.softmax(dim=2)
    best = int(joint.logsumexp(dim=2).sum(dim=1).argmax())
    return shares[best], log_words[best]


def _posterior(
    has: Float64[Tensor, "texts words"], shares: Float[Tensor, " subjects"], log_words: Float[Tensor, "subjects words"]
) -> Float64[np.ndarray, "texts subjects"]:
    posterior: Float64[np.ndarray, "texts subjects"] = (has @ log_words.T + shares.log()).softmax(dim=1).numpy()
    return posterior
