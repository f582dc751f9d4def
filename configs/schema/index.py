"""Keys of the room ``index``: the audit, the report server and the trends."""

from __future__ import annotations

from dataclasses import dataclass

from configs.ranges import LARGEST_PORT
from configs.schema.fields import key


@dataclass
class IndexConfig:
    """FAISS audit of psi and phi."""

    neighbours: list[int] = key([10, 50], "k of overlap@k", ascending=True)
    queries: int = key(20_000, "items whose neighbours are searched at most; drawn with the run's seed", above=0)
    hold_out: float = key(0.1, "share of P held out for the cold-start protocol", share=True)
    hold_out_max_epochs: int = key(10, "epochs of the hold-out's psi at most", above=0)
    a: str | None = key(None, "folder of an embedding table: audit b against it in place of a run's phi; short: a=")
    b: str | None = key(None, "folder of the other embedding table; short: b=")
    items: str | None = key(None, "Parquet file of the tables' items (item_id, attributes), for purity; short: items=")
    output: str | None = key(
        None, "where the audit of two tables is written; none: runs/<run>/index/tables, or audit_of_tables without run="
    )


@dataclass
class ServeConfig:
    """The reports of all runs in a browser, on this machine only."""

    port: int = key(8765, "of 127.0.0.1; 0: a free one, which the command prints", at_least=0, at_most=LARGEST_PORT)


@dataclass
class TrendsConfig:
    """Figures of several runs or dates, and what moved."""

    runs: list[str] = key([], "folders of runs_folder, e.g. [monday,tuesday]; empty: all that have the same data")
    systems: list[str] = key([], "systems to report, the audits of their phi included; empty: all")
    metrics: list[str] = key([], "metrics to report, e.g. [gauc_click,recall_at_10]; empty: all")
    segments: list[str] = key([], "segments to report, e.g. [all,tail]; empty: all")
