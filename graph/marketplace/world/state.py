"""Everything there is in a marketplace, seen and unseen, put together from its parameters and a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from configs.worlds import WorldConfig
from graph.marketplace.world.catalogue import Catalogue, HiddenItems, HiddenMarket, Shelves, make_items, make_market
from graph.marketplace.world.shoppers import (
    HiddenQueries,
    HiddenUsers,
    Queries,
    Users,
    drifted,
    make_queries,
    make_users,
)


@dataclass(frozen=True)
class Seen:
    """What may be written: the tables that a real platform would hold."""

    shelves: Shelves
    catalogue: Catalogue
    users: Users
    queries: Queries


@dataclass(frozen=True)
class HiddenState:
    """The whole marketplace of one day. Only the simulator holds it."""

    world: WorldConfig
    seed: int
    seen: Seen
    market: HiddenMarket
    items: HiddenItems
    users: HiddenUsers
    queries: HiddenQueries

    def next_day(self, day: int) -> HiddenState:
        """The state after the night before ``day``: tastes have drifted."""
        return replace(self, users=drifted(self.users, self.world, self.seed, day))


def make_state(world: WorldConfig, seed: int) -> HiddenState:
    """Draw a marketplace."""
    shelves, market = make_market(world, seed)
    catalogue, items = make_items(world, seed, shelves, market)
    users, hidden_users = make_users(world, seed, shelves)
    queries, hidden_queries = make_queries(world, seed, shelves, market)
    seen = Seen(shelves=shelves, catalogue=catalogue, users=users, queries=queries)
    return HiddenState(world, seed, seen, market, items, hidden_users, hidden_queries)
