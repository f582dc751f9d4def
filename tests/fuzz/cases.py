"""What is tried: a good log in one of its forms, spoilt in a few places, at an odd path, with odd keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.tables import NAMES, TYPES, VALUES, good_log

COLUMNS = {called: [name for name, _ in table.columns] for called, table in good_log().items()}
ROWS = {called: table.rows for called, table in good_log().items()}

PLACES = (
    *(
        "plain",
        "a[1]",
        "a b",
        "it's",
        'say "so"',
        "a#b",
        "a%20b",
        "day=2024-03-01",
        "x=1/y=2",
        "漢字",
        "e\u0301",
        "{a,b}",
    ),
    *(
        "*",
        "a?b",
        "-dash",
        "~",
        "$HOME",
        "a;b",
        "new\nline",
        "d" * 200,
        ".hidden",
        "a.parquet",
        "${x}",
        "1e3",
        "null",
        "a\\b",
    ),
)
"""Names of the folder that the log lies in, and of the folder of runs."""

FILES = (
    *("second_file", "hour_folder", "hour_beside", "empty_file", "empty_day", "cut", "zero_bytes", "text_file", "crc"),
    *(
        "bad_day",
        "no_day",
        "two_levels",
        "no_items",
        "items_folder",
        "no_users",
        "no_queries",
        "other_folder",
        "file_at_top",
    ),
    *("link", "dead_link", "upper_ending", "local_days", "one_day", "int96"),
)
"""What may be odd about the files of a folder in the contract's form."""

EXPRESSIONS = (
    *(
        "position + 1",
        "lower(query)",
        "to_timestamp(position)",
        "position +",
        "nope",
        "read_csv('/etc/passwd')",
        "query; DROP",
    ),
    *(
        "(SELECT 1)",
        "1/0",
        "CAST(query AS INTEGER)",
        "",
        "*",
        "'x'",
        "NULL",
        "random()",
        "sum(position)",
        "getenv('HOME')",
    ),
    *("row_number() OVER ()", "unnest([1, 2])", "a -- b", "[query]", "{'a': 1}", "TRY_CAST(query AS DOUBLE)"),
)
"""SQL of a mapping."""

KEYS = (
    *("data.split.by=session", "data.split.by=day", "data.split.by=week", "data.split.shares=[0.5,0.25,0.25]"),
    *("data.split.shares=[1,0,0]", "data.split.shares=[0.7,0.1]", "data.split.shares=[nan,0.5,0.5]"),
    "data.split.shares=[-1,1,1]",
    "data.split.train=[2024-03-01] data.split.validation=[2024-03-02] data.split.test=[2024-03-03..2024-03-04]",
    *("data.split.train=[2024-03-01]", "data.split.train=[2024-3-1]", "data.split.test=[2030-01-01]"),
    *("data.rejected_share=1", "data.rejected_share=0", "data.rejected_share=1.5", "data.rejected_share=nan"),
    *("data.rejected_share=", "data.rejected_share=[1]", "data.attributes=[brand,title]", "data.attributes=[nope]"),
    *("data.attributes=[item_id]", "data.attributes=[price]", "data.attributes=[brand,brand]", "data.cutoffs=[]"),
    *("data.cutoffs=[2,1]", "data.cutoffs=[0]", "data.features=[{column: brand}]", "data.features=[{colum: brand}]"),
    *("data.features=[brand]", "data.features=[{column: clicked}]", "data.features=[{column: nope, side: pair}]"),
    *("data.add_features=[{column: device, side: request}]", "data.remove_features=[user_id]", "data.features=5"),
    *(
        "graph.degree_cap=1",
        "graph.degree_cap=0",
        "graph.degree_cap=99999999999999999999",
        "graph.half_life_days=1e-300",
    ),
    *("graph.half_life_days=1e300", "graph.half_life_days=0", "graph.half_life_days=inf", "graph.weight_click=0"),
    *("graph.weight_order=0", "graph.weight_click=1e308 graph.weight_order=1e308", "graph.weight_touch=nan"),
    *("graph.item_item_window=2", "graph.item_item_window=1", "graph.days=[2024-03-01]", "graph.days=[2024-03-04]"),
    *("graph.memory_limit_gb=0.001", "graph.memory_limit_gb=1e9", "graph.attributes=[device]", "seed=-1", "seed=1.5"),
    *(
        "seed=18446744073709551616",
        "seed=x",
        "engine=spark2",
        "data.nope=1",
        "=1",
        "data=",
        "data.path=",
        "x",
        "--",
        "é=1",
    ),
    *(
        "data.world=nope",
        "run=",
        "run=a/b",
        "run=..",
        "run=.",
        "run=2024_05_01",
        "run=null",
        "run=漢",
        "name=a/b",
        "data.path",
    ),
    *(
        "run=a\x00b",
        "runs_folder=\x00",
        "data.path=\x00",
        "data.split.by=${seed}",
        "data={",
        "data.split=[",
        "experiment=nope",
    ),
    *("run=" + "r" * 300, "overwrite=true", "overwrite=maybe", "data.table.impressions.where=1", "data.ubi.click=[]"),
)
"""Overrides, sensible and not."""


@dataclass(frozen=True)
class Case:
    """One log and one command.

    Attributes:
        form: contract, table, frames or ubi.
        command: log (the checks alone), build (and the graph), check or pretrain (and psi, one epoch).
        steps: what is done to the good log, as (what, arguments...).
        place: name of the log's folder.
        runs: name of the folder of runs.
        keys: overrides.
    """

    form: str
    command: str = "log"
    steps: tuple[tuple[Any, ...], ...] = ()
    place: str = "plain"
    runs: str = "plain"
    keys: tuple[str, ...] = ()


def steps_of(called: str) -> st.SearchStrategy[tuple[Any, ...]]:
    """One change of a table."""
    column, row = st.sampled_from(COLUMNS[called]), st.integers(0, ROWS[called] - 1)
    table, types, names = st.just(called), st.sampled_from(sorted(TYPES)), st.sampled_from(sorted(NAMES))
    return st.one_of(
        st.tuples(st.just("type"), table, column, types),
        st.tuples(st.just("value"), table, column, row, st.sampled_from(sorted(VALUES))),
        st.tuples(st.just("add"), table, names, types),
        st.tuples(st.just("all"), table, column, st.sampled_from(sorted(VALUES))),
        st.tuples(st.just("name"), table, column, names),
        st.tuples(st.just("drop"), table, column),
        st.tuples(st.just("repeat"), table, row),
        st.tuples(st.just("move"), table, column, row),
    )


TABLE_STEPS = st.sampled_from(["impressions"] * 5 + ["items"] * 3 + ["users", "queries"]).flatmap(steps_of)
FILE_STEPS = st.tuples(st.just("file"), st.sampled_from(FILES))
MAPPING_STEPS = st.one_of(
    st.tuples(st.just("sql"), st.sampled_from(COLUMNS["impressions"]), st.sampled_from(EXPRESSIONS)),
    st.tuples(st.just("where"), st.sampled_from(EXPRESSIONS)),
    st.tuples(
        st.just("text"), st.sampled_from(["latin", "utf16", "ragged", "quote", "bom", "cr", "tab", "headless", "cut"])
    ),
    st.tuples(st.just("written"), st.sampled_from(["csv", "csv.gz", "json", "jsonl", "parquet", "tsv", "txt"])),
    st.tuples(st.just("unmapped")),
)
PATHS = (
    *(
        "query_id",
        "client_id",
        "user_query",
        "timestamp",
        "query_response_hit_ids",
        "action_name",
        "session_id",
        "user_id",
    ),
    *(
        "event_attributes",
        "event_attributes.object",
        "event_attributes.object.object_id",
        "application",
        "query",
        "message",
    ),
    *(
        "event_attributes.position",
        "event_attributes.position.ordinal",
        "event_attributes.object.object_detail",
        "_source",
    ),
    *("query_attributes", "message_type", "event_attributes.object.price", "event_attributes.object.Title", "index"),
)
DOCUMENT_STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 60), st.sampled_from(PATHS), st.sampled_from(sorted(VALUES))),
    st.tuples(st.just("put_all"), st.sampled_from(PATHS), st.sampled_from(sorted(VALUES))),
    st.tuples(st.just("lose"), st.integers(0, 60), st.sampled_from(PATHS)),
    st.tuples(st.just("lose_all"), st.sampled_from(PATHS)),
    st.tuples(
        st.just("line"),
        st.sampled_from(["{", "[]", "1", "null", "", '{"index": {}}', "\x1f", "x" * 99, '"a"', "\ufeff{}"]),
    ),
    st.tuples(
        st.just("written"), st.sampled_from(["ndjson", "ndjson.gz", "jsonl", "parquet", "array", "latin", "cut"])
    ),
)
STEPS = {
    "contract": st.one_of(TABLE_STEPS, TABLE_STEPS, FILE_STEPS),
    "table": st.one_of(TABLE_STEPS, MAPPING_STEPS),
    "frames": TABLE_STEPS,
    "ubi": DOCUMENT_STEPS,
}


def _of_form(form: str) -> st.SearchStrategy[Case]:
    usual = st.just("plain")
    places = st.one_of(usual, usual, st.sampled_from(PLACES))
    commands = ["log"] * 30 + ["build"] * 10 + ([*["check"] * 10, "pretrain"] if form != "frames" else [])
    step = STEPS[form]
    steps = st.one_of(st.just(()), st.tuples(step), st.tuples(step), st.tuples(step, step), st.lists(step, max_size=4))
    key = st.sampled_from(KEYS)
    keys = st.one_of(st.just(()), st.just(()), st.just(()), st.tuples(key), st.lists(key, max_size=2))
    return st.builds(Case, st.just(form), st.sampled_from(commands), steps.map(tuple), places, places, keys.map(tuple))


CASES = st.sampled_from(["contract"] * 5 + ["table"] * 3 + ["frames"] * 2 + ["ubi"] * 2).flatmap(_of_form)
"""Any case."""
