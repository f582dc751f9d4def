"""Read or simulate the log, check it, split it, write it: the first stage of every run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from configs.command import Invocation, parse, run_config, settings
from configs.console import progress, say, warn
from configs.keys import Keys
from configs.origin import origin_input, origin_of
from configs.schema import Config, DataConfig
from configs.stages import Run, Stage, fingerprint, source_fingerprint, write_json
from configs.worlds import load_world
from graph.logs.accounting import account_all, require_equal, rows_in
from graph.logs.checking.checks import Impressions, check
from graph.logs.checking.columns import (
    SourceTable,
    inspect,
    tell_absent,
    unlabelled,
    with_history,
    without_labels,
)
from graph.logs.checking.encoding import mark_not_utf8
from graph.logs.checking.footers import FILE, ROW
from graph.logs.checking.rejected import collect_rejected, tell_rejected
from graph.logs.checking.tables import KeyedTable, check_table, inspect_table, write_keyed
from graph.logs.continuing import Continuation, data_in_words
from graph.logs.contract import (
    ALWAYS_WRITTEN,
    CANONICAL,
    IMPRESSION_COLUMNS,
    ITEM_COLUMNS,
    QUERY_COLUMNS,
    USER_COLUMNS,
    Kind,
    RawLog,
    day_files,
    existing,
)
from graph.logs.database import NotUtf8Error, name, reading, scratch_database, write_days
from graph.logs.facts import log_facts, tell_facts
from graph.logs.frames import in_run
from graph.logs.log import MADE_BY, SearchLog
from graph.logs.problems import Problems
from graph.logs.readers import OWN_KEYS, SEEDED, reader
from graph.logs.readers.table.plan import mapping_without_labels
from graph.logs.readers.table.sources import fingerprints
from graph.logs.split import assign_splits

TellRejected = Callable[[dict[str, int], int, float, Path, Path], None]
"""As `tell_rejected`."""
FORMAT = 2
"""Of the checked log; a change makes every older log stale."""


def prepare_log(
    invocation: Invocation | None = None,
    *,
    impressions: Any = None,
    items: Any = None,
    users: Any = None,
    queries: Any = None,
) -> SearchLog:
    """Write the run's checked log, or open it where this very log was written before.

    Args:
        invocation: names the run, and its data where no frames are given; None: the run ``default``.
        impressions: the log as a table of pandas, Polars, Arrow, DuckDB or anything with ``__arrow_c_stream__``, in the
            contract's columns. It is written into the run, whose later commands read it from there.
        items: the same, of the items; None: the impressions' item ids.
        users: the same, of the users.
        queries: the same, of the queries.

    Raises:
        InputError: if the source is missing or damaged, or too many of its rows are bad.

    Examples:
        >>> from configs import parse
        >>> from graph import prepare_log
        >>> log = prepare_log(parse(["run=notebook", "data.world=tiny"]))
        >>> sorted(log.facts["splits"])
        ['test', 'train', 'validation']

        A log in memory; a DataFrame of pandas or Polars does as well:

        >>> frame = log.dataset().to_table().drop_columns(["day", "split"])
        >>> prepare_log(parse(["run=frames"]), impressions=frame, items=log.items()).catalogue == log.catalogue
        True
        >>> parse(["run=frames"]).config.data.name  # for build_graph, make_psi and `python -m prerank.fit run=frames`
        'contract'
    """
    invocation = parse([]) if invocation is None else invocation
    if any(frame is not None for frame in (impressions, items, users, queries)):
        with in_run(invocation, impressions=impressions, items=items, users=users, queries=queries) as inside:
            return prepare_log(inside)
    config, stage = log_keys(invocation.config).view(invocation.config), log_stage(invocation.config, invocation.run)
    if stage.finished:
        say(f"log: {stage.folder} is up to date")
        return SearchLog.open(stage.folder)
    stage.start()
    _read_check_write(config, stage, whole="", origin=_continuation(invocation.config))
    return SearchLog.open(stage.folder)


def _continuation(config: Config) -> Continuation | None:
    """What the log goes on from, if anything."""
    origin = origin_of(config)
    if origin is None:
        return None
    before = data_in_words(run_config(origin).data)
    return Continuation(origin.root.name, SearchLog.open(origin.logs), before, config.data.name == "table")


def check_new_log(data: DataConfig, folder: Path, labelled: bool = True) -> SearchLog:
    """Check a log that a fitted model is to be evaluated on and write it to ``folder``; every row is of ``test``.

    Args:
        data: where the log is.
        folder: to write to.
        labelled: whether clicks and orders are read; if not, the log need not have them, and no row has any.

    Raises:
        InputError: as `prepare_log`.
    """
    config = Config(data=data if labelled else replace(data, table=mapping_without_labels(data.table)))
    asked = log_keys(config).settings(config) | {"whole": "test"} | ({} if labelled else {"labelled": False})
    stage = Stage(folder, asked, _sources(config.data), overwrite=True)
    if not stage.finished:
        stage.start()
        _read_check_write(log_keys(config).view(config), stage, whole="test", labelled=labelled)
    return SearchLog.open(folder)


def understand_log(config: Config, folder: Path, tell: TellRejected) -> SearchLog:
    """Check a log and write it to ``folder``, whatever share of its rows is bad: to look at it, not to learn from it.

    Args:
        tell: hears of the rejected rows by reason, in place of an error or a warning.

    Raises:
        InputError: if the source cannot be read, or no request is left.
    """
    stage = Stage(folder, log_keys(config).settings(config))
    stage.start()
    _read_check_write(log_keys(config).view(config), stage, whole="", tell=tell)
    return SearchLog.open(folder)


def log_keys(config: Config) -> Keys:
    """What is read and how it is checked and split, but not how columns are used later."""
    own = OWN_KEYS.get(config.data.name, ())
    read = ("data.name", "data.path", "data.rejected_share", "data.split", *own)
    if config.data.name in SEEDED:
        return Keys((*read, "data.world", "seed"), ("graph.memory_limit_gb",))
    return Keys(read, ("seed", "graph.memory_limit_gb"))  # readers are handed the seed whether they use it or not


def log_stage(config: Config, run: Run) -> Stage:
    settings = log_keys(config).settings(config) | {"format": FORMAT}
    settings |= {"from": config.from_run} if config.from_run else {}
    inputs = _sources(config.data) | origin_input(config, run.logs, lambda each: each.logs, MADE_BY)
    return Stage(run.logs, settings, inputs, overwrite=config.overwrite)


def _sources(data: DataConfig) -> dict[str, str]:
    """Fingerprints of the files that a log is made from."""
    if data.name == "table":
        return fingerprints(data)
    inputs = {}
    if data.path is not None:
        path = existing(data.path)
        inputs["source"] = source_fingerprint(path) if path is not None else "missing"
    if data.name in SEEDED:
        inputs["world"] = fingerprint(settings(load_world(data.world)))
    return inputs


def _read_check_write(
    config: Config,
    stage: Stage,
    whole: str,
    origin: Continuation | None = None,
    tell: TellRejected = tell_rejected,
    labelled: bool = True,
) -> None:
    """The stage's story: read, check tables and rows, split, write, count.

    Args:
        whole: the one split of all rows.
        origin: what the log goes on from.
        tell: hears of the rejected rows by reason.
        labelled: whether clicks and orders are read.
    """
    folder, data = stage.folder, config.data
    shutil.rmtree(folder / "raw", ignore_errors=True)
    raw = reader(data.name)(data, config.seed, folder / "raw")
    try:
        facts = _check_write(config, raw, folder, whole, origin, tell, labelled)
    except NotUtf8Error as error:
        say(f"{error}; read again with ? for each such byte")
        facts = _check_write(config, raw, folder, whole, origin, tell, labelled, replaced=True)
    write_json(folder / "log.json", facts)
    tell_facts(facts if labelled else facts | {"tasks": {}})
    shutil.rmtree(folder / "raw", ignore_errors=True)
    stage.finish(rows=facts["rows"], catalogue=facts["catalogue"])


def _check_write(
    config: Config,
    raw: RawLog,
    folder: Path,
    whole: str,
    origin: Continuation | None,
    tell: TellRejected,
    labelled: bool,
    replaced: bool = False,
) -> dict[str, Any]:
    """Check, split and write what a reader handed over; return ``log.json``.

    Args:
        replaced: whether bytes that are not UTF-8 are read as ``?``.
    """
    shutil.rmtree(folder / "impressions", ignore_errors=True)
    data = config.data
    with scratch_database(folder / "scratch", config.graph.memory_limit_gb) as connection:
        impressions, tables = _check_all(connection, raw, origin, labelled, replaced, data.rejected_share)
        checked = [impressions.table, *(table.source for table in tables.values())]
        rejected = collect_rejected(connection, checked, raw.rejected, folder / "rejected.parquet")
        before = rows_in(raw.rejected) if raw.rejected is not None else 0
        read = before + sum(table.rows for table in checked)
        where = Path(data.path) if data.path is not None else folder
        tell(rejected, read, data.rejected_share, folder / "rejected.parquet", where)
        seen = {} if origin is None else origin.leave_out_seen(connection)
        if whole:
            connection.execute(f"CREATE TABLE assigned AS SELECT request_id, '{whole}' AS split FROM requests")
            split_by = "day"
        else:
            split_by = assign_splits(connection, data.split, "session_id" in impressions.table.contract)
        _write_impressions(connection, impressions, folder / "impressions")
        for called, table in tables.items():
            write_keyed(connection, table, called, folder / f"{called}.parquet")
        accounts = account_all(connection, raw, impressions, tables, seen, folder)
        require_equal(sum(rejected.values()), sum(a.rejected for a in accounts.values()), "rejected.parquet")
        carried = 0
        if origin is not None:
            carried = origin.carry(folder / "impressions")
            origin.grow(folder)
        facts = log_facts(connection, folder, split_by, rejected, raw.simulated)
    require_equal(accounts["impressions"].kept + carried, facts["rows"], "log.json")
    require_equal(facts["rows"], sum(split["rows"] for split in facts["splits"].values()), "the splits of log.json")
    accounts["impressions"].tell("impressions")
    facts["derived"] = {what: count for what, count in impressions.derived.items() if count}
    facts["accounts"] = {called: account.as_json for called, account in accounts.items()}
    return facts if origin is None else facts | {"since": origin.facts(carried)}


def _check_all(
    connection: duckdb.DuckDBPyConnection,
    raw: RawLog,
    origin: Continuation | None,
    labelled: bool,
    replaced: bool,
    allowed: float,
) -> tuple[Impressions, dict[str, KeyedTable]]:
    """Check every table of the log; bad rows are named in the DuckDB table ``rejected``.

    Raises:
        InputError: that names everything that is wrong with files, columns and types.
    """
    connection.execute("CREATE TABLE rejected (file VARCHAR, row BIGINT, reason VARCHAR)")
    impressions, tables = _inspect_all(connection, raw, origin, labelled, replaced)
    if replaced:
        for called, source in {"impressions": impressions.table, **{n: t.source for n, t in tables.items()}}.items():
            mark_not_utf8(connection, source, called)
    tell_absent(impressions.table, "the log")
    for called, keyed in tables.items():
        check_table(connection, keyed, called)
    if origin is not None:
        origin.know_tables(connection, impressions.table.families)
    if set(impressions.table.extra) - set(impressions.extra):
        warn("columns day and split of the log are not used: the folder names the day and data.split the split")
    impressions = check(connection, impressions, allowed)
    _tell_unknown(connection, tables)
    return impressions, tables


def _inspect_all(
    connection: duckdb.DuckDBPyConnection, raw: RawLog, origin: Continuation | None, labelled: bool, replaced: bool
) -> tuple[Impressions, dict[str, KeyedTable]]:
    """Settle how every table is read, from its footers.

    Raises:
        InputError: that names all problems of all tables.
    """
    problems, days, table = Problems(str(raw.impressions.parent)), {}, None
    with problems.collecting():
        days = day_files(raw.impressions)
        days = days if origin is None else origin.unseen_days(days, raw)
    files = [file for of_day in days.values() for file in of_day]
    if files:
        columns = IMPRESSION_COLUMNS if labelled else unlabelled(IMPRESSION_COLUMNS)
        table = inspect(connection, files, columns, raw.impressions.parent, problems, replaced)
    sources = {"items": (raw.items, ITEM_COLUMNS), "users": (raw.users, USER_COLUMNS)}
    sources["queries"] = (raw.queries, QUERY_COLUMNS)
    tables = {
        called: inspect_table(connection, path, columns, problems, replaced)
        for called, (path, columns) in sources.items()
        if path is not None
    }
    keyed = {called: source for called, source in tables.items() if source is not None}
    if origin is not None:
        table = None if table is None else origin.as_before(table, "impressions")
        keyed = {called: replace(each, source=origin.as_before(each.source, called)) for called, each in keyed.items()}
    if table is not None:
        for day, of_day in days.items():
            if set(of_day) <= set(table.empty):
                problems.add(f"{of_day[0]}: day {day} has no rows: remove its folder, or write the day again")
        _check_keys(table, keyed, files[0], problems)
        table = with_history(table, problems)
    problems.raise_any()
    assert table is not None
    _tell_nested(days, raw.impressions)
    filled = {day: [file for file in of_day if file not in table.empty] for day, of_day in days.items()}
    return Impressions(table if labelled else without_labels(table), filled), keyed


def _check_keys(table: SourceTable, keyed: dict[str, KeyedTable], file: Path, problems: Problems) -> None:
    """Ids of a table beside the impressions are of the type that they have there."""
    for called, beside in keyed.items():
        families = (beside.source.families[beside.key], table.families[beside.key])
        if families[0] != families[1]:
            problems.add(
                f"{beside.key} is {families[0]} in {called}.parquet and {families[1]} in the impressions "
                f"({file}): write both as int64 or both as string"
            )


def _tell_nested(days: dict[str, list[Path]], impressions: Path) -> None:
    """Folders below a day's are read; a name like ``hour=05`` is no column, though."""
    nested = {
        part.partition("=")[0]
        for day, files in days.items()
        for file in files
        for part in file.relative_to(impressions / f"day={day}").parts[:-1]
        if "=" in part
    }
    for key in sorted(nested):
        warn(f"the folders {key}=... below the days are read, but {key} is no column: write it as one if it matters")


def _tell_unknown(connection: duckdb.DuckDBPyConnection, tables: dict[str, KeyedTable]) -> None:
    """Users of the log that the users table does not know keep their rows: their attributes are missing."""
    if "users" in tables:
        unknown = "SELECT count(DISTINCT user_id) FROM requests WHERE user_id NOT IN (SELECT user_id FROM users)"
        (count,) = connection.sql(unknown).fetchall()[0]
        if count:
            warn(f"{count:,} users of the log are not in the users table: their attributes are missing")


def _write_impressions(connection: duckdb.DuckDBPyConnection, impressions: Impressions, folder: Path) -> None:
    """Write the good rows with their split, some days at a time, in the checked log's order and types."""
    columns = _output_columns(impressions)
    moment, joined = "source.timestamp", ""
    if impressions.own_times or impressions.shared_sessions:
        joined = "JOIN (SELECT request_id, timestamp, session_id FROM requests) AS requests USING (request_id)"
        columns["timestamp"] = moment = "requests.timestamp"
    if impressions.shared_sessions:
        columns["session_id"] = "requests.session_id"
    chosen = ", ".join(f"{expression} AS {name(column)}" for column, expression in columns.items())
    with progress() as bar:
        batches = impressions.batches()
        task = bar.add_task("writing days", total=sum(len(days) for days in batches))
        for days in batches:
            query = f"""
                SELECT {chosen}, split, strftime({moment}, '%Y-%m-%d') AS day
                FROM ({impressions.rows(days, extra=True)}) AS source
                JOIN assigned USING (request_id) {joined}
                ANTI JOIN rejected ON rejected.file = source.{FILE} AND rejected.row = source.{ROW}
                ORDER BY {moment}, request_id, source.position NULLS LAST, item_id
            """
            if "position" not in impressions.table.contract:
                query = query.replace("source.position NULLS LAST, ", "")
            with reading(impressions.table.root):
                rows = connection.sql(query).to_arrow_reader(65_536)
                write_days(rows, folder, _output_schema(rows.schema))
            bar.advance(task, len(days))


def _output_columns(impressions: Impressions) -> dict[str, str]:
    """Column → SQL over the canonical rows; a missing contract column gets what it is assumed to be."""
    assumed = {"stage": "'exposed'", "clicked": "false", "ordered": "false"}
    columns = {}
    for column in IMPRESSION_COLUMNS:
        if column.name in impressions.table.contract:
            columns[column.name] = f"source.{column.name}"
        elif column.name in ALWAYS_WRITTEN:
            columns[column.name] = assumed.get(column.name, "NULL")
    columns["request_id"] = "request_id"
    return columns | {column: f"source.{name(column)}" for column in impressions.extra}


def _output_schema(schema: pa.Schema) -> pa.Schema:
    """The batches' columns with the contract's types, without ``day``."""
    kinds: dict[str, Any] = {c.name: CANONICAL[c.kind] for c in IMPRESSION_COLUMNS if c.kind is not Kind.id}
    return pa.schema([pa.field(f.name, kinds.get(f.name, f.type)) for f in schema if f.name != "day"])
