"""Rows read = rows kept + rows rejected + rows left out, and a command that loses one says so."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError
from graph.logs import prepare as prepare_module
from graph.logs.accounting import Account, require_equal
from graph.logs.contract import REJECTED_SCHEMA
from graph.logs.readers import contract


def test_an_account_that_does_not_add_up_names_its_numbers():
    Account(10, 6, 1, {"views only": 3}).require("here")
    with pytest.raises(InputError, match=r"here: 1,010 rows read = 6 kept \+ 1 rejected \+ 3 left out \(views only\)"):
        Account(1010, 6, 1, {"views only": 3}).require("here")
    with pytest.raises(InputError, match="there: 5 rows were expected and 4 are accounted for"):
        require_equal(5, 4, "there")


def test_log_json_and_one_line_say_what_became_of_every_row(prepare, good_rows, capsys):
    good_rows[3]["price"] = -1.0
    days = ["data.split.train=[2024-01-01]", "data.split.validation=[2024-01-02]", "data.split.test=[2024-01-03]"]
    log = prepare(good_rows, "data.rejected_share=0.5", *days)
    assert log.facts["accounts"]["impressions"] == {"read": 72, "kept": 71, "rejected": 1, "left_out": {}}
    assert log.facts["accounts"]["items"] == {"read": 30, "kept": 30, "rejected": 0, "left_out": {}}
    assert "impressions: 72 rows read = 71 kept + 1 rejected\n" in capsys.readouterr().out


def test_days_in_no_split_are_counted_as_left_out(prepare, rows_of, capsys):
    rows = rows_of([f"2024-01-0{day}" for day in range(1, 5)])
    days = ["data.split.train=[2024-01-01]", "data.split.validation=[2024-01-02]", "data.split.test=[2024-01-04]"]
    log = prepare(rows, *days)
    assert log.facts["accounts"]["impressions"]["left_out"] == {"their day is in no split": 24}
    printed = " ".join(capsys.readouterr().out.split())
    assert "96 rows read = 72 kept + 0 rejected + 24 left out (their day is in no split)" in printed


@pytest.fixture
def reading_as(monkeypatch, tmp_path):
    """The contract reader, saying more about what it read; two rows were rejected by it."""

    def change(**said):
        path, bad = tmp_path / "before.parquet", {"source": "a.csv", "row": 0, "reason": "no list", "content": "{}"}
        pq.write_table(pa.Table.from_pylist([bad, bad], REJECTED_SCHEMA), path)

        def read(data, seed, folder):
            return dataclasses.replace(contract.read(data, seed, folder), rejected=path, **said)

        monkeypatch.setattr(prepare_module, "reader", lambda _: read)

    return change


def test_what_a_reader_leaves_out_is_part_of_the_account(prepare, good_rows, reading_as):
    reading_as(left_out={"of another kind": 5}, read=72 + 2 + 5)
    log = prepare(good_rows, "data.rejected_share=0.5")
    account = {"read": 79, "kept": 72, "rejected": 2, "left_out": {"of another kind": 5}}
    assert log.facts["accounts"]["impressions"] == account


def test_a_reader_that_loses_a_row_stops_the_command(prepare, good_rows, reading_as):
    reading_as(left_out={"of another kind": 5}, read=80)
    with pytest.raises(
        InputError, match=r"the reader of .*impressions: 80 rows read = 72 kept \+ 2 rejected \+ 5 left"
    ):
        prepare(good_rows, "data.rejected_share=0.5")


def test_a_row_lost_in_writing_stops_the_command(prepare, good_rows, monkeypatch):
    written = prepare_module._write_impressions

    def lose(connection, *arguments):
        written(connection, *arguments)
        file = next(arguments[-1].glob("*/*.parquet"))
        pq.write_table(pq.read_table(file, partitioning=None).slice(1), file)

    monkeypatch.setattr(prepare_module, "_write_impressions", lose)
    with pytest.raises(InputError, match=r"writing .*impressions: 72 rows were expected and 71 are accounted for"):
        prepare(good_rows)
