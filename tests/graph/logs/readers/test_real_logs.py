"""Both public sets, read as they were published. Nothing of them is copied here."""

from __future__ import annotations

import duckdb
import pytest

from configs.command import parse
from graph.logs.log import impressions_pattern
from graph.logs.prepare import prepare_log

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def trivago(shared_data, tmp_path_factory):
    path = shared_data / "trivago_recsys2019" / "train.parquet"
    folder = tmp_path_factory.mktemp("trivago")
    log = prepare_log(parse(["data=trivago", f"data.path={path}", f"runs_folder={folder}"], remember=False))
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW impressions AS SELECT * FROM "
        f"read_parquet('{impressions_pattern(log.folder)}', hive_partitioning = true)"
    )
    connection.execute(f"CREATE VIEW items AS SELECT * FROM '{log.folder / 'items.parquet'}'")
    connection.execute(
        "CREATE VIEW events AS SELECT *, user_id || '/' || session_id AS session, "
        f"TRY_CAST(reference AS BIGINT) AS item FROM '{path}'"
    )
    return log, connection


@pytest.fixture(scope="module")
def expedia(shared_data, tmp_path_factory):
    path = shared_data / "expedia_icdm2013" / "train.csv.gz"
    folder = tmp_path_factory.mktemp("expedia")
    return prepare_log(parse(["data=expedia", f"data.path={path}", f"runs_folder={folder}"], remember=False))


def value(connection, query):
    return connection.sql(query).fetchall()[0][0]


def test_trivago_every_clickout_is_a_request(trivago):
    log, _ = trivago
    facts = log.facts
    assert facts["requests"] == 11_057
    assert facts["rejected"] == {}
    assert facts["longest_list"] == 25
    assert sum(split["clicks"] for split in facts["splits"].values()) == 11_056
    shares = [facts["splits"][name]["requests"] / 11_057 for name in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.002)


def test_trivago_sessions_are_whole_and_in_order_of_their_start(trivago):
    _, connection = trivago
    assert (
        value(
            connection,
            "SELECT max(splits) FROM (SELECT count(DISTINCT split) AS splits FROM impressions GROUP BY session_id)",
        )
        == 1
    )
    starts = connection.sql(
        "SELECT split, epoch_ms(min(start)), epoch_ms(max(start)) FROM (SELECT split, min(timestamp) AS start "
        "FROM impressions GROUP BY split, session_id) GROUP BY split"
    ).fetchall()
    first = {split: low for split, low, _ in starts}
    last = {split: high for split, _, high in starts}
    assert last["train"] <= first["validation"]
    assert last["validation"] <= first["test"]


def test_trivago_history_holds_only_what_was_earlier_in_the_session(trivago):
    _, connection = trivago
    later = """
        WITH h AS (SELECT DISTINCT request_id, session_id, timestamp, unnest(history) AS item FROM impressions)
        SELECT count(*) FROM h WHERE NOT EXISTS (
            SELECT 1 FROM events AS e
            WHERE e.session = h.session_id AND e.item = h.item AND e.timestamp <= epoch(h.timestamp))
    """
    assert value(connection, later) == 0
    untouched = "SELECT count(*) FROM impressions WHERE (touch_count > 0) <> (touch_recency IS NOT NULL)"
    assert value(connection, untouched) == 0
    outside = "SELECT count(*) FROM impressions WHERE touch_count > 0 AND NOT list_contains(history, item_id)"
    assert value(connection, f"{outside} AND len(history) < 50") == 0
    assert value(connection, "SELECT count(*) FROM impressions WHERE touch_recency < 1 OR seconds_since_touch < 0") == 0
    first_steps = "SELECT count(*) FROM impressions WHERE session_step = 1 AND (touch_count > 0 OR history <> [])"
    assert value(connection, first_steps) == 0


def test_trivago_every_listed_or_touched_item_is_in_the_catalogue(trivago):
    _, connection = trivago
    assert value(connection, "SELECT count(*) FROM impressions WHERE item_id NOT IN (SELECT item_id FROM items)") == 0
    touched = "SELECT DISTINCT unnest(history) AS item FROM impressions"
    assert value(connection, f"SELECT count(*) FROM ({touched}) WHERE item NOT IN (SELECT item_id FROM items)") == 0


def test_trivago_recency_of_the_touched_item_is_the_strongest_feature(trivago):
    _, connection = trivago
    top = "SELECT avg(CAST(clicked AS INTEGER)) FROM impressions WHERE touch_rank = 1 AND split = 'train'"
    assert value(connection, top) > 0.3
    others = "SELECT avg(CAST(clicked AS INTEGER)) FROM impressions WHERE touch_rank IS NULL AND split = 'train'"
    assert value(connection, others) < 0.04


def test_expedia_counts_and_traps(expedia):
    facts = expedia.facts
    assert (facts["rows"], facts["requests"], facts["items"]) == (25_149, 1_000, 18_045)
    assert sum(split["clicks"] for split in facts["splits"].values()) == 1_110
    assert sum(split["orders"] for split in facts["splits"].values()) == 673
    assert facts["split_by"] == "day"
    days = [day for split in facts["splits"].values() for day in split["days"]]
    assert days == sorted(set(days))
    table = expedia.dataset().to_table(columns=["position", "random_bool", "price"]).to_pydict()
    unknown = [position is None for position in table["position"]]
    assert unknown == [random == 1 for random in table["random_bool"]]
    assert sum(unknown) == 8_104
    assert max(price for price in table["price"] if price is not None) <= 10_000
