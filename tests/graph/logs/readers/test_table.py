"""``data=table``: small files as people have them, by a mapping, against known logs."""

from __future__ import annotations

import pytest

from configs.command import parse
from configs.errors import InputError
from graph.logs.prepare import prepare_log

NAMED = """
request_id: search
user_id: visitor
query: q
item_id: sku
timestamp: time
position: rank + 1
clicked: click
"""


def searches(count=6, items=("007", "12", "a")):
    """One search a day at 10:00 UTC, the first item clicked; ranks from 0."""
    header = "search,visitor,q,sku,time,rank,click"
    rows = [
        f"s{n},u{n % 2},red shoes,{item},2024-03-{n + 1:02} 10:00:00,{rank},{int(rank == 0)}"
        for n in range(count)
        for rank, item in enumerate(items)
    ]
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def read(tmp_path):
    """Write files and a mapping (YAML below ``data.table``), read them, return the log and its rows."""

    def run(files, mapping, *overrides):
        for name, content in files.items():
            path = tmp_path / "logs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        lines = "\n".join("    " + line for line in mapping.splitlines())
        mine = tmp_path / "mine.yaml"
        mine.write_text(f"data:\n  name: table\n  path: {tmp_path / 'logs'}\n  table:\n{lines}\n")
        arguments = ["run=r", f"runs_folder={tmp_path / 'runs'}", "overwrite=true", "--config", str(mine), *overrides]
        log = prepare_log(parse(arguments, remember=False))
        return log, {(row["request_id"], row["item_id"]): row for row in log.dataset().to_table().to_pylist()}

    return run


def below(section, text, **keys):
    """YAML of a section with its columns."""
    columns = "\n".join(f"    {line}" for line in text.strip().splitlines())
    others = "\n".join(f"  {key}: {value}" for key, value in keys.items())
    return f"{section}:\n  columns:\n{columns}\n{others}\n"


def test_a_wide_csv_is_mapped(read):
    log, rows = read({"a.csv": searches()}, below("impressions", NAMED))
    assert len(rows) == 18
    row = rows["s0", "007"]
    assert (row["user_id"], row["query"], row["position"], row["clicked"]) == ("u0", "red shoes", 1, True)
    assert row["timestamp"].isoformat() == "2024-03-01T10:00:00+00:00"
    assert log.facts["accounts"]["impressions"]["read"] == 18
    assert log.items()["item_id"].to_pylist() == ["007", "12", "a"]


def test_all_problems_of_a_mapping_are_told_at_once(read):
    bad = """
request_id: serch
query: q
item_id: sku
timestamp: to_timestamp(
position: upper(rank) + 1
other: (SELECT 1)
"""
    with pytest.raises(InputError) as error:
        read({"a.csv": searches()}, below("impressions", bad, where="clik = 1", leave="[nothing]"))
    message = str(error.value)
    for part in ("did you mean 'search'", "columns.timestamp", "columns.position", "subquery", "'clik'", "'nothing'"):
        assert part in message
    assert "lacks user_id, clicked (did you mean 'click'?)" in message
