"""What a person should know of a checked log before a model learns from it, told by the log whatever its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import duckdb

from graph.logs.contract import IMPRESSION_COLUMNS
from graph.logs.database import name, text
from graph.logs.log import SearchLog, impressions_pattern
from graph.understanding.names import is_outcome
from graph.understanding.values import Column, path_separator

ROWS = 1_000_000
"""Rows of the log that its columns are judged by."""
NEARLY_ALL, NEARLY_NONE = 0.95, 0.005
LEAK = 0.9
"""Correlation with the click above which a column says what happened, not what was known before."""
NUMBERS = ("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE")
MOST_VALUES, TOGETHER = 8, 100
"""Values of a text column that are looked at one by one, and columns that are looked at in one query."""
FEWEST = 50
"""Rows below which shares mean little."""
FEWEST_RANKED = 2
"""Items of a list that has an order."""
OLDEST = datetime(2000, 1, 1)
CONTRACT = {column.name for column in IMPRESSION_COLUMNS} | {"split", "day"}


class Judge:
    """Questions put to a checked log."""

    def __init__(self, log: SearchLog) -> None:
        self.log = log
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        rows = f"read_parquet({text(impressions_pattern(log.folder))}, hive_partitioning = true)"
        self.connection.execute(f"CREATE VIEW every AS SELECT * FROM {rows}")
        self.connection.execute(f"CREATE TABLE rows AS SELECT * FROM every LIMIT {ROWS}")
        self.tables = {"items": "item_id"}
        self.tables |= {t: key for t, key in (("users", "user_id"), ("queries", "query")) if self._has(t)}
        for called in self.tables:
            file = text(str(log.folder / f"{called}.parquet"))
            self.connection.execute(f"CREATE VIEW {called} AS SELECT * FROM read_parquet({file})")

    def _has(self, called: str) -> bool:
        return (self.log.folder / f"{called}.parquet").exists()

    def values(self, query: str) -> tuple[object, ...]:
        """The first row that a query answers with."""
        return self.connection.sql(query).fetchall()[0]

    def columns(self, of: str) -> dict[str, str]:
        """Column → type."""
        return {column: type_ for column, type_, *_ in self.connection.sql(f"DESCRIBE {of}").fetchall()}

    def first(self, of: str, column: str) -> Column:
        """The first values of a column."""
        rows = self.connection.sql(f"SELECT CAST({name(column)} AS VARCHAR) FROM {of} LIMIT 5000").fetchall()
        return Column(column, self.columns(of)[column], tuple(value for (value,) in rows))


def unseen(judge: Judge) -> list[tuple[str, int, float]]:
    """For users, queries and items: test values that training never saw, and their share of the test's rows."""
    shares = []
    for column in ("user_id", "query", "item_id"):
        new, share = judge.values(
            f"WITH known AS (SELECT DISTINCT {column} AS value FROM every WHERE split = 'train') "
            f"SELECT count(DISTINCT {column}) FILTER (known.value IS NULL), avg(CAST(known.value IS NULL AS DOUBLE)) "
            f"FROM every LEFT JOIN known ON known.value = {column} WHERE split = 'test'"
        )
        shares.append((column, int(str(new)), float(str(share or 0.0))))
    return shares


def advice(judge: Judge, cutoffs: Sequence[int]) -> list[str]:
    """Sentences, each of a column or a property of the log, with what to do; ``cutoffs``: ``data.cutoffs``."""
    parts = (_of_requests, _of_times, _of_ids, _of_attributes, _of_outcomes, _of_labels)
    sentences = [sentence for part in parts for sentence in part(judge)]
    longest = int(judge.log.facts["longest_list"])
    if (lower := lower_cutoffs(longest, cutoffs)) is not None:
        sentences.append(
            f"data.cutoffs: no ranked list has more than {longest} items, so that all rows are among the first k for "
            f"each k of {list(cutoffs)} and nothing can be learnt of the order: data.cutoffs={lower}"
        )
    return sentences


def lower_cutoffs(longest: int, cutoffs: Sequence[int]) -> list[int] | None:
    """Cutoffs that tell the rows of ranked lists apart, where those that there are do not.

    Args:
        longest: items of the longest ranked list.
        cutoffs: k of eq. 6.

    Returns:
        Of a tenth, a quarter and half of the longest list those that are different; None where nothing is to be done.
    """
    if longest < FEWEST_RANKED or min(cutoffs) < longest:
        return None
    return sorted({max(1, longest // part) for part in (10, 4, 2)})


def _of_requests(judge: Judge) -> Iterator[str]:
    single, clicked = judge.values(
        "SELECT avg(CAST(n = 1 AS DOUBLE)), avg(CAST(c = n AS DOUBLE)) FROM "
        "(SELECT count(*) AS n, count_if(clicked) AS c FROM rows GROUP BY request_id)"
    )
    if float(str(single)) > 0.5:
        yield (
            f"request_id: {single:.0%} of the requests hold one row, and nothing can be ranked in them. Does it name a "
            "search, or an event? Make it of the columns that the rows of one search share"
        )
    elif float(str(clicked)) > 0.5:
        yield (
            f"clicked: in {clicked:.0%} of the requests every row is clicked. A log of clicks alone teaches no "
            "ranking: the items that were shown and passed over are needed too"
        )
    (empty,) = judge.values("SELECT avg(CAST(CAST(query AS VARCHAR) = '' AS DOUBLE)) FROM rows")
    if float(str(empty)) > 0.5:
        yield (
            f"query: {empty:.0%} of the rows have the empty query. Where there is no search text, map what was asked "
            "for otherwise: a category page, a destination, filters"
        )


def _of_times(judge: Judge) -> Iterator[str]:
    first, last, midnight = judge.values(
        "SELECT min(timestamp)::TIMESTAMP, max(timestamp)::TIMESTAMP, "
        "avg(CAST(timestamp = date_trunc('day', timestamp) AS DOUBLE)) FROM every"
    )
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    if first < OLDEST or last > datetime.now(UTC).replace(tzinfo=None) + timedelta(days=366):
        yield (
            f"timestamp: runs from {first:%Y-%m-%d} to {last:%Y-%m-%d}. Was the unit right? epoch_ms(x) reads "
            "milliseconds, to_timestamp(x) seconds"
        )
    if float(str(midnight)) > NEARLY_ALL and judge.log.facts["split_by"] != "day":
        yield "timestamp: days without an hour. Requests of one day have no order, so a split by session is not by time"


def _of_ids(judge: Judge) -> Iterator[str]:
    for column, _, share in unseen(judge):
        if share < NEARLY_ALL or column == "item_id":
            continue
        if column == "user_id":
            yield (
                f"user_id: {share:.0%} of the test's rows have one that training never saw, as where a session's or a "
                "request's id stands in for the user. A model learns nothing from it: data.remove_features=[user_id]"
            )
        else:
            yield (
                f"query: {share:.0%} of the test's rows have one that training never saw. As words it still tells "
                "something; as an id it does not"
            )


def _of_attributes(judge: Judge) -> Iterator[str]:
    """Columns of items, users and queries, which are features unless the configuration says otherwise."""
    for called, key in judge.tables.items():
        for column, type_ in judge.columns(called).items():
            if column == key:
                continue
            rows, filled, different, most = judge.values(
                f"SELECT count(*), count({name(column)}), approx_count_distinct({name(column)}), "
                f"(SELECT max(n) FROM (SELECT count(*) AS n FROM {called} WHERE {name(column)} IS NOT NULL GROUP BY "
                f"{name(column)})) FROM {called}"
            )
            yield from _of_attribute(
                judge, called, column, type_, *(int(str(n or 0)) for n in (rows, filled, different, most))
            )


def _of_attribute(
    judge: Judge, called: str, column: str, type_: str, rows: int, filled: int, different: int, most: int
) -> Iterator[str]:
    where, values = f"{called}.{column}", judge.first(called, column)
    single_words = type_ in ("VARCHAR", "BIGINT", "INTEGER", "UUID") and values.share(lambda v: " " in v) < 0.5
    if rows < FEWEST or not filled:
        return
    if single_words and column not in ("title", "price") and different > NEARLY_ALL * filled and filled > rows / 2:
        yield (
            f"{where}: nearly every row has its own value, so as a feature it teaches nothing: name it in `leave`, or "
            f"data.remove_features=[{column}]"
        )
    elif most == filled and filled == rows:
        yield f"{where}: has one value in all rows and tells nothing: data.remove_features=[{column}]"
    separator = path_separator(values) if type_ == "VARCHAR" and column != "title" else None
    if separator is not None:
        yield (
            f"{where}: paths such as {next(iter(values.counts))!r} are neither text nor one id: take a level, as "
            f"{column}: split_part({column}, {text(separator)}, 1)"
        )
    if is_outcome(column):
        yield f"{where}: is an outcome by its name; if it was counted after the test's days, it tells the future"


def _of_outcomes(judge: Judge) -> Iterator[str]:
    """Other columns of the impressions that are known only afterwards: by name, or as they say what was clicked."""
    columns = {
        column: type_
        for column, type_ in judge.columns("rows").items()
        if column not in CONTRACT - {"price"} and not type_.endswith("]") and not type_.startswith(("STRUCT", "MAP"))
    }
    for column, strength in _leaks(judge, columns).items():
        use = "no feature: it is known only after the item was shown; it can be a task or an event of the graph"
        if column == "price":
            use = "it is a feature of the pair unless you say data.remove_features=[price]"
        if strength >= LEAK:
            yield f"{column}: agrees with clicked (correlation {strength:.2f}), so it says what happened: {use}"
        elif column != "price" and is_outcome(column):
            yield f"{column}: is an outcome by its name and {use}"


def _leaks(judge: Judge, columns: Mapping[str, str]) -> dict[str, float]:
    """Column → the strongest correlation of the click with it: its being there, above 0, or of one of few values."""
    strongest: dict[str, float] = {}
    for start in range(0, len(columns), TOGETHER):
        some = dict(list(columns.items())[start : start + TOGETHER])
        tests = [(column, test) for column, type_ in some.items() for test in _tests(judge, column, type_)]
        corr = ", ".join(f"corr(CAST({test} AS DOUBLE), CAST(clicked AS DOUBLE))" for _, test in tests)
        for (column, _), strength in zip(tests, judge.values(f"SELECT {corr} FROM rows"), strict=True):
            # A column of one value has no correlation: null, or NaN.
            value = 0.0 if strength is None or strength != strength else abs(float(str(strength)))
            strongest[column] = max(strongest.get(column, 0.0), value)
    return strongest


def _tests(judge: Judge, column: str, type_: str) -> list[str]:
    quoted = name(column)
    if type_ in NUMBERS:
        return [f"{quoted} IS NOT NULL", f"coalesce(CAST({quoted} AS DOUBLE) > 0, false)"]
    values = list(judge.first("rows", column).counts) if type_ == "VARCHAR" else []
    few = values if len(values) <= MOST_VALUES else []
    return [f"{quoted} IS NOT NULL", *(f"coalesce({quoted} = {text(value)}, false)" for value in few)]


def _of_labels(judge: Judge) -> Iterator[str]:
    rows, clicks, positions = judge.values("SELECT count(*), count_if(clicked), count(position) FROM rows")
    share = int(str(clicks)) / max(int(str(rows)), 1)
    if share > 0.5:
        yield f"clicked: {share:.0%} of the rows are clicked. Is it the click, or whether the item was shown?"
    elif 0 < share < NEARLY_NONE:
        yield f"clicked: {share:.2%} of the rows are clicked: is every click joined to its impression?"
    if positions:
        lowest = judge.values("SELECT min(position) FROM rows")[0]
        many = judge.values(
            "SELECT avg(CAST(p = 1 AS DOUBLE)) FROM (SELECT max(position) AS p FROM rows GROUP BY request_id HAVING "
            "count(*) > 1)"
        )[0]
        if int(str(lowest)) > 1:
            yield f"position: begins at {lowest}, not at 1: is a page missing, or the offset one too many?"
        elif many is not None and float(str(many)) > 0.5:
            yield "position: is 1 in most requests of several rows: is it the rank?"
