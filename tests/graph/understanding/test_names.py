"""What a column, an event or a file is by its name alone."""

from __future__ import annotations

import pytest

from graph.understanding.names import ROLES, event_of, is_outcome, name_score, table_of, words


@pytest.mark.parametrize(
    "name", ["searchQueryUid", "search_query uid", "SEARCH-QUERY-UID", "search.query/UID", "SearchQueryUID"]
)
def test_the_words_of_a_name_however_it_is_written(name):
    assert words(name) == ("search", "query", "uid")


def test_accents_and_umlauts_and_other_scripts():
    assert words("Händler-Größe") == ("haendler", "groesse")
    assert words("catégorie") == ("categorie",)
    assert words("商品id") == ("商品id",)
    assert words("--") == ()


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *[
            (name, "request_id")
            for name in ("request_id", "searchId", "srch_id", "queryID", "query_id", "Suchanfrage-Nr")
        ],
        *[
            (name, "user_id")
            for name in ("user_id", "Kunden-Nr", "kundennummer", "visitorid", "user_pseudo_id", "userToken")
        ],
        *[(name, "user_id") for name in ("client_id", "Customer ID", "domain_userid", "用户ID")],
        *[(name, "session_id") for name in ("session_id", "ga_session_id", "user_session", "Sitzung", "SessionID")],
        *[(name, "item_id") for name in ("item_id", "productId", "Artikel-Nr", "objectID", "prop_id", "SKU", "商品id")],
        *[
            (name, "query")
            for name in ("query", "searchTerm", "Suchbegriff", "user_query", "search_term", "phrase", "keywords")
        ],
        *[
            (name, "timestamp")
            for name in ("timestamp", "ts", "date_time", "Zeitstempel", "event_time", "derived_tstamp")
        ],
        *[(name, "position") for name in ("position", "Rang", "rank", "ordinal", "item_list_index", "clickRank")],
        *[(name, "clicked") for name in ("clicked", "isClick", "click_bool", "angeklickt", "was_clicked", "clk")],
        *[(name, "ordered") for name in ("ordered", "is_purchased", "gekauft", "booking_bool", "conversion")],
        *[(name, "carted") for name in ("add_to_cart", "addToCart", "in den Warenkorb", "cart")],
        *[(name, "price") for name in ("price", "Preis", "price_usd", "salePrice", "prix")],
        *[(name, "title") for name in ("title", "product_name", "Bezeichnung", "name")],
        *[(name, "category") for name in ("category", "Kategorie", "category_path", "categoryCode")],
        *[(name, "event") for name in ("event_type", "action", "eventName", "Ereignis", "action_name")],
    ],
)
def test_names_that_people_and_vendors_use(name, role):
    scores = {each: name_score(name, each) for each in ROLES}
    assert max(scores, key=lambda each: scores[each]) == role
    assert scores[role] >= 0.7


@pytest.mark.parametrize(
    "name", ["visitor_location_country_id", "srch_destination_id", "site_id", "random_bool", "x", "", "colour"]
)
def test_names_that_tell_nothing(name):
    assert all(name_score(name, role) == 0 for role in ROLES)


def test_a_word_among_others_is_less_sure_than_the_name():
    assert (
        0
        < name_score("prop_log_historical_price", "price")
        < name_score("item_price", "price")
        < name_score("price", "price")
    )


@pytest.mark.parametrize(
    ("value", "event"),
    [
        *[("clickout item", "click"), ("select_item", "click"), ("Product Clicked", "click"), ("CLICK", "click")],
        *[
            ("view_item_list", "impression"),
            ("Product Added", "cart"),
            ("addtocart", "cart"),
            ("Order Completed", "order"),
        ],
        *[
            ("purchase", "order"),
            ("Bestellung", "order"),
            ("page_view", "view"),
            ("scroll", None),
            ("", None),
            ("interaction", None),
        ],
    ],
)
def test_events(value, event):
    assert event_of(value) == event


def test_files():
    assert [table_of(stem) for stem in ("artikel", "products-2024-05-01", "kunden", "searchlog", "train")] == [
        *("items", "items", "users", "impressions"),
        None,
    ]
    assert event_of("orders_2024") == "order"


@pytest.mark.parametrize(
    "name", ["add_to_cart", "purchase_ts", "dwell", "dwellTime", "gross_bookings_usd", "order_id", "Umsatz"]
)
def test_outcomes(name):
    assert is_outcome(name)


@pytest.mark.parametrize(
    "name", ["price", "border", "colour", "preorderable", "position_on_page", "carton", "sort_order"]
)
def test_no_outcomes(name):
    assert not is_outcome(name)
