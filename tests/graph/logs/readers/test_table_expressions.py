"""SQL of a mapping: expressions of a table's columns, and nothing that reads, writes or asks for anything else."""

from __future__ import annotations

import re

import pytest

from graph.logs.readers.table.expressions import columns_of, is_select, problem_with, sql_of

COLUMNS = ["price", "query", "a b", 'c."d"', "Rank"]


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "price",
            "PRICE",
            "a b",
            '"a b"',
            'c."d"',
            "rank + 1",
            "price::VARCHAR",
            "price -- of a night",
            "/* c */ price",
        ),
        *("CASE WHEN price > 1 THEN 'a' END", "coalesce(price, 0)", "price BETWEEN 1 AND 2", "query LIKE '%a%'"),
        *("list_transform([1, 2], lambda x: x + price)", "[x for x in [1] if x > price]", "query[1:2]"),
        *("sum(price) OVER (PARTITION BY query ORDER BY rank)", "row_number() OVER ()", "strptime(query, '%d/%m/%Y')"),
        *(
            "try_cast(query AS INTEGER)",
            "epoch_ms(price)",
            "timezone('Europe/Berlin', query)",
            "split_part(query, '>', 1)",
        ),
    ],
)
def test_expressions_of_columns_pass(expression):
    assert problem_with(expression, COLUMNS) is None


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("price; DROP TABLE x", "no SQL expression"),
        ("price) FROM read_csv('x') --", "no SQL expression"),
        ("(SELECT 1)", "subquery"),
        ("price IN (SELECT y FROM read_csv('x'))", "subquery"),
        ("EXISTS (FROM 'x.csv')", "subquery"),
        ("read_text('x')", "calls read_text"),
        ("getenv('HOME')", "calls getenv"),
        ("current_setting('x')", "calls current_setting"),
        ("json_serialize_sql('x')", "calls json_serialize_sql"),
        ("main.upper(query)", "another schema"),
        ("random()", "calls random"),
        ("now()", "calls now"),
        ("sum(price)", r"OVER \(PARTITION BY request_id\)"),
        ("unnest([1])", "the key unnest"),
        ("uper(query)", "did you mean upper"),
        ("prise + 1", "did you mean 'price'"),
        ("x.price", "'x'"),
        ("*", "star"),
        ("?", "parameter"),
        ("", "empty"),
        ("-- nothing", "empty"),
        ("'open", "no SQL expression"),
    ],
)
def test_anything_else_is_refused_with_its_reason(expression, reason):
    assert re.search(reason, problem_with(expression, COLUMNS) or "")


def test_a_column_s_very_name_is_the_column():
    assert sql_of('c."d"', COLUMNS) == '"c.""d"""'
    assert sql_of("rank", COLUMNS) == '"Rank"'
    assert columns_of('upper("a b") || price', COLUMNS) == {"a b", "price"}


def test_a_select_is_told_from_a_name():
    assert [is_select(text) for text in ("SELECT 1", "FROM t", "t", "s.t", "SELECT 1; SELECT 2", "DROP TABLE t")] == [
        *(True, True, False, False, False, False)
    ]
