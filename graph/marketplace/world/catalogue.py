"""The catalogue: what a shop page shows of an item (``Catalogue``) and what is true of it (``Hidden…``)."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from configs.worlds import WorldConfig
from graph.marketplace.world.noise import counter_key, mixed, stream, uniforms
from graph.marketplace.world.words import new_words

DAY_MS = 86_400_000
STYLE = 3
"""Dimensions of style: of items, brands, topics and of users' ideals."""
WORDS_PER_LEAF = 40
WORDS_PER_TOPIC = 6
"""Topics of a leaf draw their words from the leaf's and overlap: a title hints at its topic and does not name it."""
LATER_DAYS = 7
"""Days after the log for which items are drawn too, so that it can be continued. They are not in its tables."""
YEARS_LISTED = 2.0
"""How far back the items of the first day were listed, at most."""
DISCOUNT_DAYS = 3


@dataclass(frozen=True)
class Vocabulary:
    """Every word of the market; a word is its index in ``words``."""

    words: list[str]
    leaf_noun: Int32[np.ndarray, " leaves"]
    leaf_words: Int32[np.ndarray, "leaves words"]
    brand_word: Int32[np.ndarray, " brands"]


@dataclass(frozen=True)
class Shelves:
    """Names and structure that anybody can see. Leaves, brands and shops are numbered by department."""

    categories: list[str]
    brands: list[str]
    shops: list[str]
    leaf_department: Int32[np.ndarray, " leaves"]
    vocabulary: Vocabulary


@dataclass(frozen=True)
class HiddenMarket:
    """What is true of topics, brands, shops and categories."""

    topic_leaf: Int32[np.ndarray, " topics"]
    topic_share: Float64[np.ndarray, "leaves topics_per_leaf"]
    topic_place: Float64[np.ndarray, "topics 2"]
    topic_style: Float64[np.ndarray, "topics style"]
    topic_words: Int32[np.ndarray, "topics words"]
    brand_standing: Float64[np.ndarray, " brands"]
    brand_style: Float64[np.ndarray, "brands style"]
    brand_level: Float64[np.ndarray, " brands"]
    shop_reliability: Float64[np.ndarray, " shops"]
    leaf_price: Float64[np.ndarray, " leaves"]


@dataclass(frozen=True)
class Catalogue:
    """What is seen of the items, in order of listing: the items on sale at any moment are the first so many."""

    item_id: Int64[np.ndarray, " items"]
    leaf: Int32[np.ndarray, " items"]
    brand: Int32[np.ndarray, " items"]
    shop: Int32[np.ndarray, " items"]
    price: Float64[np.ndarray, " items"]
    listed_at: Int64[np.ndarray, " items"]
    title_words: Int32[np.ndarray, "items title"]
    shelves: Shelves

    def on_sale(self, moments: Int64[np.ndarray, " r"]) -> Int64[np.ndarray, " r"]:
        """How many items are listed at each moment (ms since 1970)."""
        return np.searchsorted(self.listed_at, moments, side="right")

    def titles(self) -> list[str]:
        """One title an item; brand names are capitalised."""
        words = self.shelves.vocabulary.words
        return [" ".join(words[word] for word in row if word >= 0) for row in self.title_words]


@dataclass(frozen=True)
class HiddenItems:
    """What is true of the items; where ``attribute_information`` is below 1, not all of it is what is shown."""

    leaf: Int32[np.ndarray, " items"]
    brand: Int32[np.ndarray, " items"]
    shop: Int32[np.ndarray, " items"]
    price: Float64[np.ndarray, " items"]
    topic: Int32[np.ndarray, " items"]
    quality: Float64[np.ndarray, " items"]
    style: Float64[np.ndarray, "items style"]
    attention: Float64[np.ndarray, " items"]
    """Log of the item's weight in recall: Zipf's law within its category."""


def first_moment(world: WorldConfig) -> int:
    """Start of the first day, in ms since 1970."""
    start = datetime.datetime.fromisoformat(world.first_day).replace(tzinfo=datetime.UTC)
    return int(start.timestamp()) * 1000


def make_market(world: WorldConfig, seed: int) -> tuple[Shelves, HiddenMarket]:
    """Draw the category tree with its topics, brands, shops and vocabulary."""
    random = stream(seed, "market")
    leaves = world.departments * world.leaves_per_department
    brands, shops = world.departments * world.brands_per_department, world.departments * world.shops_per_department
    topics = leaves * world.topics_per_leaf
    shelves = _make_shelves(world, seed, leaves, brands, shops)
    words = shelves.vocabulary.leaf_words
    topic_leaf = np.repeat(np.arange(leaves, dtype=np.int32), world.topics_per_leaf)
    standing = random.normal(size=brands)
    market = HiddenMarket(
        topic_leaf=topic_leaf,
        topic_share=random.dirichlet(np.full(world.topics_per_leaf, 3.0), size=leaves),
        topic_place=random.normal(size=(topics, 2)),
        topic_style=random.normal(size=(topics, STYLE)),
        topic_words=np.stack([random.permutation(words[leaf])[:WORDS_PER_TOPIC] for leaf in topic_leaf]),
        brand_standing=standing,
        brand_style=random.normal(size=(brands, STYLE)),
        brand_level=world.brand_price_spread * (0.6 * standing + 0.8 * random.normal(size=brands)),
        shop_reliability=random.normal(size=shops),
        leaf_price=random.uniform(np.log(8.0), np.log(300.0), size=leaves),
    )
    return shelves, market


def _make_shelves(world: WorldConfig, seed: int, leaves: int, brands: int, shops: int) -> Shelves:
    random = stream(seed, "names")
    used: set[str] = set()
    departments = new_words(world.departments, 2, used, random)
    nouns = new_words(leaves, 2, used, random)
    filler = new_words(leaves * WORDS_PER_LEAF, 2, used, random)
    brand_names = [word.capitalize() for word in new_words(brands, 3, used, random)]
    shop_names = [f"{word.capitalize()} Store" for word in new_words(shops, 3, used, random)]
    department = np.repeat(np.arange(world.departments, dtype=np.int32), world.leaves_per_department)
    return Shelves(
        categories=[f"{departments[d]}/{noun}" for d, noun in zip(department, nouns, strict=True)],
        brands=brand_names,
        shops=shop_names,
        leaf_department=department,
        vocabulary=Vocabulary(
            words=[*nouns, *filler, *brand_names],
            leaf_noun=np.arange(leaves, dtype=np.int32),
            leaf_words=(leaves + np.arange(len(filler), dtype=np.int32)).reshape(leaves, WORDS_PER_LEAF),
            brand_word=(leaves + len(filler) + np.arange(brands, dtype=np.int32)),
        ),
    )


def make_items(world: WorldConfig, seed: int, shelves: Shelves, market: HiddenMarket) -> tuple[Catalogue, HiddenItems]:
    """Draw every item of the log's days and of the ``LATER_DAYS``, those born later included."""
    random = stream(seed, "items")
    leaves = len(shelves.categories)
    listed_at = _listing_moments(world, random)
    count = len(listed_at)
    leaf = random.choice(leaves, size=count, p=zipf(leaves, 0.5, random)).astype(np.int32)
    within = (random.random(count)[:, None] > np.cumsum(market.topic_share, axis=1)[leaf]).sum(axis=1)
    topic = (leaf * world.topics_per_leaf + np.minimum(within, world.topics_per_leaf - 1)).astype(np.int32)
    brand = _of_department(shelves.leaf_department[leaf], world.brands_per_department, 0.7, random)
    shop = _of_department(shelves.leaf_department[leaf], world.shops_per_department, 0.5, random)
    quality = random.normal(size=count)
    own_style = random.normal(size=(count, STYLE))
    log_price = market.leaf_price[leaf] + market.brand_level[brand] + 0.12 * quality
    log_price += world.price_spread * random.normal(size=count)
    price = np.maximum(np.round(np.exp(log_price)) - 0.01, 0.99)
    hidden = HiddenItems(
        leaf=leaf,
        brand=brand,
        shop=shop,
        price=price,
        topic=topic,
        quality=quality,
        style=0.5 * market.topic_style[topic] + 0.6 * market.brand_style[brand] + 0.6 * own_style,
        attention=_attention(world.popularity_exponent, leaf, random) + 0.25 * quality,
    )
    title_words = _title_words(topic, leaf, brand, market, shelves.vocabulary, random)
    shown_as = _shown_as(world.attribute_information, count, stream(seed, "shown as"))
    catalogue = Catalogue(
        item_id=_item_ids(seed, count),
        leaf=leaf[shown_as],
        brand=brand[shown_as],
        shop=shop[shown_as],
        price=price[shown_as],
        listed_at=listed_at,
        title_words=title_words[shown_as],
        shelves=shelves,
    )
    return catalogue, hidden


def prices_on(world: WorldConfig, seed: int, items: HiddenItems, day: int) -> Float32[np.ndarray, " items"]:
    """Prices of a day (0-based): the items' own less that day's discounts."""
    period = np.array([day // DISCOUNT_DAYS])
    draws = uniforms(counter_key(seed, "discount"), period, np.arange(len(items.price))[None, :])[0]
    factor = np.where(draws < world.discount_share, 1.0 - world.discount, 1.0)
    return np.round(items.price * factor, 2).astype(np.float32)


def zipf(count: int, exponent: float, random: np.random.Generator) -> Float64[np.ndarray, " count"]:
    """Shares by Zipf's law, in random order."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return random.permutation(weights / weights.sum())


def _listing_moments(world: WorldConfig, random: np.random.Generator) -> Int64[np.ndarray, " items"]:
    start = first_moment(world)
    old = start - (random.random(world.items) * YEARS_LISTED * 365 * DAY_MS).astype(np.int64) - 1
    days = world.days + LATER_DAYS
    new = start + (random.random(days * world.new_items_per_day) * days * DAY_MS).astype(np.int64)
    return np.sort(np.concatenate([old, new]))


def _shown_as(information: float, count: int, random: np.random.Generator) -> Int64[np.ndarray, " items"]:
    """Whose attributes each item is shown with: its own, or those of another among the items that swap them."""
    shown = np.arange(count)
    swapping = np.flatnonzero(random.random(count) >= information)
    # A rotation of a random order: nobody keeps their own (unless alone).
    order = random.permutation(swapping)
    shown[order] = np.roll(order, 1)
    return shown


def _of_department(
    department: Int32[np.ndarray, " items"], per_department: int, exponent: float, random: np.random.Generator
) -> Int32[np.ndarray, " items"]:
    """A brand (or shop) of the item's department for each item, by Zipf's law."""
    within = random.choice(per_department, size=len(department), p=zipf(per_department, exponent, random))
    return (department * per_department + within).astype(np.int32)


def _attention(
    exponent: float, leaf: Int32[np.ndarray, " items"], random: np.random.Generator
) -> Float64[np.ndarray, " items"]:
    """Minus exponent times the log of a random rank within the leaf."""
    order = np.lexsort((random.random(len(leaf)), leaf))
    counts = np.bincount(leaf)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(leaf))
    rank[order] = np.arange(len(leaf)) - np.repeat(starts, counts) + 1
    return -exponent * np.log(rank)


def _item_ids(seed: int, count: int) -> Int64[np.ndarray, " items"]:
    """Ten-digit ids without any order, unique."""
    base = counter_key(seed, "item ids")
    with np.errstate(over="ignore"):
        drawn = mixed.py_func(base + np.arange(2 * count, dtype=np.uint64)) % np.uint64(9_000_000_000)
    _, first = np.unique(drawn, return_index=True)
    ids: Int64[np.ndarray, " items"] = (drawn[np.sort(first)[:count]] + np.uint64(1_000_000_000)).astype(np.int64)
    return ids


def _title_words(
    topic: Int32[np.ndarray, " items"],
    leaf: Int32[np.ndarray, " items"],
    brand: Int32[np.ndarray, " items"],
    market: HiddenMarket,
    vocabulary: Vocabulary,
    random: np.random.Generator,
) -> Int32[np.ndarray, "items title"]:
    """Brand, two or three words of the topic, one of the category at large, and the category's noun; -1 pads."""
    count = len(topic)
    picks = np.argsort(random.random((count, WORDS_PER_TOPIC)), axis=1)[:, :3]
    topical = np.take_along_axis(market.topic_words[topic], picks, axis=1)
    topical[random.random(count) < 0.5, 2] = -1
    noise = vocabulary.leaf_words[leaf, random.integers(WORDS_PER_LEAF, size=count)]
    noise = np.where((topical == noise[:, None]).any(axis=1), -1, noise)
    columns = [vocabulary.brand_word[brand], *topical.T, noise, vocabulary.leaf_noun[leaf]]
    return np.stack(columns, axis=1).astype(np.int32)
