"""``data=table``: files of every kind, whole and damaged, and what is said of them."""

from __future__ import annotations

import gzip

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import InputError

HEADER = "request_id,user_id,query,item_id,timestamp,clicked,position,price\n"
PLAIN = "impressions: {}"


def line(item="7", query="x", timestamp="2024-03-01 10:00:00", clicked="1", price="1.5"):
    return f"r,u,{query},{item},{timestamp},{clicked},1,{price}\n"


def options(text):
    return f"impressions: {{options: {text}}}"


def test_csv_files_are_read_as_they_are_written(read_row):
    semicolons = (HEADER + line(price="@")).replace(",", ";").replace("@", "1,5")
    files = {
        "bom.csv": (b"\xef\xbb\xbf" + (HEADER + line()).encode(), PLAIN),
        "crlf.csv": ((HEADER + line()).replace("\n", "\r\n"), PLAIN),
        "tab.tsv": ((HEADER + line()).replace(",", "\t"), PLAIN),
        "comma.csv": (semicolons, options("{decimal_separator: ','}")),
        "packed.csv.gz": (gzip.compress((HEADER + line()).encode()), PLAIN),
        "bare.csv": (line(), options(f"{{header: false, names: [{HEADER.strip()}]}}")),
        "skipped.csv": ("made by x\n\n" + HEADER + "# no row\n" + line(), options("{skip: 2, comment: '#'}")),
    }
    for name, (content, mapping) in files.items():
        row = read_row({name: content}, mapping.replace("impressions: {", f"impressions: {{files: [{name}], "))
        assert (row["query"], row["price"], row["clicked"], row["position"]) == ("x", 1.5, True, 1), name


@pytest.mark.parametrize(("encoding", "query"), [("latin-1", "café"), ("cp1252", "5 €"), ("utf-16", "鞋 👟")])
def test_another_encoding_is_said_and_read(read_table, encoding, query):
    content = (HEADER + line(query=query)).encode(encoding)
    with pytest.raises(InputError, match=r"is not utf-8 .*: say options\.encoding, e\.g\. latin-1"):
        read_table({"a.csv": content}, PLAIN)
    assert read_table({"a.csv": content}, options(f"{{encoding: {encoding}}}"))[1]["r", 7]["query"] == query


def test_lines_that_are_no_rows_are_rejected_with_the_reason(read_table):
    query = '"say ""hi"", all"'
    second = line(item='"a\nb"', query=query).replace(",1,1.5", ",2,1.5")
    broken = HEADER + line(query=query) + "r,u\n" + second + line().strip() + ",9,9\n"
    late = (HEADER + line() * 30_000).encode() + line(query="caf\xe9").encode("latin-1")
    log, rows = read_table({"a.csv": broken}, PLAIN, "data.rejected_share=0.9")
    assert log.facts["rejected"] == {
        "the line has fewer fields than the header": 1,
        "the line has more fields than the header": 1,
    }
    assert {key: row["query"] for key, row in rows.items()} == {
        ("r", "7"): 'say "hi", all',
        ("r", "a\nb"): 'say "hi", all',
    }
    log, _ = read_table({"a.csv": late}, PLAIN, "data.rejected_share=1")
    (reason,) = [reason for reason in log.facts["rejected"] if "UTF-8" in reason]
    assert "options.encoding" in reason


@pytest.mark.parametrize(
    ("files", "mapping", "expected"),
    [
        ({"a.csv": ""}, PLAIN, "a.csv is empty"),
        ({"a.csv": HEADER}, PLAIN, "has no rows below its header"),
        ({"a.csv": HEADER.replace("price", "Query") + line()}, PLAIN, "the header names query, Query more than once"),
        ({"a.csv": HEADER + line() + 'r,u,"x\n' + line()}, PLAIN, r"line 3: a quote is opened and not closed"),
        ({"a.csv.gz": HEADER}, PLAIN, "damaged or was cut off"),
        ({"a.csv.gz": gzip.compress(HEADER.encode() * 999)[:90]}, PLAIN, "Unexpected end of GZIP"),
        ({"a.jsonl.gz": b"no"}, PLAIN, "cannot be unpacked"),
        ({"a.json": '[{"a": 1},\n'}, PLAIN, r"begins with \[ and does not end with \]"),
        ({"a.jsonl": "1\n"}, PLAIN, "holds no JSON object"),
        ({"a.parquet": b"PAR1"}, PLAIN, "is not a whole Parquet file"),
        ({"a.csv": HEADER, "b.jsonl": "{}"}, PLAIN, "files of one format"),
        ({"readme.md": ""}, PLAIN, "matches nothing"),
        (
            {"a.csv": HEADER},
            "impressions: {files: ['*.parquet', b.csv]}",
            r"(?s)2 things.*\*\.parquet.*which holds a.csv",
        ),
        ({"a.csv": HEADER}, options("{delimiter: x, skip: -1, quote: abc}"), "(?s)3 things.*did you mean 'delim'"),
        ({"a.csv": HEADER}, options("{encoding: klingon}"), "options.encoding='klingon' is unknown"),
        ({"a.csv": HEADER}, "impressions: {database: x.duckdb, table: t}", "is no file"),
        ({"a.csv": HEADER}, "impressions: {files: [a.csv], database: x}", "(?s)2 things.*not both.*go together"),
    ],
)
def test_files_that_cannot_be_read_are_refused_in_words(read_table, files, mapping, expected):
    with pytest.raises(InputError, match=expected):
        read_table(files, mapping)


def test_folders_may_have_any_name(read_table):
    folder = "lo gs[1]'#/day=2023-01-01"
    mapping = 'impressions: {files: ["lo gs[1]\'#"]}'
    log, rows = read_table({f"{folder}/a 'b'[x]#*.csv": HEADER + line()}, mapping)
    assert list(rows) == [("r", 7)]
    assert "day=2023-01-01" not in str(log.facts["columns"])


def test_values_become_what_the_contract_expects(read_row):
    def value(column, **values):
        return read_row({"a.csv": HEADER + line(**values)}, PLAIN)[column]

    times = ("1709287200", "1709287200000", "1709287200000000", "2024-03-01T10:00:00Z", "2024-03-01 12:00:00+02:00")
    assert {value("timestamp", timestamp=text).isoformat() for text in times} == {"2024-03-01T10:00:00"}
    assert value("timestamp", timestamp="2024-03-01").isoformat() == "2024-03-01T00:00:00"
    assert [value("item_id", item=text) for text in ("12", "012", "1E5", "18446744073709551616")] == [
        *(12, "012", "1E5", "18446744073709551616")
    ]
    assert [value("clicked", clicked=text) for text in ("yes", "FALSE", "0", "t")] == [True, False, False, True]
    assert value("query", query="") == ""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"timestamp": "31/03/2024 10:00"}, r"1 of 1 values are not a time, e\.g\. '31/03/2024 10:00'; write strptime"),
        ({"timestamp": "12"}, "no seconds, milliseconds or microseconds since 1970"),
        ({"clicked": "3"}, "not true or false, e.g. '3'; write a condition"),
        ({"price": "12 EUR"}, "not a number, e.g. '12 EUR'"),
        ({"timestamp": "never"}, "not a time"),
    ],
)
def test_values_that_are_no_such_thing_are_refused_with_the_remedy(read_table, values, expected):
    with pytest.raises(InputError, match=expected):
        read_table({"a.csv": HEADER + line(**values)}, PLAIN)


def test_ids_are_of_one_type_in_all_tables(read_table):
    items = "sku,category\n7,a\nX9,b\n"
    mapping = "impressions: {files: [a.csv]}\nitems: {files: [items.csv], columns: {item_id: sku}}"
    log, rows = read_table({"a.csv": HEADER + line(), "items.csv": items}, mapping)
    assert list(rows) == [("r", "7")]
    assert log.items().to_pylist() == [{"item_id": "7", "category": "a"}, {"item_id": "X9", "category": "b"}]


def test_a_table_of_a_duckdb_file_is_only_read_and_reaches_nothing_else(read_table, tmp_path):
    place = tmp_path / "shop.duckdb"
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with duckdb.connect(str(place)) as connection:
        connection.execute(
            "CREATE SCHEMA s; CREATE TABLE s.log AS SELECT 'r' AS request_id, 1 AS user_id, 'q' AS query, "
            "7 AS item_id, TIMESTAMPTZ '2024-03-01 10:00:00+01' AS timestamp, true AS clicked, uuid() AS own"
        )
    before = place.read_bytes()

    def mapping(table):
        return f'impressions: {{database: {place}, table: "{table}"}}'

    for table in ("s.log", "SELECT * FROM s.log WHERE item_id = 7"):
        assert read_table({}, mapping(table))[1]["r", 7]["timestamp"].isoformat() == "2024-03-01T09:00:00+00:00"
    for table in (
        f"SELECT * FROM '{tmp_path}/secret.csv'",
        f"FROM read_csv('{tmp_path}/secret.csv')",
        "DROP TABLE s.log",
    ):
        with pytest.raises(InputError, match=r"cannot be read from .*; its tables are s\.log"):
            read_table({}, mapping(table))
    assert place.read_bytes() == before


def test_lists_of_parquet_are_taken_apart(read_table, tmp_path):
    hits = [{"id": 5, "clicked": True}, {"id": 6, "clicked": False}]
    columns = {"request_id": ["r"], "user_id": [1], "query": ["q"], "timestamp": [1709287200], "hits": [hits]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    mapping = (
        f"impressions:\n  files: [{tmp_path}/a.parquet]\n  unnest: [hits]\n"
        "  columns: {item_id: hits.id, clicked: hits.clicked, position: ordinal}"
    )
    _, rows = read_table({}, mapping)
    assert {key: (row["position"], row["clicked"]) for key, row in rows.items()} == {
        ("r", 5): (1, True),
        ("r", 6): (2, False),
    }
