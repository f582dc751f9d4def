"""Mappings of the public sets make the log that the sets' own readers make. Nothing of them is copied here."""

from __future__ import annotations

import duckdb
import pytest

from configs.command import parse
from graph.logs.readers import reader

pytestmark = pytest.mark.realdata

TRIVAGO = """
impressions:
  where: action_type = 'clickout item'
  unnest: [impressions, prices]
  separator: '|'
  columns:
    request_id: user_id || '/' || session_id || '/' || step
    session_id: user_id || '/' || session_id
    query: concat_ws(' | ', city, current_filters)
    item_id: CAST(impressions AS BIGINT)
    position: ordinal
    price: prices
    clicked: impressions = reference
items:
  columns: {city: city}
"""
EXPEDIA = """
impressions:
  options: {nullstr: ['', 'NULL']}
  columns:
    request_id: srch_id
    user_id: srch_id
    query: concat('destination ', srch_destination_id)
    item_id: prop_id
    timestamp: date_time
    position: CASE WHEN random_bool = 0 THEN position END
    price: CASE WHEN price_usd > 0 AND price_usd <= 10000 THEN price_usd END
    clicked: click_bool
    ordered: booking_bool
items:
  columns: {stars: "CASE WHEN prop_starrating > 0 THEN prop_starrating || ' stars' END", listed_at: date_time}
"""
COUNTED = """
    SELECT count(*), count(DISTINCT request_id), sum(clicked::INT), sum(ordered::INT), count(position), sum(position),
        count(price), round(sum(price)), count(DISTINCT item_id), count(DISTINCT user_id), count(DISTINCT session_id),
        CAST(min(timestamp) AS VARCHAR), CAST(max(timestamp) AS VARCHAR), sum(position * item_id * (1 + clicked::INT))
    FROM read_parquet('{}/*/*.parquet', union_by_name = true, hive_partitioning = false)
"""


@pytest.fixture
def read(shared_data, tmp_path):
    def run(name, path, mapping=""):
        if not (shared_data / path).exists():
            pytest.skip(f"the published set is absent: {shared_data / path} does not exist")
        mine = tmp_path / "mine.yaml"
        table = "".join(f"    {line}\n" for line in mapping.splitlines())
        mine.write_text(
            f"data:\n  name: {name}\n  path: {shared_data / path}\n" + (f"  table:\n{table}" if table else "")
        )
        data = parse(["--config", str(mine)], remember=False).config.data
        return reader(name)(data, 0, tmp_path / f"of_{name}")

    return run


def counted(raw, *missing):
    columns = "".join(f", NULL AS {column}" for column in missing)
    query = COUNTED.replace("FROM read_parquet", f"FROM (SELECT *{columns} FROM read_parquet") + ")"
    return duckdb.sql(query.format(raw.impressions)).fetchall()


def test_trivago_nested_in_lists_of_text(read):
    own = read("trivago", "trivago_recsys2019/train.parquet")
    mine = read("table", "trivago_recsys2019/train.parquet", TRIVAGO)
    assert counted(mine, "ordered") == counted(own, "ordered")
    assert counted(mine, "ordered")[0][:3] == (254_378, 11_057, 11_056)
    assert mine.read == 254_378 + sum(mine.left_out.values())
    assert mine.left_out == {"where of impressions does not hold": 68_738}


def test_expedia_wide(read):
    own = read("expedia", "expedia_icdm2013/train.csv.gz")
    mine = read("table", "expedia_icdm2013/train.csv.gz", EXPEDIA)
    assert counted(mine, "session_id") == counted(own, "session_id")
    items = "SELECT item_id, stars, CAST(listed_at AS VARCHAR) FROM '{}' ORDER BY ALL"
    assert duckdb.sql(items.format(mine.items)).fetchall() == duckdb.sql(items.format(own.items)).fetchall()
    assert (mine.read, mine.left_out) == (25_149, {})
