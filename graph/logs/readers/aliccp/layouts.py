"""The two layouts that Ali-CCP is held in, brought to the same tables: ``shown`` (impressions) and ``people``.

``shown``: person (number of the user at a moment), file_split, source, source_row, item_id and its attributes,
position_class, the pair's columns, clicked, ordered, problem and content. ``people``: person, key, query and the user's
columns.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from configs.console import say
from configs.errors import InputError
from graph.logs.database import name, reading, text
from graph.logs.readers.undated import files_with, first_problem, only, scan_lines, scan_table

PERSON = {
    "101": "member",
    "121": "profile",
    "122": "profile_group",
    "124": "gender",
    "125": "age",
    "126": "consumption_1",
    "127": "consumption_2",
    "128": "occupation",
    "129": "geography",
}
TASTES = {"109_14": "categories", "110_14": "shops", "127_14": "brands", "150_14": "intentions"}
"""Fields of several ids with a weight each: what the user dealt with in the 14 days before."""

ITEM = {"206": "category", "207": "shop", "210": "intention", "216": "brand"}
PAIR_IDS = {"508": "category_match", "509": "shop_match", "702": "brand_match", "853": "intention_match"}
PAIR_VALUES = {field: f"{called.removesuffix('_match')}_affinity" for field, called in PAIR_IDS.items()}
ITEM_FIELD, PLACE_FIELD = "205", "301"
JOINED = (
    "click",
    "purchase",
    *PERSON,
    *TASTES,
    ITEM_FIELD,
    *ITEM,
    *PAIR_IDS,
    PLACE_FIELD,
    *(f"D{f}" for f in PAIR_IDS),
)
"""Columns of the joined tables that are read; of each of the `TASTES` they keep one id."""

SKELETON = ("sample_id", "click", "buy", "common_feature_index", "feature_num", "feature_list")
COMMON = ("common_feature_index", "feature_num", "feature_list")
STRONGEST = 10
"""Ids of a taste that are kept, by weight: the full lists of some users hold thousands."""

ONE, TWO, THREE = (f"chr({code})" for code in (1, 2, 3))
"""Between features, between field and id, between id and value."""

SHOWN = f"""
    CREATE TABLE shown (person BIGINT, file_split VARCHAR, source VARCHAR, source_row BIGINT, item_id VARCHAR,
        {", ".join(f"{column} VARCHAR" for column in (*ITEM.values(), "position_class", *PAIR_IDS.values()))},
        {", ".join(f"{column} FLOAT" for column in PAIR_VALUES.values())},
        clicked BOOLEAN, ordered BOOLEAN, problem VARCHAR, content VARCHAR)
"""
PEOPLE = f"""
    CREATE TABLE people (person BIGINT, key VARCHAR, query VARCHAR,
        {", ".join(f"{column} VARCHAR" for column in PERSON.values())},
        {", ".join(f"{column} VARCHAR[]" for column in TASTES.values())})
"""
NO_INTENTION = "no intention"


def load_published(connection: duckdb.DuckDBPyConnection, root: Path) -> bool:
    """Load skeletons and common features, if the folder has them.

    Raises:
        InputError: if only some of the four files are there, or a key of common features repeats.
    """
    stems = [(kind, split) for split in ("train", "test") for kind in ("sample_skeleton", "common_features")]
    files = {
        (kind, split): only(_anywhere(root, f"{kind}_{split}.csv"), root, f"{kind}_{split}.csv")
        for kind, split in stems
    }
    lacking = [f"{kind}_{split}.csv" for (kind, split), file in files.items() if file is None]
    if len(lacking) == len(files):
        return False
    if lacking:
        raise InputError(f"{root} lacks {', '.join(lacking)}: Ali-CCP is four files, two of train and two of test")
    connection.execute(SHOWN)
    connection.execute(PEOPLE)
    for split in ("train", "test"):
        common, skeleton = files["common_features", split], files["sample_skeleton", split]
        assert common is not None
        assert skeleton is not None
        _load_people(connection, split, common)
        _load_skeleton(connection, split, skeleton)
    return True


def _anywhere(root: Path, called: str) -> list[Path]:
    return sorted(file for pattern in (f"{called}*", f"*/{called}*") for file in root.glob(pattern) if file.is_file())


def _load_people(connection: duckdb.DuckDBPyConnection, split: str, file: Path) -> None:
    """Add the users of a file of common features to ``people``, and the bad lines to ``bad_people``.

    Raises:
        InputError: if lines are cut off or keys repeat: impressions could not be joined.
    """
    chosen = ", ".join((*(_single(field) for field in PERSON), *(_strongest(field) for field in TASTES)))
    with reading(file):
        connection.execute(f"""
            INSERT INTO people
            SELECT (SELECT count(*) FROM people) + source_row, {text(split + "/")} || common_feature_index,
                coalesce('intention ' || ({_strongest("150_14")})[1], {text(NO_INTENTION)}), {chosen}
            FROM (
                SELECT *, string_split(feature_list, {ONE}) AS features
                FROM {scan_lines(file, COMMON, ",")}
                WHERE {_bad_features()} IS NULL AND common_feature_index IS NOT NULL
            )
        """)
        (lines,), *_ = connection.sql(f"SELECT count(*) FROM {scan_lines(file, COMMON, ',')}").fetchall()
    (good, keys), *_ = connection.sql(
        f"SELECT count(*), count(DISTINCT key) FROM people WHERE starts_with(key, {text(split + '/')})"
    ).fetchall()
    if not good or keys < good:
        raise InputError(
            f"{file}: expected one line a user, {','.join(COMMON)}, with feature_num features such as "
            f"101\\x02ID\\x031.0 between \\x01; found {lines:,} lines, {lines - good:,} that are not and "
            f"{good - keys:,} repeated keys: give the file as published"
        )
    say(f"read {good:,} users at a moment of {file.name}" + (f"; {lines - good:,} lines are bad" * (lines > good)))


def _load_skeleton(connection: duckdb.DuckDBPyConnection, split: str, file: Path) -> None:
    """Add the impressions of a skeleton to ``shown``."""
    single = {ITEM_FIELD: "item_id"} | ITEM | {PLACE_FIELD: "position_class"} | PAIR_IDS
    problem = first_problem(
        (
            (
                "the line is not " + ", ".join(SKELETON),
                "surplus IS NOT NULL OR features IS NULL",
            ),
            ("click or buy is neither 0 nor 1", "NOT coalesce(click IN ('0', '1') AND buy IN ('0', '1'), false)"),
            ("feature_num is not the number of features", f"{_bad_features()} IS NOT NULL"),
            (f"field {ITEM_FIELD} (item) does not occur exactly once", f"NOT ({_count(ITEM_FIELD)}) = 1"),
            (f"common_feature_index is not in common_features_{split}.csv", "person IS NULL"),
        )
    )
    with reading(file):
        connection.execute(f"""
            INSERT INTO shown
            SELECT person, {text(split)}, {text(file.name)}, source_row, {_singles(single)},
                {", ".join(f"coalesce({_value(field)}, 0)" for field in PAIR_VALUES)}, click = '1', buy = '1', problem,
                CASE WHEN problem IS NOT NULL THEN CAST(to_json({{'line': concat_ws(',', {", ".join(SKELETON)})}})
                    AS VARCHAR) END
            FROM (SELECT *, {problem} AS problem FROM (
                SELECT *, string_split(feature_list, {ONE}) AS features FROM {scan_lines(file, SKELETON, ",")}
            ) LEFT JOIN (SELECT person, key FROM people) ON key = {text(split + "/")} || common_feature_index)
        """)
    (rows,), *_ = connection.sql(f"SELECT count(*) FROM shown WHERE file_split = {text(split)}").fetchall()
    say(f"read {rows:,} rows of {file.name}")


def _bad_features() -> str:
    """SQL: not null where the list is not ``feature_num`` features of field, id and value."""
    number = "TRY_CAST(feature_num AS BIGINT)"
    part = "'[^\\x01\\x02\\x03]+'"
    whole = f"{ONE} || {part} || {TWO} || {part} || {THREE} || {part}"
    good = f"len(regexp_extract_all({ONE} || feature_list, {whole})) = {number}"
    split = f"len(string_split(feature_list, {ONE})) = {number}"
    return f"CASE WHEN NOT coalesce({good} AND {split}, false) THEN true END"


def _of(field: str) -> str:
    return f"list_filter(features, lambda f: starts_with(f, {text(field)} || {TWO}))"


def _count(field: str) -> str:
    return f"len({_of(field)})"


def _id(feature: str) -> str:
    return f"split_part(split_part({feature}, {TWO}, 2), {THREE}, 1)"


def _single(field: str) -> str:
    """SQL: the id of a field that occurs once, else null."""
    return f"{_id(f'{_of(field)}[1]')}"


def _singles(columns: dict[str, str]) -> str:
    return ", ".join(f"{_single(field)} AS {called}" for field, called in columns.items())


def _value(field: str) -> str:
    """SQL: the value of a field that occurs once, else null."""
    return f"TRY_CAST(split_part({_of(field)}[1], {THREE}, 2) AS FLOAT)"


def _strongest(field: str) -> str:
    """SQL: the ids of a field with several, those of the largest values first (ties: the larger id)."""
    pairs = f"list_transform({_of(field)}, lambda f: (TRY_CAST(split_part(f, {THREE}, 2) AS DOUBLE), {_id('f')}))"
    return f"list_transform(list_reverse_sort({pairs})[1:{STRONGEST}], lambda pair: pair[2])"


def load_joined(connection: duckdb.DuckDBPyConnection, root: Path) -> bool:
    """Load joined tables, if the folder has them: the file's name holds ``train``, ``val`` or ``test``."""
    files = {
        split: only(files_with(root, word, JOINED), root, f"joined table of {split}")
        for split, word in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    if files["train"] is None or files["test"] is None:
        return False
    connection.execute(SHOWN)
    connection.execute(PEOPLE)
    for split, file in files.items():
        if file is not None:
            _insert_joined(connection, split, file)
    return True


def _insert_joined(connection: duckdb.DuckDBPyConnection, split: str, file: Path) -> None:
    """Add the rows of a joined table; the user at a moment is all that tells its users apart."""
    user_columns = ", ".join(name(field) for field in (*PERSON, *TASTES))
    digest = f"md5(CAST([{user_columns}] AS VARCHAR)) AS digest"
    scan = f"(SELECT row_number() OVER () - 1 AS source_row, *, {digest} FROM {scan_table(file)})"
    tastes = ", ".join(f"nullif([{name(field)}], ['0'])" for field in TASTES)
    problem = first_problem(
        (
            (
                "click or purchase is neither 0 nor 1",
                "NOT coalesce(click IN ('0', '1') AND purchase IN ('0', '1'), false)",
            ),
            (f"{ITEM_FIELD} (item) is empty", f"{name(ITEM_FIELD)} IS NULL"),
        )
    )
    # Renumbering gives rare ids the number 0, which many items then share: their attributes tell them apart.
    described = ", ".join(name(field) for field in ITEM)
    item = f"CASE {name(ITEM_FIELD)} WHEN '0' THEN concat_ws(' ', 'rare', {described}) ELSE {name(ITEM_FIELD)} END"
    ids = ", ".join(name(field) for field in (*ITEM, PLACE_FIELD, *PAIR_IDS))
    values = ", ".join(f"coalesce(TRY_CAST({name('D' + field)} AS FLOAT), 0)" for field in PAIR_IDS)
    with reading(file):
        connection.execute(f"""
            INSERT INTO people
            SELECT (SELECT count(*) FROM people) + row_number() OVER (ORDER BY first_row) - 1,
                {text(split + "/")} || digest, coalesce('intention ' || nullif("150_14", '0'), {text(NO_INTENTION)}),
                {", ".join(name(field) for field in PERSON)}, {tastes}
            FROM (SELECT digest, min(source_row) AS first_row, {
            ", ".join(f"any_value({name(f)}) AS {name(f)}" for f in (*PERSON, *TASTES))
        } FROM {scan} GROUP BY digest)
        """)
        connection.execute(f"""
            INSERT INTO shown
            SELECT person, {text(split)}, {text(file.name)}, source_row, {item}, {ids}, {values}, click = '1',
                purchase = '1', {problem} AS problem,
                CASE WHEN problem IS NOT NULL THEN CAST(to_json(joined) AS VARCHAR) END
            FROM {scan} AS joined JOIN (SELECT person, key FROM people) ON key = {text(split + "/")} || digest
        """)
    (rows,), *_ = connection.sql(f"SELECT count(*) FROM shown WHERE file_split = {text(split)}").fetchall()
    say(f"read {rows:,} rows of {file.name}")
