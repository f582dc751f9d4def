"""The published samples of JDsearch, AliExpress and Ali-CCP, read as they are. Nothing of them is copied here."""

from __future__ import annotations

import pytest

from graph.logs.prepare import prepare_log

pytestmark = pytest.mark.realdata


@pytest.fixture
def read(shared_data, tmp_path, request_for):
    def run(name, folder):
        if not (shared_data / folder).is_dir():
            pytest.skip(f"the published sample is absent: {shared_data / folder} does not exist")
        log = prepare_log(request_for(tmp_path / "runs" / name, name, shared_data / folder))
        return log.facts, log.dataset().to_table().to_pylist()

    return run


def test_jdsearch_three_users(read):
    facts, rows = read("jdsearch", "jdsearch_sample")
    assert facts["rejected"] == {}
    assert facts["stages"] == {"exposed": 90 + 89 + 83, "recalled": 94}
    assert (facts["users"], facts["items"]) == (3, 421)
    assert sum(row["clicked"] for row in rows if row["stage"] == "exposed") == 5
    assert [facts["splits"][name]["requests"] for name in ("validation", "test")] == [1, 1]
    assert all("\x18" not in row["query"] for row in rows)
    assert {row["past_touches"] for row in rows if row["stage"] == "exposed"} == {182, 46, 2}


def test_aliexpress_user_columns_are_those_of_the_search(read):
    facts, rows = read("aliexpress", "aliexpress_sample")
    assert facts["rejected"] == {}
    assert (facts["rows"], facts["requests"]) == (120, 41 + 10)
    assert facts["splits"]["test"]["rows"] == 20
    assert (sum(row["clicked"] for row in rows), sum(row["ordered"] for row in rows)) == (60 + 10, 4)


def test_aliccp_joined_tables(read):
    facts, rows = read("aliccp", "aliexpress_sample")
    assert facts["rejected"] == {}
    assert [facts["splits"][name]["rows"] for name in ("train", "validation", "test")] == [100, 50, 50]
    assert facts["users"] == 3
    assert (sum(row["clicked"] for row in rows), sum(row["ordered"] for row in rows)) == (12, 3)
