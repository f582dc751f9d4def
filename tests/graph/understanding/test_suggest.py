"""The mapping that is suggested for tables nobody has described, and the YAML that says it."""

from __future__ import annotations

import yaml
from omegaconf import OmegaConf

from graph.understanding import template
from graph.understanding.ids import rewriting
from graph.understanding.suggest import Sample, kind_of, kinds_of, suggest
from graph.understanding.values import Column


def sample(called, types=None, **columns):
    rows = max(len(values) for values in columns.values())
    made = [
        Column(
            column,
            (types or {}).get(column, "VARCHAR"),
            tuple(v if v is None else str(v) for v in values) or (None,) * rows,
        )
        for column, values in columns.items()
    ]
    return Sample(called, (f"{called}.csv",), tuple(made))


def wide(**more):
    return sample(
        "log",
        **{
            "searchId": ["s1", "s1", "s2", "s2"],
            "ts": ["1709294400", "1709294400", "1709294460", "1709294460"],
            "userId": ["u1", "u1", "u2", "u2"],
            "searchTerm": ["knife", "knife", "pan", "pan"],
            "sku": ["1", "2", "3", "1"],
            "rank": ["0", "1", "0", "1"],
            "clicked": ["Y", "N", "N", "N"],
        }
        | more,
    )


def test_a_wide_log():
    ((suggestion,), problems, _) = suggest([wide(colour=["r", "g", "b", "r"])])
    assert suggestion.table == "impressions"
    assert {role: template.plain(mapped) for role, mapped in suggestion.columns.items()} == {
        "request_id": "searchId",
        "user_id": "userId",
        "query": "searchTerm",
        "item_id": "sku",
        "timestamp": "to_timestamp(TRY_CAST(ts AS DOUBLE))",
        "position": "TRY_CAST(rank AS INTEGER) + 1",
        "clicked": "coalesce(lower(trim(clicked)) IN ('y'), false)",
    }
    assert suggestion.columns["position"].why == "by name: ranks begin at 0"
    assert template.kept(suggestion) == ["colour"]
    assert set(suggestion.leave) == {"ts", "rank", "clicked"}
    assert not problems


def test_a_list_of_tags_is_no_list_of_items():
    ((suggestion,), problems, _) = suggest([wide(tags=["a1|b2", "c3|d4", "a1|d4", "b2|c3"])])
    assert suggestion.unnest == ()
    assert suggestion.columns["item_id"].source == "sku"
    assert not problems


def test_what_is_missing_is_all_told_at_once():
    ((suggestion,), problems, _) = suggest([sample("log", searchId=["1", "1"], sku=["a", "b"], rank=["1", "2"])])
    assert suggestion.table == "impressions"
    assert [problem.split(":")[1].strip() for problem in problems] == [
        "no column holds a time that can be read",
        "no column says what was clicked",
    ]


def test_a_table_of_nothing_known():
    suggestions, problems, unused = suggest([sample("weather", city=["Ulm", "Bonn"], rain=["1.5", "2.5"])])
    assert not suggestions
    assert "weather: cannot be told what a row is (city, rain)" in unused[0]
    assert "no table of impressions" in problems[0]


def test_stand_ins_for_user_query_and_request():
    log = sample(
        "log", session=["a", "a"], ts=["1709294400"] * 2, sku=["1", "2"], position=["1", "2"], click=["1", "0"]
    )
    ((suggestion,), problems, _) = suggest([log])
    columns = {role: template.plain(mapped) for role, mapped in suggestion.columns.items()}
    assert columns["user_id"] == "session"
    assert columns["query"] == "''"
    assert columns["request_id"] == "concat_ws('/', session, to_timestamp(TRY_CAST(ts AS DOUBLE)))"
    assert not problems


def test_lists_of_a_request():
    log = sample(
        "log",
        session_id=["a", "a", "b"],
        timestamp=["1709294400", "1709294401", "1709294402"],
        action_type=["search for item", "clickout item", "clickout item"],
        reference=["9", "12", "15"],
        impressions=[None, "11|12|13", "14|15"],
        prices=[None, "7|8|9", "1|2"],
        city=["Ulm", "Ulm", "Bonn"],
    )
    ((suggestion,), problems, _) = suggest([log])
    assert suggestion.unnest == ("impressions", "prices")
    assert suggestion.separator == "|"
    assert suggestion.where == "action_type = 'clickout item'"
    columns = {role: template.plain(mapped) for role, mapped in suggestion.columns.items()}
    assert columns["item_id"] == "impressions"
    assert columns["position"] == "ordinal"
    assert columns["clicked"] == "coalesce(reference = CAST(impressions AS VARCHAR), false)"
    assert columns["query"] == "coalesce(city, '')"
    assert not problems


def test_events():
    kinds = ["view", "view", "add_to_cart", "purchase"]
    log = sample(
        "events", user=["u"] * 4, product_id=["1", "2", "1", "1"], event_time=["2024-03-01 12:00:00"] * 4, event=kinds
    )
    ((suggestion,), problems, _) = suggest([log])
    assert suggestion.table == "events"
    assert suggestion.kinds == {"impression": ("view",), "click": ("add_to_cart",), "order": ("purchase",)}
    assert suggestion.columns["request_id"].why == "no request id: what one user and day saw is one request"
    assert not problems


def test_a_view_is_the_click_where_impressions_are_logged():
    assert kinds_of(["impression", "page_view", "buy"]) == {
        "impression": ("impression",),
        "click": ("page_view",),
        "order": ("buy",),
    }
    assert kinds_of(["impression", "view", "click"]) == {"impression": ("impression",), "click": ("click",)}


def test_orders_of_a_file_of_their_own():
    orders = sample("bestellungen-2024", kunde=["u1"], artikel_nr=["1"], zeit=["1709294500"])
    (impressions, events), problems, _ = suggest([orders, wide()])
    assert (impressions.table, events.table) == ("impressions", "events")
    assert events.columns["event"].sql == "'order'"
    assert events.kinds == {"order": ("order",)}
    assert not problems


def test_items_with_a_category_path_and_an_id_of_their_own():
    numbers = range(120)
    items = sample(
        "artikel",
        sku=list(numbers),
        name=[f"Messer {n}" for n in numbers],
        kategorie=["Küche > Messer", "Bad > Tücher > Groß"] * 60,
        ean=[4000 + n for n in numbers],
        farbe=["rot", "blau"] * 60,
    )
    assert kind_of(items) == "items"
    (suggestion,) = suggest([items])[0]
    assert suggestion.columns["category"].sql == "nullif(trim(split_part(kategorie, ' > ', 1)), '')"
    assert set(suggestion.columns) == {"item_id", "title", "category", "category_2", "category_3"}
    assert set(suggestion.leave) == {"kategorie", "ean"}


def test_a_column_whose_name_means_something_else_in_the_log_is_left_out():
    ((suggestion,), _, _) = suggest([wide(stage=["a", "b", "c", "d"], day=["1", "2", "3", "4"])])
    assert {"stage", "day"} <= set(suggestion.leave)


def test_the_file_says_what_was_suggested():
    odd = {"a: b # c": ["1", "2", "1", "2"], "${HOME}": ["1", "2", "1", "2"], 'it\'s "odd"': ["1", "2", "1", "2"]}
    suggestions, _, _ = suggest([wide(**odd)])
    written = template.write(suggestions, "/some where/it's ${x} \\${y}\\", "mine.yaml")
    read = OmegaConf.to_container(OmegaConf.create(written), resolve=True)["data"]
    assert read == template.keys_of(suggestions, "/some where/it's ${x} \\${y}\\")
    assert "# by name: ranks begin at 0" in written


def test_values_of_any_kind_are_read_back():
    for value in (
        "no",
        "null",
        "1",
        "1.0",
        "~",
        "- x",
        "a: b",
        "# c",
        "'q'",
        "",
        "${oc.env:HOME}",
        "\\",
        "x\ny",
        "ä",
        "{a}",
        "[",
        "*",
    ):
        (loaded,) = OmegaConf.to_container(OmegaConf.create(f"[{template._scalar(value)}]"), resolve=True)
        assert loaded == value
    assert yaml.safe_load(template._scalar(value)) == value


def test_ids_that_lost_their_zeros_are_brought_together():
    mend = rewriting(["1", "23"], ["00001", "00023", "00111"])
    assert mend.why == "leading zeros were lost in the log"
    assert mend.log.sql == "lpad(CAST({0} AS VARCHAR), 5, '0')"
    assert mend.items.same
    assert (mend.before, mend.after) == (0.0, 1.0)


def test_other_ways_in_which_ids_differ():
    assert "7.0" in rewriting(["7.0", "8.0"], ["7", "12", "8"]).why
    assert "large and small" in rewriting(["abc ", "Def"], ["ABC", "DEF", "GH"]).why
    assert "letters" in rewriting(["12", "13"], ["SKU-12", "SKU-13", "SKU-7"]).why
    assert "leading zeros" in rewriting(["007", "012"], ["7", "12", "130"]).why


def test_ids_that_agree_or_that_nothing_mends():
    assert rewriting(["1", "2"], ["1", "2"]) is None
    assert rewriting(["1", "2"], ["a", "b"]) is None
    assert rewriting([], ["a"]) is None
    assert rewriting(["a1"], []) is None
    assert rewriting(["1"], ["a1", "b1", "c1"]) is None  # the number alone is no id of the items
