"""What ``graph.check`` prints: readable in a narrow terminal and in a file; nothing in it is taken for markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from configs.console import console, say, table
from graph.logs.contract import IMPRESSION_COLUMNS
from graph.logs.log import SearchLog
from graph.understanding.remedies import remedy
from graph.understanding.suggest import Suggestion
from graph.understanding.template import kept, plain

EXAMPLES, COLUMNS, NAMES = 10, 24, 40
SOURCE = 48
"""Characters of a source column or expression beside which the reason still stands in the same line."""
WIDEST = 28
"""Characters of a cell of an example row at most."""


def tell_suggestions(suggestions: Sequence[Suggestion]) -> None:
    """Each table's columns: what they become, and why."""
    for suggestion in suggestions:
        sample = suggestion.sample
        rows = [(column, plain(mapped), mapped.why) for column, mapped in suggestion.columns.items()]
        if suggestion.unnest:
            rows.append(("(unnest)", ", ".join(suggestion.unnest), "lists, taken apart side by side"))
        if suggestion.where:
            rows.append(("(where)", suggestion.where, "other rows hold no list"))
        rows += [(f"({kind})", ", ".join(values), "values of event") for kind, values in suggestion.kinds.items()]
        if kept(suggestion):
            more = len(kept(suggestion)) - NAMES
            names = ", ".join(kept(suggestion)[:NAMES]) + (f" and {more:,} more" if more > 0 else "")
            rows.append(("(as it is)", names, ""))
        why_left = dict.fromkeys(suggestion.leave.values())
        rows += [("(left out)", ", ".join(c for c, w in suggestion.leave.items() if w == why), why) for why in why_left]
        listing(f"{suggestion.table}: {', '.join(sample.files) or sample.name} ({sample.format})", rows)


def tell_rows(log: SearchLog) -> None:
    """Ten rows of the log as it was understood, and some of its items."""
    order = {column.name: number for number, column in enumerate(IMPRESSION_COLUMNS)}
    first = log.dataset().head(EXAMPLES)
    names = [c for c in first.column_names if first[c].null_count < len(first) and c not in ("day", "split")]
    names.sort(key=lambda column: order.get(column, len(order)))
    more = f"; {len(names) - COLUMNS} more columns" if len(names) > COLUMNS else ""
    examples(f"the first {len(first)} impressions, as understood{more}", first.select(names[:COLUMNS]))
    items = pq.ParquetFile(log.folder / "items.parquet").iter_batches(3)
    examples("items", pa.Table.from_batches([next(items)]))


def tell_checks(rejected: dict[str, int], rows: int, folder: Path) -> None:
    """Rows that were rejected, by reason, with an example and what to do."""
    if not rejected:
        say(f"\nchecks: all {rows:,} rows pass")
        return
    say(f"\nchecks: {sum(rejected.values()):,} of {rows:,} rows are rejected")
    every = pq.read_table(folder / "rejected.parquet")
    reasons = every["reason"].to_pylist()
    for reason, count in rejected.items():
        example = every.slice(reasons.index(reason), 1).to_pylist()[0]
        say(f"  {count:,} rows: {reason}")
        say(f"      e.g. {example['source']} row {example['row']:,} (from 0): {short(example['content'], 200)}")
        if remedy(reason):
            say(f"      {remedy(reason)}")


def tell_unseen(shares: Iterable[tuple[str, int, float]]) -> None:
    """What of the test split training never saw."""
    rows = [(column, f"{new:,}", f"{share:.1%}") for column, new, share in shares]
    table("of the test split, training never saw", ("column", "values", "of the rows"), rows)


def tell_list(title: str, sentences: Sequence[str]) -> None:
    """Numbered sentences; nothing where there are none."""
    if sentences:
        say(f"\n{title}")
    for number, sentence in enumerate(sentences, 1):
        say(f"  {number}. {sentence}")


def listing(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Columns with what they are read from and why, which stands below where the terminal is narrow."""
    say(f"\n{title}")
    first = max((len(called) for called, _, _ in rows), default=0)
    second = min(max((len(source) for _, source, _ in rows), default=0), SOURCE)
    for called, source, why in rows:
        line = f"  {called:{first}}  {source:{second}}"
        if not why or len(line) + len(why) + 2 <= console.width:
            say(f"{line}  {why}".rstrip())
        else:
            say(f"{line.rstrip()}\n  {'':{first}}    {why}")


def examples(title: str, rows: pa.Table) -> None:
    """Rows as text, in blocks of as many columns as fit beside each other."""
    say(f"\n{title}")
    columns = [[column, *(_cell(value) for value in rows[column].to_pylist())] for column in rows.column_names]
    block: list[list[str]] = []
    for column in [*columns, None]:
        width = sum(_width(each) + 2 for each in block) + (_width(column) if column else 0)
        if block and (column is None or width + 2 > console.width):
            for line in zip(*block, strict=True):
                say("  " + "  ".join(f"{cell:{_width(of)}}" for cell, of in zip(line, block, strict=True)).rstrip())
            block = []
            if column is not None:
                say("")
        if column is not None:
            block.append(column)


def short(value: str, most: int = WIDEST) -> str:
    """A text cut to a length, in one line."""
    line = " ".join(value.split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return short(str(value))


def _width(cells: Sequence[str]) -> int:
    return max(map(len, cells))
