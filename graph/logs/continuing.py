"""A log that goes on from yesterday's: the catalogue grows, rows seen before are left out, rows held out are taught.

The checked log of a run that goes on holds the new rows, and those that the origin held out of its training, which are
trained on now. So every row is trained on once, and has been predicted before that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from configs.console import say
from configs.errors import InputError
from configs.schema import DataConfig
from configs.stages import replacing
from graph.logs.accounting import rows_in
from graph.logs.checking.columns import INTEGERS, SourceTable
from graph.logs.contract import RawLog, day_files, family_of
from graph.logs.database import text
from graph.logs.log import SearchLog, read_table

KEYS = {"items": "item_id", "users": "user_id", "queries": "query"}
"""Tables of a log that grow, and what their rows are known by."""
NUMBERED_ANEW = ("request_id", "session_id")
"""Keys that say nothing but what belongs together: ids may start again with each day."""
SPARE_DAYS = 1
"""Days before the origin's last one whose folders are read nonetheless: a folder may be named by a local day."""
SEEN = "at or before the end of the log that the run goes on from"


@dataclass(frozen=True)
class Continuation:
    """What a new log takes over.

    Attributes:
        name: of the run that it goes on from.
        log: of that run.
        data: what that run's log was read from, in words.
        typed_by_values: whether the new log's columns have the types that their values allow, as those of a CSV file:
            texts that are digits on one day are whole numbers there.
    """

    name: str
    log: SearchLog
    data: str
    typed_by_values: bool = False

    def facts(self, carried: int) -> dict[str, Any]:
        """What the new ``log.json`` says of it; ``carried``: rows held out before and trained on now."""
        data = self.log.facts.get("since", {}).get("data", self.data)
        return {"run": self.name, "last": self.last, "carried": carried, "data": data}

    @cached_property
    def last(self) -> str:
        """The time of the origin's last row, UTC."""
        return max(str(split["last"]) for split in self.log.facts["splits"].values())

    def unseen_days(self, days: Mapping[str, list[Path]], raw: RawLog) -> dict[str, list[Path]]:
        """The days that may hold new rows; the rows of the others are counted as left out, unread."""
        first = (date.fromisoformat(self.last[:10]) - timedelta(days=SPARE_DAYS)).isoformat()
        seen = sum(rows_in(file) for day, files in days.items() if day < first for file in files)
        if seen:
            raw.left_out[SEEN] = raw.left_out.get(SEEN, 0) + seen
        left = {day: files for day, files in days.items() if day >= first}
        if not left:
            self._refuse_seen(seen)
        return left

    def as_before(self, table: SourceTable, called: str) -> SourceTable:
        """The new table, its whole numbers read as text where the origin's column holds text, if types say little."""
        path = self.log.folder / f"{called}.parquet"
        if called == "impressions":
            path = next(file for files in day_files(self.log.folder / called).values() for file in files)
        if not (self.typed_by_values and path.exists()):
            return table
        texts = {field.name for field in pq.read_schema(path) if family_of(field.type) == "string"}
        ids = {column: sql for column, sql in table.contract.items() if column in KEYS.values()}
        read = {
            column: f"CAST({sql} AS VARCHAR)"
            for column, sql in (table.extra | ids).items()
            if column in texts and table.types[column] in INTEGERS
        }
        if read:
            say(f"{called}: {', '.join(read)} read as text, as in {self.name}'s log: all their values are digits")
        return replace(
            table,
            contract={column: read.get(column, sql) for column, sql in table.contract.items()},
            extra={column: read.get(column, sql) for column, sql in table.extra.items()},
            families=table.families | {column: "string" for column in ids if column in read},
            types=table.types | dict.fromkeys(read, "VARCHAR"),
        )

    def know_tables(self, connection: duckdb.DuckDBPyConnection, families: Mapping[str, str]) -> None:
        """Let the checks know the origin's items, users and queries beside those of the new log's own tables.

        Args:
            connection: with the checked tables, of good keys.
            families: contract column of the impressions → family of its type.

        Raises:
            InputError: if ids are of another type than the origin's.
        """
        for called, key in KEYS.items():
            path = self.log.folder / f"{called}.parquet"
            if not path.exists():
                continue
            before = family_of(pq.read_schema(path).field(key).type)
            if before != families[key]:
                raise InputError(
                    f"{key} is {families[key]} in the new log and {before} in that of {self.name}, which it goes on "
                    f"from: no id of one would be known in the other; write {key} as {before}"
                )
            if connection.sql(f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{called}'").fetchall():
                connection.execute(
                    f"INSERT INTO {called} ({key}, occurrence) SELECT {key}, 1 FROM read_parquet({text(path)}) "
                    f"WHERE {key} NOT IN (SELECT {key} FROM {called})"
                )

    def leave_out_seen(self, connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
        """Take the requests that the origin's log reaches out of the table ``requests``; reason → their rows.

        Raises:
            InputError: if none is left.
        """
        seen = f"timestamp <= TIMESTAMP {text(self.last)}"
        (count,) = connection.sql(f"SELECT coalesce(sum(size), 0)::BIGINT FROM requests WHERE {seen}").fetchall()[0]
        connection.execute(f"DELETE FROM requests WHERE {seen}")
        if not connection.sql("SELECT count(*) FROM requests").fetchall()[0][0]:
            self._refuse_seen(count)
        if count:
            say(f"{count:,} rows lie at or before {self.last}, the end of {self.name}'s log: left out, as seen before")
        return {SEEN: int(count)} if count else {}

    def carry(self, folder: Path) -> int:
        """Write the rows that the origin held out beside the new ones, as training rows; return how many.

        Args:
            folder: ``impressions`` of the new checked log. A column that it lacks is left, one that it adds is null.

        Raises:
            InputError: if a column has another type now.
        """
        schema = pq.read_schema(min(folder.glob("*/*.parquet")))
        taken, unfilled, count = _largest_keys(folder, schema), _unfilled(folder, schema), 0
        for day, files in day_files(self.log.folder / "impressions").items():
            for number, file in enumerate(files):
                rows = pq.ParquetFile(file).read()
                rows = rows.filter(pc.not_equal(rows["split"].cast(pa.string()), "train"))
                if len(rows):
                    path = folder / f"day={day}" / f"carried-{number}.parquet"
                    with replacing(path) as temporary:
                        pq.write_table(self._as_training(rows, schema, day, taken, unfilled), temporary)
                    count += len(rows)
        if count:
            say(f"{count:,} rows that {self.name} held out of its training are trained on now")
        return count

    def _as_training(
        self, rows: pa.Table, schema: pa.Schema, day: str, taken: dict[str, int], unfilled: Collection[str]
    ) -> pa.Table:
        """Rows of a file in the new log's columns; their requests and sessions get keys that no new one has.

        Args:
            taken: key of whole numbers → the largest so far, which is raised.
            unfilled: columns of the new log that hold no value, so that their types say nothing.
        """
        columns = []
        for field in schema:
            if field.name == "split":
                columns.append(pa.array(["train"] * len(rows), pa.string()).cast(field.type))
            elif field.name not in rows.column_names:
                columns.append(pa.nulls(len(rows), field.type))
            elif field.name in taken:
                codes = rows[field.name].combine_chunks().dictionary_encode().indices.cast(pa.int64())
                columns.append(pc.add(codes, taken[field.name] + 1).cast(field.type))
                taken[field.name] += (pc.max(codes).as_py() or 0) + 1
            elif field.name in NUMBERED_ANEW:
                ids = rows[field.name].cast(pa.string())
                columns.append(pc.binary_join_element_wise(ids, f"{self.name} {day}", "@").cast(field.type))
            elif field.name in unfilled:
                columns.append(rows[field.name].cast(pa.string()).cast(field.type))
            else:
                columns.append(self._cast(rows[field.name], field, "impressions"))
        return pa.table(columns, schema=schema)

    def grow(self, folder: Path) -> None:
        """Put the origin's items, users and queries before the new ones; of those in both, the newest row counts.

        Args:
            folder: of the new checked log, whose tables are written.

        Raises:
            InputError: if a column has another type now.
        """
        for called, key in KEYS.items():
            before, path = self.log.folder / f"{called}.parquet", folder / f"{called}.parquet"
            if not before.exists():
                continue
            old = read_table(before)
            table = self._grown(old, read_table(path), key, called) if path.exists() else old
            if called == "items":
                say(f"items: {len(old):,} of {self.name}'s catalogue and {len(table) - len(old):,} new ones")
            with replacing(path) as temporary:
                pq.write_table(table, temporary)

    def _grown(self, old: pa.Table, new: pa.Table, key: str, called: str) -> pa.Table:
        names = list(dict.fromkeys([*old.column_names, *new.column_names]))
        fields = [(old if name in old.column_names else new).schema.field(name) for name in names]
        of_new = pa.table(
            {
                field.name: self._cast(new[field.name], field, called)
                if field.name in new.column_names
                else pa.chunked_array([pa.nulls(len(new), field.type)])
                for field in fields
            }
        )
        together = pa.concat_tables([of_new, old], promote_options="default").combine_chunks()
        ids = together[key]
        order = pc.unique(pa.chunked_array([*old[key].chunks, *of_new[key].chunks], ids.type))
        newest = together.take(pc.index_in(order, value_set=ids))  # of equal ids the first, which is the new one
        lacking = [name for name in names if name not in new.column_names]
        for name in lacking:  # a column that the new table lacks keeps what it said
            known = pc.index_in(order, value_set=old[key])
            newest = newest.set_column(names.index(name), name, old[name].take(known))
        return newest.select(names)

    def _cast(self, values: pa.ChunkedArray, field: pa.Field, called: str) -> pa.ChunkedArray:
        """Values in a type of the same family.

        Raises:
            InputError: if it is none, or a value does not fit.
        """
        if values.type == field.type:
            return values
        if pa.types.is_null(field.type) or values.null_count == len(values):
            return pa.chunked_array([pa.nulls(len(values), field.type)])
        families = {_family(values.type), _family(field.type)}
        # Integers among which one is missing have become floats on their way through many a program.
        if len(families - {"null"}) > 1 and families != {"integer", "float"}:
            old, new = (values.type, field.type) if called == "impressions" else (field.type, values.type)
            raise InputError(
                f"{called}: column {field.name} is {new} in the new log and {old} in that of {self.name}, which it "
                "goes on from: its values would not be known again; write it in the type that it had"
            )
        try:
            return values.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{called}: column {field.name} does not fit {field.type}: {error}") from None

    def _refuse_seen(self, rows: int) -> None:
        raise InputError(
            f"the log holds no new row: all {rows:,} lie at or before {self.last}, the end of the log of "
            f"{self.name}, which the run goes on from: give data.path of the day after it"
        )


def _family(kind: pa.DataType) -> str:
    """The family of a type; of a list, whatever its kind and the name of its field, that of its values."""
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return f"list of {family_of(kind.value_type)}" if listed else family_of(kind)


def data_in_words(data: DataConfig) -> str:
    """What a log is read from; that of a run that goes on from others is what the first of them was read from."""
    return f"{data.name}, world {data.world}" if data.name == "marketplace" else f"{data.name}, {data.path}"


def _unfilled(folder: Path, schema: pa.Schema) -> list[str]:
    """Columns of text of a checked log's files that hold no value: what is all null is written as text."""
    names = [field.name for field in schema if pa.types.is_string(field.type)]
    table = pa.concat_tables([pq.read_table(file, columns=names) for file in sorted(folder.glob("*/*.parquet"))])
    return [name for name in names if table[name].null_count == len(table)]


def _largest_keys(folder: Path, schema: pa.Schema) -> dict[str, int]:
    """The largest request and session id of a checked log's files, where they are whole numbers."""
    names = [name for name in NUMBERED_ANEW if name in schema.names and pa.types.is_integer(schema.field(name).type)]
    files = sorted(folder.glob("*/*.parquet"))
    largest = {name: [pc.max(pq.read_table(file, columns=[name])[name]).as_py() for file in files] for name in names}
    return {name: max((value for value in values if value is not None), default=0) for name, values in largest.items()}
