"""What the dashboard measures from predictions: attributes, calibration, gain curves, differing requests, its cache."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.schema import EvaluationConfig
from graph.figure import Figure
from graph.resampling import Resampler
from prerank.dashboard import figures as dashboard_figures
from prerank.dashboard.attributes import MOST_VALUES, attributes_of
from prerank.dashboard.budget import CUTS, MOST_BYTES, compact_json, within_budget
from prerank.dashboard.curves import GAIN_SHARES, calibration, gain_curve
from prerank.dashboard.details import details_content
from prerank.dashboard.figures import measure, read_split, system_details
from prerank.dashboard.page import dashboard_content, render
from prerank.dashboard.requests import FIRST, differing_requests
from prerank.evaluation.evaluation import Evaluation
from prerank.evaluation.measures import split_rows
from prerank.evaluation.measuring import EvaluationContext
from prerank.evaluation.metrics import gauc, standing
from prerank.evaluation.segments import SegmentSources

ATTACKS = (
    "</script><script>document.title = 'broken'</script>",
    '"><img src=x onerror="document.title = \'broken\'">',
    "javascript:alert(1)//${alert(2)}`",
    "line\nbreak ' \" \u2028 <!--<script>",
)
ITEMS = 40


def catalogue(titles: bool = True) -> pa.Table:
    places = range(ITEMS)
    columns = {
        "item_id": [f"id {ATTACKS[place % 4]} {place}" for place in places],
        "brand": [None if place == 3 else f"{ATTACKS[place % 4]} {place % 20}" for place in places],
        "category": [ATTACKS[place % 2] for place in places],
        "same": ["one"] * ITEMS,
        "price": pa.array([None if place == 5 else float(place) for place in places], pa.float32()),
    }
    if titles:
        columns["title"] = [f"{ATTACKS[place % 4]} thing {place}" for place in places]
    return pa.table(columns)


def predictions(noise: float, items: pa.Table, requests: int = 60, length: int = 15, seed: int = 0) -> pa.Table:
    """Test rows that are the same for every noise, scored by what decides clicks plus that much noise."""
    draw = np.random.default_rng(seed)
    item = np.argsort(draw.random((requests, ITEMS)), axis=1)[:, :length].ravel()
    utility = draw.normal(size=len(item))
    clicked = draw.random(len(item)) < 1 / (1 + np.exp(1.5 - 2 * utility))
    score = utility + noise * np.random.default_rng(1).normal(size=len(item))
    slot = np.tile(np.arange(length), requests)
    request = np.repeat(np.arange(requests), length)
    exposed = slot < length - 3
    return pa.table(
        {
            "split": ["test"] * len(item),
            "request": pa.array(request, pa.int32()),
            "request_id": [f"{ATTACKS[2]} {number}" for number in request],
            "user_id": request,
            "query": [ATTACKS[number % 4] for number in request],
            "item_id": items["item_id"].take(pa.array(item)),
            "item": pa.array(item, pa.int32()),
            "stage": np.where(exposed, "exposed", np.where(slot == length - 1, "random", "ranked")),
            "position": pa.array(np.where(slot == length - 1, np.inf, slot + 1), pa.float32()),
            "clicked": clicked & exposed,
            "ordered": clicked & exposed & (item % 3 == 0),
            "price": pa.array(item + 0.5, pa.float32()),
            "p_click": pa.array(1 / (1 + np.exp(1.5 - score)), pa.float32()),
            "score": pa.array(score, pa.float32()),
        }
    )


def context(**tasks_off: str) -> EvaluationContext:
    sources = SegmentSources(np.arange(ITEMS), None, None, pa.array([ATTACKS[0]] * 3 + [ATTACKS[1]]))
    return EvaluationContext(sources, (), EvaluationConfig(recall_at=[3, 10]), 0, tasks_off)


def attributes():
    return attributes_of(catalogue(), np.arange(ITEMS), context().sources.training_queries)[0]


@pytest.fixture
def measured(tmp_path):
    """Details of a good, a noisy and the same good system again."""
    found = {}
    for name, noise in (("good", 0.2), ("noisy", 2.0), ("again", 0.2)):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(predictions(noise, catalogue()), path)
        found[name] = measure(path, attributes(), context())
    return found


def test_attributes_are_the_columns_with_repeated_values_and_bands_of_price_and_query():
    items, impressions = catalogue(), np.arange(ITEMS)
    found, left_out = attributes_of(items, impressions, context().sources.training_queries)
    brand, category, price, query = found
    assert [each.name for each in found] == ["brand", "category", "price (fifths)", "query frequency"]
    assert left_out == {"same": "all items have the same value"}
    seen: dict[str, int] = {}
    for value, weight in zip(items["brand"].to_pylist(), impressions, strict=True):
        if value is not None:
            seen[value] = seen.get(value, 0) + int(weight)
    assert list(brand.values[:MOST_VALUES]) == sorted(seen, key=lambda value: -seen[value])[:MOST_VALUES]
    assert brand.values[MOST_VALUES:] == (f"other ({len(seen) - MOST_VALUES} values)", "no value")
    rows = pa.table({"item": pa.array(range(ITEMS), pa.int32()), "query": [ATTACKS[0], ATTACKS[1], "new", "new"] * 10})
    names = [brand.values[code] for code in brand.codes(rows)]
    for value, name in zip(items["brand"].to_pylist(), names, strict=True):
        expected = "no value" if value is None else value if value in brand.values else brand.values[MOST_VALUES]
        assert name == expected
    assert len(category.values) == 2
    assert price.values[price.codes(rows)[5]] == "no price"
    assert np.bincount(price.codes(rows)).max() <= 9  # 39 prices in fifths
    assert [query.values[code] for code in query.codes(rows)[:3]] == ["2–4", "1", "never asked"]


def test_an_items_table_of_ids_alone_has_no_attribute_but_the_query():
    found, left_out = attributes_of(pa.table({"item_id": [1, 2]}), np.zeros(2, np.int64), pa.array([], pa.string()))
    assert [each.name for each in found] == ["query frequency"]
    assert left_out == {"price": "items have no price"}
    assert found[0].codes(pa.table({"item": [0], "query": ["a"]})).tolist() == [0]


def test_a_cell_is_the_metric_of_the_rows_of_its_value(measured):
    part = predictions(0.2, catalogue())
    content = measured["good"].content
    names, cells = content["splits"]["test"]["metrics"], content["splits"]["test"]["cells"]
    assert "auc_order" not in names  # this system has no such head
    for place, attribute in enumerate(attributes()):
        codes = attribute.codes(part)
        exposed = np.array(part["stage"].to_pylist()) == "exposed"
        for value in range(len(attribute.values)):
            rows = (codes == value) & exposed
            columns = [part[name].to_numpy()[rows] for name in ("clicked", "score", "request")]
            cell = cells[place][value][names.index("gauc_click")]
            assert cell.value == pytest.approx(gauc(*columns)) if cell.value is not None else gauc(*columns) is None


def test_differences_are_paired_and_corrected_within_an_attribute(measured):
    details = details_content(measured, ["good"], {}, {}, None)
    against = details["differences"]["good"]
    assert set(against) == {"noisy", "again"}
    place = details["metrics"]["good"]["test"].index("gauc_click")
    for values in against["again"]["test"]:
        for cells in values:
            assert cells[place] is None or (cells[place][0] == 0 and cells[place][3] in (None, 1.0))
    category = [cells[place] for cells in against["noisy"]["test"][1]]
    assert all(value < 0 and low < value < high < 0 and p < 0.05 for value, low, high, p, *_ in category)
    tests = sum(known[place][4] is not None for parts in against.values() for known in parts["test"][1] if known[place])
    assert all(cell[6:] == [tests, -1 if cell[5] >= 100 else 0] for cell in category)


def test_calibration_against_a_loop():
    draw = np.random.default_rng(0)
    said = np.round(draw.random(3000), 2)  # ties
    label, cluster = draw.random(3000) < said, (np.arange(3000) % 300).astype(np.int32)
    found = calibration(label, said, cluster, Resampler(300, 50, 0), 0.95)
    assert sum(n for *_, n in found["bins"]) == 3000
    error, lower = 0.0, -1.0
    for mean, observed, low, high, n in found["bins"]:
        upper = np.sort(said[said > lower])[n - 1]
        rows = (said > lower) & (said <= upper)
        assert rows.sum() == n
        assert mean == pytest.approx(said[rows].mean())
        assert observed == pytest.approx(label[rows].mean())
        assert low <= observed <= high
        error, lower = error + abs(label[rows].mean() - said[rows].mean()) * n / 3000, upper
    assert found["ece"][0] == pytest.approx(error)
    assert 0.3 * found["by_chance"] < error < 3 * found["by_chance"]  # calibrated by construction
    off = calibration(label, said / 2, cluster, Resampler(300, 50, 0), 0.95)
    assert off["ece"][0] > 5 * off["by_chance"]
    assert calibration(label[:0], said[:0], cluster[:0], Resampler(300, 50, 0), 0.95) is None


def test_gain_curve_against_random_tie_breaking():
    draw = np.random.default_rng(0)
    request = np.repeat(np.arange(20), 10)
    score, positive = draw.integers(0, 4, 200).astype(np.float32), draw.random(200) < 0.2
    cells = gain_curve(positive, standing(request, score), request.astype(np.int32), Resampler(20, 20, 0), 0.95)
    left = np.zeros(len(GAIN_SHARES))
    for _ in range(2000):
        jitter = score + draw.random(200) * 0.5
        place = np.array([(jitter[request == r] > s).sum() for r, s in zip(request, jitter, strict=True)])
        left += [positive[place < share * 10].sum() / positive.sum() if share >= 0.1 else 0 for share in GAIN_SHARES]
    for share, cell, naive in zip(GAIN_SHARES, cells, left / 2000, strict=True):
        if share >= 0.1:
            assert cell[0] == pytest.approx(naive, abs=0.01)
        assert cell[1] <= cell[0] <= cell[2]
        assert cell[3] == positive.sum()
    assert gain_curve(positive & False, standing(request, score), request, Resampler(20, 20, 0), 0.95) is None


def test_what_was_measured_is_kept_until_the_predictions_change(tmp_path, monkeypatch, capsys):
    pq.write_table(predictions(0.2, catalogue()), tmp_path / "predictions.parquet")
    identity = {"system": "a", "predictions": "1"}
    first = system_details(tmp_path, identity, attributes(), context())
    calls = []
    monkeypatch.setattr(dashboard_figures, "measure", lambda *given: calls.append(given) or measure(*given))
    again = system_details(tmp_path, identity, attributes(), context())
    assert not calls
    assert again.content == first.content
    np.testing.assert_array_equal(again.draws["test"], first.draws["test"])
    (tmp_path / "dashboard" / "draws_test.npy").write_bytes(b"cut")
    system_details(tmp_path, identity, attributes(), context())
    assert len(calls) == 1
    assert "measured again" in capsys.readouterr().out
    system_details(tmp_path, {**identity, "predictions": "2"}, attributes(), context())
    assert len(calls) == 2


def test_a_large_split_is_sampled_by_whole_requests_alike_for_all_systems(tmp_path, monkeypatch):
    monkeypatch.setattr(dashboard_figures, "MOST_ROWS", 200)
    kept = []
    for name, noise in (("a", 0.1), ("b", 3.0)):
        pq.write_table(predictions(noise, catalogue()), tmp_path / name)
        part, requests = read_split(tmp_path / name, "test")
        assert requests == 60
        assert 100 < len(part) <= 200
        assert set(np.bincount(part["request"].to_numpy())) <= {0, 15}
        kept.append(part["item"].to_pylist())
    assert kept[0] == kept[1]


@pytest.mark.parametrize("titles", [True, False])
def test_the_requests_that_move_gauc_most_are_picked_with_all_three_orders(titles):
    items = catalogue(titles)
    part = predictions(0.0, items)
    rows = split_rows(part)
    turned = rows.score.copy()
    turned[rows.request == 7] *= -1
    found = differing_requests(part, rows, {"ple": rows.score, "turned": turned}, ["ple"], items, "test")
    [pair] = found["pairs"]
    assert (pair["a"], pair["b"]) == ("ple", "turned")
    assert not pair["picks"]["b_better"]
    [pick] = pair["picks"]["a_better"]
    assert pick["auc"][0] == pytest.approx(1 - pick["auc"][1])
    assert pair["picks"]["apart"][0]["request"] == pick["request"]
    assert pick["common"] == 6  # of 14 candidates the first ten and the last ten
    request = found["requests"][pick["request"]]
    assert request["candidates"] == 14
    for rank, system in ((rows.score, "ple"), (turned, "turned")):
        inside = np.flatnonzero((rows.request == 7) & ~rows.random)
        expected = sorted(1 + sum(rank[other] > rank[row] for other in inside) for row in inside)[:FIRST]
        assert sorted(request["ranks"][system])[:FIRST] == expected
    assert all((title.startswith("item id") is not titles) for title, *_ in found["items"])


def test_no_positions_no_clicks_no_titles_still_make_lists():
    items = pa.table({"item_id": range(ITEMS)})
    part = predictions(0.0, catalogue()).drop_columns(["price"])
    part = part.set_column(part.column_names.index("position"), "position", pa.nulls(len(part), pa.float32()))
    part = part.set_column(part.column_names.index("clicked"), "clicked", pa.array([False] * len(part)))
    rows = split_rows(part)
    found = differing_requests(part, rows, {"a": rows.score, "b": -rows.score}, ["a"], items, "test")
    assert not found["pairs"][0]["picks"]["a_better"]
    assert found["pairs"][0]["picks"]["apart"]
    assert all(request["ranked"] == 0 for request in found["requests"])


def test_a_page_that_is_too_large_gives_up_parts_out_loud(monkeypatch, measured, capsys):
    found = dict.fromkeys(["good", "noisy", *(f"system {number}" for number in range(5))], measured["good"])
    details = details_content(found, ["good", "noisy"], {}, {}, None)
    content = dashboard_content("demo", {}, details) | {"splits": ["test"], "baselines": ["good", "noisy"]}
    assert within_budget(content)["cut"] == []
    monkeypatch.setattr("prerank.dashboard.budget.MOST_BYTES", len(compact_json(content)) - 1000)
    smaller = within_budget(content)
    assert smaller["cut"] == [words for words, _ in CUTS[:2]]
    assert list(smaller["details"]["differences"]) == ["good"]
    assert "larger than 5 MB" in capsys.readouterr().out
    assert MOST_BYTES < 5_000_000


def attacked_page(measured) -> str:
    """A page whose every string is an attack."""
    items, part = catalogue(), predictions(0.2, catalogue())
    names = dict(zip((*ATTACKS[:2], "ple"), measured.values(), strict=True))
    scores = {name: details.scores["test"] for name, details in names.items()}
    requests = differing_requests(part, split_rows(part), scores, list(names), items, "test")
    details = details_content(names, list(names), {ATTACKS[3]: ATTACKS[0]}, {ATTACKS[2]: ATTACKS[1]}, requests)
    cell, none = Figure(0.5, 0.4, 0.6, 500), Figure.undefined(ATTACKS[0])
    segments = {"all": {"gauc_click": cell, "auc_click": none}, ATTACKS[1]: {"gauc_click": cell, "auc_click": none}}
    facts = {
        "rows": 1,
        "requests": 1,
        "segments": {n: {"definition": ATTACKS[0]} for n in segments},
        "unit": ATTACKS[2],
    }
    protocol = {
        "draws": 20, "confidence": 0.95, "interval": ATTACKS[0], "seed": 0, "ties": ATTACKS[1],
        "tasks_off": {"order": ATTACKS[2]}, "segments_left_out": {ATTACKS[3]: ATTACKS[0]},
        "splits": {"test": {**facts, "pairing": "x"}}, "bootstrap": [["test", n, "gauc_click"] for n in segments],
    }  # fmt: skip
    draws = np.random.default_rng(0).normal(0.5, 0.05, (2, 20)).astype(np.float32)
    evaluations = {name: Evaluation({"test": segments}, protocol, draws) for name in names}
    return render(dashboard_content(ATTACKS[0], evaluations, details))


@pytest.mark.parametrize("width", [1400, 400])
def test_every_control_works_and_no_string_runs(measured, open_page, tmp_path, width):
    path = tmp_path / "segments.html"
    path.write_text(attacked_page(measured), encoding="utf-8")
    page = open_page(path, width=width, dark=width == 400)
    title = page.title()
    for select in ("rows", "metric", "split", "baseline", "gain-task", "other", "kind"):
        options = page.locator(f"#{select} option").evaluate_all("all => all.map(each => each.value)")
        assert options
        for value in options:
            page.select_option(f"#{select}", value)
            assert page.locator("#table tbody tr").count() > 1
    page.select_option("#rows", "0")
    assert page.locator("#table tbody tr").count() == len(attributes()[0].values)
    assert page.locator("#table tbody th").first.text_content() in attributes()[0].values
    assert page.locator("#requests .list").count() >= 3
    for summary in page.locator("summary").all():
        summary.click()
    for box in page.locator("#systems input").all():
        box.uncheck()
    for box in page.locator("#systems input").all():
        box.check()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("a").count() == 0
    assert page.title() == title
    ticks = "([low, high, most]) => ticksBetween(low, high, most).map(([tick, text]) => [tick, text])"
    for scale in ([-6, 12, 8], [0, 1, 4], [0, 0.08, 4], [-30, 40, 8], [0.4, 0.7, 3]):
        assert all(
            float(text.replace("−", "-")) == pytest.approx(tick, abs=1e-9) for tick, text in page.evaluate(ticks, scale)
        )


def test_paper_is_light_says_what_was_chosen_and_unfolds(measured, open_page, tmp_path):
    path = tmp_path / "segments.html"
    path.write_text(attacked_page(measured), encoding="utf-8")
    page = open_page(path, dark=True)
    page.select_option("#rows", "1")
    folded = page.locator("details:not([open])").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    assert page.locator("form:visible").count() == 0
    assert page.locator("#controls + .note").inner_text().startswith("Shown: Rows: category · Metric: gauc_click")
    assert folded > 0 == page.locator("details:not([open])").count()
    assert page.locator("#plot svg").get_attribute("viewBox").startswith("0 0 700 ")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#controls + .note").count() == 0
    assert page.locator("details:not([open])").count() == folded
    assert not page.locator("#plot svg").get_attribute("viewBox").startswith("0 0 700 ")
