"""The parameters of a simulated marketplace: one frozen file per world under ``configs/world``.

A world says how shoppers, items and the search engine behave; the seed says which shoppers and items those are.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from configs.errors import InputError
from configs.plans import PlanPlace, checked, load_yaml, mapping, require_known
from configs.ranges import check_section
from configs.schema import key

WORLDS = Path(__file__).parent / "world"


class RankerKind(StrEnum):
    learned = "learned"
    noisy = "noisy"


class PreRankerKind(StrEnum):
    learning = "learning"
    random = "random"


@dataclass(frozen=True)
class WorldConfig:
    """One marketplace. Weights of the utility are in units of appeal before it is standardised."""

    first_day: str = key("2024-01-01", "first day of the log, UTC")
    days: int = key(16, "days that are logged", at_least=1)
    warm_up_days: int = key(
        14,
        "days before them that are not: histories, pre-ranker and ranking model learn from those first",
    )
    requests_per_day: int = key(500, "searches a day, on average", at_least=1)
    session_requests: float = key(2.6, "searches of a session, on average; a user has at most one session a day")

    departments: int = key(8, "top-level categories", at_least=1)
    leaves_per_department: int = key(5, "leaf categories of a department", at_least=1)
    topics_per_leaf: int = key(8, "hidden topics (uses, styles, sub-kinds) of a leaf category", at_least=1)
    brands_per_department: int = key(50, "brands of a department; a brand sells in one department", at_least=1)
    shops_per_department: int = key(75, "shops of a department", at_least=1)
    items: int = key(24_000, "items listed before the first day", at_least=1)
    new_items_per_day: int = key(800, "items listed each day, at any hour")
    popularity_exponent: float = key(1.1, "of Zipf's law of attention over the items of a leaf category")
    price_spread: float = key(0.45, "standard deviation of log price within a category and brand")
    brand_price_spread: float = key(0.35, "standard deviation of log price between brands")
    discount_share: float = key(0.06, "share of items sold at a discount, drawn anew every 3 days", between=(0, 1))
    discount: float = key(0.2, "share of the price that a discount takes off", between=(0, 1))
    attribute_information: float = key(
        1.0,
        "share of items shown with their own category, brand, shop, title and list price; the others swap theirs",
        between=(0, 1),
    )

    queries: int = key(6_000, "distinct query texts that users may type", at_least=1)
    query_exponent: float = key(1.0, "of Zipf's law of traffic over the queries")
    broad_query_share: float = key(
        0.15, "share of query texts that name a category only; they are the busiest", between=(0, 1)
    )
    brand_query_share: float = key(0.2, "share of the other query texts that name a brand", between=(0, 1))
    typo_share: float = key(0.06, "share of query words with a typing error", between=(0, 1))
    category_accuracy: float = key(0.85, "share of queries whose predicted category is the right one", between=(0, 1))

    users: int = key(1_200, "people who may search", at_least=1)
    activity_spread: float = key(0.9, "standard deviation of the log of how often a user searches")
    price_sensitivity: float = key(1.0, "mean weight of a price above the user's budget")
    loyalty: float = key(1.0, "mean weight of a user's favourite brands")
    taste_drift: float = key(0.05, "standard deviation of a day's step of a user's ideal style, per dimension")

    relevance_weight: float = key(0.9, "of the log of how well the item's topic answers the search")
    style_weight: float = key(2.5, "of the closeness of the item's style to the user's ideal")
    quality_weight: float = key(2.2, "of the item's quality and its brand's standing, saturating")
    loyalty_weight: float = key(1.5, "of a favourite brand")
    price_weight: float = key(1.6, "of a price above, or suspiciously below, the user's budget")
    novelty_weight: float = key(0.5, "of items listed in the last week, for users who like the new")
    familiarity_weight: float = key(0.8, "of items that the user clicked before")

    recalled: int = key(300, "items recalled for a request (M)")
    recall_noise: float = key(
        0.1, "share of the recalled items that come from anywhere in the catalogue", between=(0, 1)
    )
    fresh_boost: float = key(1.8, "added to an item's log recall weight in its first week")
    pre_ranker: PreRankerKind = key(
        PreRankerKind.learning,
        "learning (text match, click rate, popularity up to yesterday) or random: any item may pass",
    )
    passed: int = key(120, "items that the logging pre-ranker passes (N)")
    ranked: int = key(110, "items that the ranking model orders, the best of the passed ones", at_least=1)
    ranker: RankerKind = key(
        RankerKind.learned, "learned (DIN with PLE heads, trained on the warm-up days) or noisy (truth plus noise)"
    )
    ranker_quality: float = key(
        0.7,
        "noisy ranking model, also that of the warm-up: correlation with true utility; 0 random, 1 the true order",
        between=(0, 1),
    )
    page: int = key(10, "items of a page", at_least=1)
    browsing_depth: float = key(35.0, "items that a user is shown, on average; whole pages")
    position_bias: float = key(0.35, "eta: an item at position p is looked at with probability p^-eta")
    explored_share: float = key(
        0.05, "share of requests in which one slot of page 1 shows an item drawn at random", between=(0, 1)
    )

    click_rate: float = key(0.08, "clicks per exposed item that the world is calibrated to")
    order_rate: float = key(0.09, "orders per click that the world is calibrated to")
    click_sharpness: float = key(1.1, "logits of a click per standard deviation of appeal")
    order_sharpness: float = key(1.2, "logits of an order per standard deviation of satisfaction")
    order_worth: float = key(4.0, "worth of an order in clicks; true utility is the log of the expected worth")

    logged_passed: int = key(4, "passed but not ranked items logged per request, drawn at random")
    logged_recalled: int = key(6, "recalled but not passed items logged per request, drawn at random")
    logged_random: int = key(6, "items of the catalogue logged per request as random negatives")
    full_recall_share: float = key(0.02, "share of requests whose whole recalled set is logged", between=(0, 1))
    full_recall_from: int = key(0, "first day, counted from 0, on which whole recalled sets are logged")
    history_length: int = key(20, "earlier clicked items listed with a request at most", at_least=1)


def load_world(name: str) -> WorldConfig:
    """Read ``configs/world/NAME.yaml``, which states what differs from the defaults or from the world of its ``base``.

    Raises:
        InputError: for a world that does not exist, an unknown key, an ill-typed value or one out of its range.
    """
    return make_world(_stated(name, ()), str(WORLDS / f"{name}.yaml"))


def _stated(name: str, above: tuple[str, ...]) -> dict[str, object]:
    """What a world's file states, over what its base states."""
    require_known(name, sorted(path.stem for path in WORLDS.glob("*.yaml")), "data.world")
    file = WORLDS / f"{name}.yaml"
    content = mapping(load_yaml(file, "data.world"), file)
    if "base" not in content:
        return content
    base = str(content.pop("base"))
    if base in (name, *above):
        raise InputError(f"{file}: base={base} goes round in a circle: {' -> '.join((*above, name, base))}")
    return {**_stated(base, (*above, name)), **content}


def make_world(content: object, where: str) -> WorldConfig:
    """Check parameters that differ from the defaults and build the world.

    Args:
        content: name → value, as read from a world's file.
        where: the file, for the message.

    Raises:
        InputError: for an unknown key, an ill-typed value or one out of its range.
    """
    world: WorldConfig = checked(WorldConfig, content, PlanPlace(where))
    check_section(world, f"{where}: ")
    _check(world, where)
    return world


def _check(world: WorldConfig, where: str) -> None:
    """What values have to do with each other, and ranges that a key cannot say."""
    if world.warm_up_days < (1 if world.ranker is RankerKind.learned else 0):
        raise InputError(
            f"{where}: warm_up_days must be at least 1 for ranker=learned, which is trained on them, and not negative, "
            f"found {world.warm_up_days}"
        )
    if not world.recalled >= world.passed >= world.ranked:
        raise InputError(
            f"{where}: expected recalled >= passed >= ranked, found {world.recalled}, {world.passed}, {world.ranked}"
        )
    for name in ("click_rate", "order_rate"):
        if not 0 < getattr(world, name) < 0.5:
            raise InputError(f"{where}: {name} must be above 0 and below 0.5, found {getattr(world, name)}")
    if world.browsing_depth < world.page:
        raise InputError(f"{where}: browsing_depth must be at least one page ({world.page} items)")
    if world.session_requests < 1 or world.requests_per_day / world.session_requests > 0.8 * world.users:
        raise InputError(
            f"{where}: {world.requests_per_day} requests a day in sessions of {world.session_requests} need more than "
            f"{world.users} users (one session a day each, at most 80 % of the users a day)"
        )
    if world.items + world.days * world.new_items_per_day < world.recalled + world.logged_random + 1:
        raise InputError(f"{where}: the catalogue is smaller than recalled + logged_random")
    try:
        datetime.date.fromisoformat(world.first_day)
    except ValueError:
        raise InputError(f"{where}: first_day must be a date like 2024-01-01, found {world.first_day!r}") from None
