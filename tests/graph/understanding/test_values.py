"""How columns are read by their values: each reading against DuckDB, value by value."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pytest

from graph.understanding.values import Column, as_flag, as_id, as_number, as_rank, as_time, path_separator, separator_of


def column(*values, type="VARCHAR", name="x"):
    return Column(name, type, values)


def read(reading, of):
    """The values that a reading makes of a column, by DuckDB."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = ", ".join("(NULL)" if value is None else f"($v${value}$v$)" for value in of.values)
    scan = f'(SELECT CAST(raw AS {of.type}) AS "{of.name}" FROM (VALUES {rows}) AS t(raw))'
    cast = f"CAST({reading.sql} AS TIMESTAMP)" if "TIMESTAMP" in reading.sql or "time" in reading.sql else reading.sql
    return [value for (value,) in connection.sql(f"SELECT {cast} FROM {scan}").fetchall()]


NOON = datetime(2024, 3, 1, 12)


@pytest.mark.parametrize(
    ("value", "type"),
    [
        *[("1709294400", "VARCHAR"), ("1709294400", "BIGINT"), ("1709294400.0", "DOUBLE"), ("1709294400000", "BIGINT")],
        *[("1709294400000000", "VARCHAR"), ("1709294400000000000", "BIGINT")],
        *[
            ("2024-03-01T12:00:00Z", "VARCHAR"),
            ("2024-03-01 13:00:00+01:00", "VARCHAR"),
            ("2024-03-01 12:00", "VARCHAR"),
        ],
        *[("2024-03-01 12:00:00 UTC", "VARCHAR"), ("01.03.2024 12:00", "VARCHAR"), ("01.03.2024 12:00:00", "VARCHAR")],
        *[
            ("20240301120000", "VARCHAR"),
            ("01/Mar/2024:12:00:00 +0000", "VARCHAR"),
            ("2024-03-01 12:00:00", "TIMESTAMP"),
        ],
        *[("2024-03-01 12:00:00,000", "VARCHAR"), ("20240301120000", "BIGINT")],
    ],
)
def test_times_in_every_writing_are_one_moment(value, type):
    of = column(value, None, type=type)
    assert read(as_time(of), of) == [NOON, None]


def test_the_unit_of_an_epoch_is_said():
    assert as_time(column("1709294400000")).why == "milliseconds since 1970"


def test_day_and_month_are_told_apart_where_the_values_can():
    assert "%d/%m/%Y" in as_time(column("25/03/2024", "01/02/2024")).sql
    assert "%m/%d/%Y" in as_time(column("03/25/2024", "01/02/2024")).sql
    assert "cannot be told" in as_time(column("01/02/2024", "02/03/2024")).why


@pytest.mark.parametrize("values", [("12", "13"), ("rot",), (), (None, ""), ("1.5",), ("9999999999999999999999",)])
def test_no_times(values):
    assert as_time(column(*values)) is None


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        (("ja", "nein", None, ""), "VARCHAR", [True, False, False, False]),
        (("Y", "N", "y"), "VARCHAR", [True, False, True]),
        (("true", "false"), "BOOLEAN", [True, False]),
        (("1", "0", None), "BIGINT", [True, False, False]),
        (("1.0", "0.0"), "DOUBLE", [True, False]),
        (("0", "3", "17"), "BIGINT", [False, True, True]),
        (("2024-03-01 12:00", None, ""), "VARCHAR", [True, False, False]),
        (("nein", None), "VARCHAR", [False, False]),
    ],
)
def test_flags(values, type, expected):
    of = column(*values, type=type)
    assert read(as_flag(of), of) == expected


def test_flags_of_integers_stay_as_they_are():
    assert as_flag(column("0", "1", type="BIGINT")).sql == "x"


@pytest.mark.parametrize("values", [("rot", "blau"), ("-1", "5"), (None,)])
def test_no_flags(values):
    assert as_flag(column(*values)) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("0", "1", None), [1, 2, None]),
        (("1", "2"), [1, 2]),
        (("-1", "0", "4"), [None, 1, 5]),
        (("-1", "1"), [None, 1]),
        (("1.0", "2.0"), [1, 2]),
    ],
)
def test_ranks(values, expected):
    of = column(*values)
    assert read(as_rank(of), of) == expected


@pytest.mark.parametrize("values", [("0.5", "1.5"), ("a",), (), ("-7", "1"), ("1709294400",)])
def test_no_ranks(values):
    assert as_rank(column(*values)) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("12,50", "3"), [12.5, 3.0]),
        (("1.299,00 €", "5,00 €"), [1299.0, 5.0]),
        (("$1,299.00", "$5.50"), [1299.0, 5.5]),
        (("EUR 12.50", "EUR 3.00"), [12.5, 3.0]),
        (("1,234", "12,345"), [1234.0, 12345.0]),
        (("12.5", "3", None), [12.5, 3.0, None]),
    ],
)
def test_prices(values, expected):
    of = column(*values)
    assert read(as_number(of), of) == expected


@pytest.mark.parametrize("values", [("rot",), ("model 12 b",), (), ("1-2",), ("12:30",)])
def test_no_prices(values):
    assert as_number(column(*values)) is None


def test_ids():
    assert as_id(column("a", "b")).sql == "x"
    assert as_id(column("1.5", "2")) is None
    assert as_id(column("1", type="BIGINT[]")) is None
    assert read(as_id(column("7.0", "8.0", type="DOUBLE")), column("7.0", "8.0", type="DOUBLE")) == [7, 8]


@pytest.mark.parametrize(
    ("values", "type", "separator"),
    [
        (("1|2|3", "4|5", "6"), "VARCHAR", "|"),
        (("[1, 2]",), "BIGINT[]", ""),
        (("a1 b2", "c3 d4"), "VARCHAR", " "),
        (("red shoes", "blue shoes"), "VARCHAR", None),
        (("12", "13"), "VARCHAR", None),
        ((), "VARCHAR", None),
    ],
)
def test_lists(values, type, separator):
    assert separator_of(column(*values, type=type)) == separator


@pytest.mark.parametrize(
    ("values", "separator"),
    [
        (("Home > Kitchen", "Home > Bath > Towels"), " > "),
        (("electronics.audio.phone", "apparel.shoes"), "."),
        (("Damen/Schuhe", "Herren/Hosen"), "/"),
        (("red", "blue"), None),
        (("a >", "> b"), None),
        (("1.5", "2.5"), None),
        ((), None),
    ],
)
def test_paths(values, separator):
    assert path_separator(column(*values)) == separator


@pytest.mark.parametrize("name", ["order", "select", "in den Warenkorb", 'say "x"', "user", "Ünïcode", "a.b", "1st"])
def test_columns_of_any_name(name):
    of = Column(name, "VARCHAR", ("ja", "nein"))
    connection = duckdb.connect()
    connection.register("t", __import__("pyarrow").table({name: ["ja", "nein"]}))
    assert [v for (v,) in connection.sql(f"SELECT {as_flag(of).sql} FROM t").fetchall()] == [True, False]
