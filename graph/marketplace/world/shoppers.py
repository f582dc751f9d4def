"""Users and queries: what a log shows of them, and the tastes and intents behind them (``Hidden…``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from configs.worlds import WorldConfig
from graph.marketplace.world.catalogue import STYLE, HiddenMarket, Shelves, zipf
from graph.marketplace.world.noise import stream
from graph.marketplace.world.words import mistyped

AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
REGIONS = ("north", "east", "south", "west", "centre", "islands")
FAVOURITES = 3
"""Favourite brands of a user in each department."""
QUERY_WORDS = 5
NO_TOPIC = -1
NO_BRAND = -1


@dataclass(frozen=True)
class Users:
    """What the platform knows of its users."""

    user_id: Int64[np.ndarray, " users"]
    age_band: Int32[np.ndarray, " users"]
    region: Int32[np.ndarray, " users"]


@dataclass(frozen=True)
class HiddenUsers:
    """What users are like. ``ideal`` drifts from day to day."""

    activity: Float64[np.ndarray, " users"]
    interest: Float64[np.ndarray, "users leaves"]
    ideal: Float64[np.ndarray, "users style"]
    budget: Float64[np.ndarray, " users"]
    """Log of what a user finds a normal price, over the category's."""
    sensitivity: Float64[np.ndarray, " users"]
    loyalty: Float64[np.ndarray, " users"]
    favourite: Int32[np.ndarray, "users departments favourites"]
    own_topic: Int32[np.ndarray, "users leaves"]
    """The topic of a leaf that a user mostly means by a query that names only the category."""
    novelty: Float64[np.ndarray, " users"]
    patience: Float64[np.ndarray, " users"]


@dataclass(frozen=True)
class Queries:
    """What the search engine sees of a query, sorted by leaf and topic. Mistyped words are unknown (-1)."""

    text: list[str]
    words: Int32[np.ndarray, "queries words"]
    predicted_leaf: Int32[np.ndarray, " queries"]
    word_count: Int32[np.ndarray, " queries"]


@dataclass(frozen=True)
class HiddenQueries:
    """What is meant by a query, and how often it is typed."""

    leaf: Int32[np.ndarray, " queries"]
    topic: Int32[np.ndarray, " queries"]
    brand: Int32[np.ndarray, " queries"]
    traffic: Float64[np.ndarray, " queries"]


def make_users(world: WorldConfig, seed: int, shelves: Shelves) -> tuple[Users, HiddenUsers]:
    """Draw the users. Region hints at style, age at budget; neither says it."""
    random = stream(seed, "users")
    count, leaves = world.users, len(shelves.categories)
    region = random.integers(len(REGIONS), size=count)
    age = np.clip(random.normal(42.0, 15.0, size=count), 18.0, 80.0)
    stated_age = np.where(random.random(count) < 0.15, random.uniform(18.0, 75.0, size=count), age)
    hidden = HiddenUsers(
        activity=np.exp(world.activity_spread * random.normal(size=count)),
        interest=random.dirichlet(np.full(leaves, 0.3), size=count),
        ideal=0.7 * random.normal(size=(len(REGIONS), STYLE))[region] + 0.8 * random.normal(size=(count, STYLE)),
        budget=0.015 * (age - 42.0) + 0.35 * random.normal(size=count),
        sensitivity=world.price_sensitivity * np.exp(0.5 * random.normal(size=count) - 0.125),
        loyalty=world.loyalty * random.gamma(2.0, 0.5, size=count),
        favourite=_favourites(world, count, random),
        own_topic=random.integers(world.topics_per_leaf, size=(count, leaves)).astype(np.int32),
        novelty=random.normal(size=count),
        patience=random.normal(size=count),
    )
    ids = np.sort(random.choice(90_000_000, size=count, replace=False)) + 10_000_000
    users = Users(
        user_id=random.permutation(ids).astype(np.int64),
        age_band=np.digitize(stated_age, (25, 35, 45, 55, 65)).astype(np.int32),
        region=region.astype(np.int32),
    )
    return users, hidden


def make_queries(
    world: WorldConfig, seed: int, shelves: Shelves, market: HiddenMarket
) -> tuple[Queries, HiddenQueries]:
    """Draw the queries that may be typed; texts that come out twice are kept once.

    Broad queries take the top of Zipf's law, so the head is ambiguous and the tail is specific.
    """
    random = stream(seed, "queries")
    count, leaves = world.queries, len(shelves.categories)
    broad = np.arange(count) < max(1, round(world.broad_query_share * count))
    leaf = random.integers(leaves, size=count).astype(np.int32)
    topic = leaf * world.topics_per_leaf + random.integers(world.topics_per_leaf, size=count)
    brand = shelves.leaf_department[leaf] * world.brands_per_department + random.choice(
        world.brands_per_department, size=count, p=zipf(world.brands_per_department, 0.7, random)
    )
    branded = ~broad & (random.random(count) < world.brand_query_share)
    topic = np.where(broad, NO_TOPIC, topic).astype(np.int32)
    brand = np.where(branded, brand, NO_BRAND).astype(np.int32)
    predicted = np.where(random.random(count) < world.category_accuracy, leaf, random.integers(leaves, size=count))
    typed = [
        _type_query(world.typo_share, int(leaf[q]), int(topic[q]), int(brand[q]), shelves, market, random)
        for q in range(count)
    ]
    distinct = np.array(sorted({text: q for q, (text, _) in reversed(list(enumerate(typed)))}.values()))
    traffic = np.arange(1, len(distinct) + 1, dtype=np.float64) ** -world.query_exponent
    order = np.lexsort((np.arange(len(distinct)), topic[distinct], leaf[distinct]))
    distinct, traffic = distinct[order], traffic[order]
    words = np.full((len(distinct), QUERY_WORDS), -1, dtype=np.int32)
    for row, q in enumerate(distinct):
        known = typed[q][1]
        words[row, : len(known)] = known
    queries = Queries(
        text=[typed[q][0] for q in distinct],
        words=words,
        predicted_leaf=predicted[distinct].astype(np.int32),
        word_count=np.array([len(typed[q][1]) for q in distinct], dtype=np.int32),
    )
    return queries, HiddenQueries(leaf=leaf[distinct], topic=topic[distinct], brand=brand[distinct], traffic=traffic)


def drifted(hidden: HiddenUsers, world: WorldConfig, seed: int, day: int) -> HiddenUsers:
    """The users a day later: their ideal style has moved a step; its spread over users stays about the same."""
    step = stream(seed, "drift", day).normal(size=hidden.ideal.shape)
    fields = dict(vars(hidden))
    fields["ideal"] = np.sqrt(1.0 - world.taste_drift**2) * hidden.ideal + world.taste_drift * step
    return HiddenUsers(**fields)


def _favourites(world: WorldConfig, users: int, random: np.random.Generator) -> Int32[np.ndarray, "users d f"]:
    within = random.integers(world.brands_per_department, size=(users, world.departments, FAVOURITES))
    return (within + np.arange(world.departments)[None, :, None] * world.brands_per_department).astype(np.int32)


def _type_query(
    typo_share: float,
    leaf: int,
    topic: int,
    brand: int,
    shelves: Shelves,
    market: HiddenMarket,
    random: np.random.Generator,
) -> tuple[str, list[int]]:
    """One query's text, and its words as the search engine understands them (-1: mistyped)."""
    vocabulary = shelves.vocabulary
    if topic == NO_TOPIC:
        chosen = [int(vocabulary.leaf_noun[leaf])]
        chosen += list(random.choice(vocabulary.leaf_words[leaf], size=int(random.integers(2)), replace=False))
    else:
        chosen = list(random.choice(market.topic_words[topic], size=int(random.integers(1, 4)), replace=False))
        if random.random() < 0.5:
            chosen.append(int(vocabulary.leaf_noun[leaf]))
    if brand != NO_BRAND:
        chosen.insert(0, int(vocabulary.brand_word[brand]))
    texts: list[str] = []
    known: list[int] = []
    for word in chosen:
        wrong = random.random() < typo_share
        text = vocabulary.words[word].lower()
        texts.append(mistyped(text, random) if wrong else text)
        known.append(-1 if wrong else int(word))
    return " ".join(texts), known
