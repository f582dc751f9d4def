"""Keys of ``data=ubi``: which actions of User Behavior Insights are what; the standard leaves their names open."""

from __future__ import annotations

from dataclasses import dataclass

from configs.schema.fields import key


@dataclass
class UbiConfig:
    """Action names, and which events belong together. Case plays no part in a name."""

    applications: list[str] = key([], "applications whose events are read; empty: all")
    impression: list[str] = key(["impression"], "actions that say that an item was shown")
    click: list[str] = key(["click", "click_through", "item_click"], "actions that are a click")
    cart: list[str] = key(["add_to_cart"], "actions that put an item into the cart; no feature, no task: column carted")
    order: list[str] = key(["purchase"], "actions that are an order")
    window_minutes: float = key(
        30.0, "an engagement whose own query did not show the item belongs to the latest that did, so long ago at most",
        at_least=0,
    )  # fmt: skip
