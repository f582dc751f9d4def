"""Carry a case out in this process, and judge how it ended: a result, one readable error, or a failure of ours."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import re
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.command import Invocation, main
from configs.commands import COMMANDS
from configs.stages import Run
from graph.building import build_graph
from graph.logs.prepare import prepare_log
from tests.fuzz.cases import Case
from tests.fuzz.tables import LENGTH, NAMES, REQUESTS, TYPES, VALUES, Column, Table, good_log

LONGEST_COMPUTING, LONGEST_WAITING = 60, 900
"""Seconds of processor time, and of a clock, after which a case counts as one that hangs."""
RAW = re.compile(
    r"Traceback|Arrow(Invalid|TypeError|NotImplemented)|<class |object at 0x|KeyError|AttributeError|"
    r"(Binder|Catalog|Parser|Conversion|Internal|Invalid Input|Not implemented|Out of Range|IO|Serialization) Error"
)
"""What a library says of itself and no user should have to read."""
REFUSED = set("\\{")
"""Letters of a folder's name for which a good log may be refused."""
LOG = replace(COMMANDS["graph.build"], name="fuzz.log", story=prepare_log)
COMMAND = {
    "log": LOG,
    "build": COMMANDS["graph.build"],
    "check": COMMANDS["graph.check"],
    "pretrain": COMMANDS["pretrain.run"],
}


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        kind: result, error, or what is wrong: traceback, hang, silence (rows unaccounted for), nan, mute (an error
            without words), raw (an error in a library's words), refused (a good log), vague (an error that does not
            name the one odd column).
        detail: the error's text, or what is wrong.
        where: of a traceback, the innermost line of ours.
    """

    kind: str
    detail: str = ""
    where: str = ""

    @property
    def fine(self) -> bool:
        return self.kind in ("result", "error")


class _HangError(Exception):
    pass


def carry_out(case: Case, folder: Path) -> Outcome:
    """Write the case's log into an empty folder, run its command, judge."""
    runs = folder / "runs of" / case.runs
    run = Run(runs / _run_name(case))
    printed = io.StringIO()
    try:
        with _limited(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code, rows = _run(case, folder, runs)
    except _HangError:
        return Outcome("hang", printed.getvalue()[-2000:])
    except Exception as error:
        ours = [
            f
            for f in traceback.extract_tb(error.__traceback__)
            if "/fuzz/" not in f.filename and "/.venv/" not in f.filename
        ]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else ""
        return Outcome("traceback", "".join(traceback.format_exception(error))[-6000:], where)
    if code:
        return _judge_error(case, code, printed.getvalue())
    return _judge_result(case, run, rows)


def _run(case: Case, folder: Path, runs: Path) -> tuple[int, int | None]:
    """Exit status, and the rows or documents of impressions that were written for it."""
    source = folder / "logs of" / case.place
    source.mkdir(parents=True)
    keys = [part for key in case.keys for part in (key.split(" ") if " data." in key or " graph." in key else [key])]
    keys = [f"runs_folder={runs}", *keys]
    if case.command == "check":
        keys = [key for key in keys if COMMAND["check"].takes(key.partition("=")[0])]
    if case.command == "pretrain":
        keys = ["pretrain.max_epochs=1", "pretrain.dimension=8", "pretrain.min_engagement=0.1", *keys]
    command = COMMAND[case.command]
    if case.form == "frames":
        tables = _spoilt(case)
        frames = {called: table.as_arrow() for called, table in tables.items()}

        def story(invocation: Invocation) -> None:
            log = prepare_log(invocation, **frames)
            if case.command == "build":
                build_graph(invocation, log)

        return main(replace(command, story=story), keys), frames["impressions"].num_rows
    if case.form == "contract":
        rows = _write_contract(case, source)
    elif case.form == "table":
        rows, mapping = _write_table(case, source)
        keys = [*mapping, *keys]
    else:
        rows = _write_documents(case, source)
    return main(command, [f"data={case.form}", f"data.path={source}", *keys]), rows


def _run_name(case: Case) -> str:
    asked = [key.partition("=")[2] for key in case.keys if key.startswith("run=")]
    return asked[-1] if asked else "default"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Stop what computes for too long, or waits for longer than any machine that others use too would make it."""

    def stop(*_: Any) -> None:
        raise _HangError

    before = [signal.signal(each, stop) for each in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, LONGEST_COMPUTING)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_WAITING)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for each, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(each, handler)


def _judge_error(case: Case, code: int, printed: str) -> Outcome:
    at = printed.rfind("error: ")
    told = printed[at:] if at >= 0 else ""
    if code != 2 or len(told) < 25:
        return Outcome("mute", f"exit status {code}: {printed[-500:]}")
    # What DuckDB says of a user's own SQL is what he needs.
    if RAW.search(told) and "data.table" not in told:
        return Outcome("raw", told)
    if case.keys or REFUSED & set(case.place + case.runs):
        return Outcome("error", told)
    if not case.steps:
        return Outcome("refused", told)
    if len(case.steps) == 1 and _is_vague(case.steps[0], told):
        return Outcome("vague", told)
    return Outcome("error", told)


def _is_vague(step: tuple[Any, ...], told: str) -> bool:
    """Whether an error does not name the one column that is odd."""
    match step:
        case "name", _, column, name:
            return column not in told and NAMES[name] not in told
        case (("type" | "value" | "all" | "drop" | "move"), _, column, *_):
            return column not in told
        case "add", _, name, _:
            return NAMES[name] not in told
    return False


def _judge_result(case: Case, run: Run, rows: int | None) -> Outcome:
    if case.command == "check":
        return Outcome("result")
    facts = json.loads((run.logs / "log.json").read_text())
    account = facts["accounts"]["impressions"]
    accounted = account["kept"] + account["rejected"] + sum(account["left_out"].values())
    if account["read"] != accounted or (rows is not None and account["read"] != rows):
        return Outcome("silence", f"{rows} rows were written, {account}")
    if pq.read_table(run.logs / "impressions", partitioning=None).num_rows != account["kept"]:
        return Outcome("silence", f"the checked log does not hold {account}")
    for file in run.root.rglob("*.json"):
        if not _finite(json.loads(file.read_text())):
            return Outcome("nan", str(file))
    for file in itertools.chain(run.graph.rglob("*.npy"), run.graph.rglob("*.parquet")):
        bad = _infinite_columns(file)
        if bad:
            return Outcome("nan", f"{file.name}: {bad}")
    return Outcome("result")


def _finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _infinite_columns(file: Path) -> list[str]:
    if file.suffix != ".parquet" or "nodes" in file.parts:
        return []
    table = pq.read_table(file)
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    return [name for name in floats if not all(v is None or math.isfinite(v) for v in table[name].to_pylist())]


def _spoilt(case: Case) -> dict[str, Table]:
    """The good log with the steps taken."""
    tables = good_log()
    for what, *arguments in case.steps:
        if what not in ("type", "value", "add", "all", "name", "drop", "repeat", "move"):
            continue
        called, *rest = arguments
        table = tables[called]
        match what, *rest:
            case "type", column, type_name:
                table.cast(column, type_name)
            case "value", column, row, value:
                table.spoil(column, row, value)
            case "all", column, value:
                for row in range(table.rows):
                    table.spoil(column, row, value)
            case "add", name, type_name:
                type_, convert = TYPES[type_name]
                table.columns.append((NAMES[name], Column([convert(f"v{r}", r) for r in range(table.rows)], type_)))
            case "name", column, name:
                table.columns = [(NAMES[name] if c == column else c, v) for c, v in table.columns]
            case "drop", column:
                table.columns = [(c, v) for c, v in table.columns if c != column]
            case "repeat", row:
                for _, column in table.columns:
                    column.values = [*column.values, column.values[row % len(column.values)]]
            case "move", column, row:
                for c, v in table.columns:
                    if c == column:
                        at = row % max(len(v.values), 1)
                        v.values = v.values[at:] + v.values[:at]
    return tables


def _write_contract(case: Case, folder: Path) -> int | None:
    tables = _spoilt(case)
    odd = {arguments[0] for what, *arguments in case.steps if what == "file"}
    impressions = tables["impressions"].as_arrow()
    per_day = impressions.num_rows if "one_day" in odd else REQUESTS * LENGTH
    options = {"use_deprecated_int96_timestamps": True} if "int96" in odd else {}
    for number in range(-(-impressions.num_rows // per_day)):
        day = f"2024-03-{1 + number + ('local_days' in odd):02d}"
        file = folder / "impressions" / f"day={day}" / "part-0.parquet"
        file.parent.mkdir(parents=True)
        part = impressions.slice(number * per_day, per_day)
        if "second_file" in odd:
            pq.write_table(part.slice(0, 5), file.with_name("part-1.parquet"), **options)
            part = part.slice(5)
        if "hour_folder" in odd or ("hour_beside" in odd and number == 1):
            (file.parent / "hour=01").mkdir()
            pq.write_table(part.slice(0, 3), file.parent / "hour=01" / "part-0.parquet", **options)
            part = part.slice(3)
        pq.write_table(part, file, **options)
    for called in ("items", "users", "queries"):
        if f"no_{called}" not in odd:
            pq.write_table(tables[called].as_arrow(), folder / f"{called}.parquet", **options)
    for each in sorted(odd):
        _spoil_files(each, folder)
    readable = [f for f in (folder / "impressions").rglob("*") if f.is_file() and f.suffix.lower() == ".parquet"]
    try:
        return sum(pq.read_metadata(file).num_rows for file in readable if not file.name.startswith((".", "_")))
    except (pa.ArrowException, OSError):
        return None


def _spoil_files(what: str, folder: Path) -> None:
    day = folder / "impressions" / "day=2024-03-02"
    if not day.exists():
        return
    file = day / "part-0.parquet"
    match what:
        case "cut":
            file.write_bytes(file.read_bytes()[:-20])
        case "zero_bytes":
            (day / "part-9.parquet").write_bytes(b"")
        case "empty_file":
            pq.write_table(pq.ParquetFile(file).read().slice(0, 0), day / "part-9.parquet")
        case "empty_day":
            (folder / "impressions" / "day=2024-03-20").mkdir()
        case "text_file":
            (day / "notes.txt").write_text("hello")
        case "crc":
            (day / ".part-0.parquet.crc").write_bytes(b"x")
            (day / "_SUCCESS").write_bytes(b"")
        case "bad_day":
            day.rename(day.with_name("day=2024-13-99"))
        case "no_day":
            day.rename(day.with_name("2024-03-02"))
        case "two_levels":
            (folder / "impressions" / "region=x").mkdir()
            day.rename(folder / "impressions" / "region=x" / day.name)
        case "items_folder":
            items = folder / "items.parquet"
            if items.exists():
                table = pq.ParquetFile(items).read()
                items.unlink()
                items.mkdir()
                pq.write_table(table.slice(0, 3), items / "a.parquet")
                pq.write_table(table.slice(3), items / "b.parquet")
        case "other_folder":
            (folder / "impressions" / "old").mkdir()
        case "file_at_top":
            pq.write_table(pa.table({"x": [1]}), folder / "impressions" / "x.parquet")
        case "link":
            file.rename(folder / "elsewhere.bin")
            file.symlink_to(folder / "elsewhere.bin")
        case "dead_link":
            (day / "part-8.parquet").symlink_to(folder / "nowhere.parquet")
        case "upper_ending":
            file.rename(day / "PART-0.PARQUET")


def _write_table(case: Case, folder: Path) -> tuple[int | None, list[str]]:
    """One file of impressions, one of items, and the keys that map them."""
    tables = _spoilt(case)
    steps = [(what, *arguments) for what, *arguments in case.steps]
    ending = next((a for w, *(a, *_) in (s for s in steps if len(s) > 1) if w == "written"), "csv")
    texts = [a for w, *(a, *_) in (s for s in steps if len(s) > 1) if w == "text"]
    rows: int | None = tables["impressions"].rows
    for called in ("impressions", "items"):
        file = folder / f"{called}.{ending}"
        table = tables[called].as_arrow()
        if ending == "parquet":
            pq.write_table(table, file)
            continue
        content = _as_text(table, ending, texts if called == "impressions" else [])
        file.write_bytes(gzip.compress(content) if ending.endswith(".gz") else content)
    if {"ragged", "quote", "cut", "headless", "utf16", "latin"} & set(texts) or ending in ("tsv", "txt", "json"):
        rows = None
    if any(column.type == pa.string() and _has_line(column) for _, column in tables["impressions"].columns):
        rows = None
    if any(s[0] == "unmapped" for s in steps):
        return rows, []
    keys = [f"data.table.impressions.files=[impressions.{ending}]", f"data.table.items.files=[items.{ending}]"]
    columns = {s[1]: s[2] for s in steps if s[0] == "sql"}
    if columns:
        keys.append(f"data.table.impressions.columns={json.dumps(columns)}")
    keys += [f"data.table.impressions.where={s[1]}" for s in steps if s[0] == "where"]
    return rows, keys


def _has_line(column: Column) -> bool:
    return any(isinstance(v, bytes) or (isinstance(v, str) and ("\n" in v or "\x00" in v)) for v in column.values)


def _as_text(table: pa.Table, ending: str, odd: list[str]) -> bytes:
    names, records = table.column_names, _plain_rows(table)
    written = io.StringIO()
    if ending.startswith("json"):
        lines = [json.dumps(dict(zip(names, record, strict=True)), default=str) for record in records]
        written.write("[" + ",\n".join(lines) + "]" if ending == "json" else "\n".join(lines) + "\n")
    else:
        writer = csv.writer(written, delimiter="\t" if "tab" in odd or ending == "tsv" else ",", lineterminator="\n")
        if "headless" not in odd:
            writer.writerow(names)
        writer.writerows([["" if v is None else v for v in record] for record in records])
    text = written.getvalue()
    text = text.replace("\n", "\r\n") if "cr" in odd else text
    text = "\ufeff" + text if "bom" in odd else text
    text += {"ragged": "1,2\n1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n", "quote": '"never closed\n'}.get(
        "".join(odd), ""
    )
    encoded = text.encode("latin-1" if "latin" in odd else "utf-16" if "utf16" in odd else "utf-8", "replace")
    return encoded[:-40] if "cut" in odd else encoded


def _plain_rows(table: pa.Table) -> list[list[Any]]:
    columns = []
    for column in table.columns:
        try:
            columns.append(column.to_pylist())
        except (UnicodeDecodeError, ValueError, OverflowError):
            columns.append(["unreadable"] * table.num_rows)
    return [[v.decode("latin-1") if isinstance(v, bytes) else v for v in row] for row in zip(*columns, strict=True)]


def _documents() -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = []
    for number in range(12):
        stamp = f"2024-03-{1 + number % 4:02d}T09:{number:02d}:00.000Z"
        base = {"application": "shop", "query_id": f"q{number}", "client_id": f"c{number % 3}", "timestamp": stamp}
        documents.append(base | {"user_query": f"query {number % 2}", "query_response_hit_ids": ["a", "b", "c"]})
        for ordinal, item in enumerate("ab"):
            shown = {"object": {"object_id": item, "description": f"thing {item}"}, "position": {"ordinal": ordinal}}
            documents.append(
                base | {"action_name": "impression", "session_id": f"s{number}", "event_attributes": shown}
            )
        documents.append(documents[-1 - number % 2] | {"action_name": "click"})
        documents.append(documents[-1] | {"action_name": "purchase"})
    return documents


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = document.get(parent)
        document[parent] = dict(inner) if isinstance(inner, dict) else {}
        document = document[parent]
    document[last] = value


def _lose(document: dict[str, Any], path: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        inner = document.get(parent)
        if not isinstance(inner, dict):
            return
        document[parent] = dict(inner)
        document = document[parent]
    document.pop(last, None)


def _write_documents(case: Case, folder: Path) -> int | None:
    documents, lines, form = _documents(), [], "ndjson"
    for what, *arguments in case.steps:
        match what, *arguments:
            case "put", number, path, value:
                _put(documents[number % len(documents)], path, VALUES[value])
            case "put_all", path, value:
                for document in documents:
                    _put(document, path, VALUES[value])
            case "lose", number, path:
                _lose(documents[number % len(documents)], path)
            case "lose_all", path:
                for document in documents:
                    _lose(document, path)
            case "line", line:
                lines.append(line)
            case "written", form_:
                form = form_
    if form == "parquet":
        try:
            pq.write_table(pa.Table.from_pylist(documents), folder / "ubi.parquet")
            return None
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            form = "ndjson"
    text = "\n".join([*(json.dumps(d, default=_as_json, ensure_ascii=False) for d in documents), *lines]) + "\n"
    if form == "array":
        text = json.dumps(documents, default=_as_json, indent=1)
    content = text.encode("latin-1" if form == "latin" else "utf-8", "replace")
    content = content[:-30] if form == "cut" else content
    name = {"array": "ubi.json", "latin": "ubi.ndjson", "cut": "ubi.ndjson"}.get(form, f"ubi.{form}")
    (folder / name).write_bytes(gzip.compress(content) if form == "ndjson.gz" else content)
    return None


def _as_json(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
