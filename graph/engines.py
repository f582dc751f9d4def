"""The engines that evaluate the graph's Ibis expressions: DuckDB on one machine, Spark for what it cannot hold.

Both read Parquet and write Parquet, so an expression's result is always a file: DuckDB spills its working memory to the
scratch folder, and nothing of the log is ever held in Python.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import InputError
from configs.packages import not_installed
from configs.schema import GraphEngine
from graph.logs.database import text
from graph.logs.log import DAY_OF_FILE, FILE, impressions_pattern


@dataclass(frozen=True)
class Workbench:
    """A connected engine and the scratch folder where its intermediate tables lie."""

    engine: GraphEngine
    backend: Any
    scratch: Path

    def impressions(self, folder: Path) -> Any:
        """The checked log's impressions as a table expression; ``day`` comes from the files' own folders."""
        if self.engine is GraphEngine.duckdb:
            rows = self.backend.read_parquet(impressions_pattern(folder.parent), hive_partitioning=False, filename=FILE)
            return rows.mutate(day=rows[FILE].re_extract(DAY_OF_FILE, 1)).drop(FILE)
        return self.backend.read_parquet(str(folder))

    def keep(self, expression: Any, name: str) -> Any:
        """Evaluate an expression once, into ``scratch/<name>.parquet``, and return the stored table."""
        if self.engine is GraphEngine.duckdb:
            # Ibis's own to_parquet writes a newline in the path as a backslash and an n.
            query = self.backend.compile(expression)
            self.backend.con.execute(f"COPY ({query}) TO {text(self.path(name))} (FORMAT 'parquet')")
        else:
            self.backend.to_parquet(expression, str(self.path(name)))
        return self.table(name)

    def put(self, table: pa.Table, name: str) -> Any:
        """Store a small table of ours where the engine can join it."""
        pq.write_table(table, self.path(name))
        return self.table(name)

    def table(self, name: str) -> Any:
        """A kept table, by name."""
        if self.engine is GraphEngine.duckdb:
            # Folders above may be named key=value, as sweeps name them: no columns of ours.
            return self.backend.read_parquet(glob.escape(str(self.path(name))), hive_partitioning=False)
        return self.backend.read_parquet(str(self.path(name)))

    def path(self, name: str) -> Path:
        return self.scratch / f"{name}.parquet"

    def rows(self, name: str) -> int:
        """Number of rows of a kept table, from the files' footers."""
        return sum(pq.read_metadata(file).num_rows for file in self._files(name))

    def batches(self, name: str, rows: int = 1 << 19) -> Iterator[pa.RecordBatch]:
        """A kept table in the order in which it was written."""
        for file in self._files(name):
            yield from pq.ParquetFile(file).iter_batches(batch_size=rows)

    def read(self, name: str) -> pa.Table:
        """A small kept table, whole."""
        return pa.concat_tables([pq.read_table(file) for file in self._files(name)])

    def _files(self, name: str) -> list[Path]:
        # Spark writes a folder of parts; a globally sorted result is in the order of the parts' names.
        path = self.path(name)
        return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


@contextmanager
def workbench(engine: GraphEngine, scratch: Path, memory_limit_gb: float) -> Iterator[Workbench]:
    """Connect an engine; the scratch folder and everything in it is removed at the end.

    Args:
        engine: DuckDB or Spark.
        scratch: folder for intermediate tables and DuckDB's spilled memory; made anew.
        memory_limit_gb: memory that DuckDB may use before it spills, or that Spark's driver gets, in GB (10^9 bytes).

    Raises:
        InputError: if Spark is asked for and not installed, if DuckDB's memory does not suffice, or if a file of the
            checked log is damaged.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "spill").mkdir(parents=True)
    backend = _duckdb(scratch, memory_limit_gb) if engine is GraphEngine.duckdb else _spark(scratch, memory_limit_gb)
    try:
        yield Workbench(engine, backend, scratch)
    except duckdb.OutOfMemoryException as error:
        raise InputError(f"DuckDB ran out of its {memory_limit_gb} GB: raise graph.memory_limit_gb ({error})") from None
    except duckdb.InvalidInputException as error:
        if ".parquet" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise InputError(f"the checked log is damaged ({reason}): delete the run's logs folder and run again") from None
    finally:
        backend.disconnect()
        shutil.rmtree(scratch, ignore_errors=True)


def _duckdb(scratch: Path, memory_limit_gb: float) -> Any:
    return ibis.duckdb.connect(
        memory_limit=f"{memory_limit_gb}GB",
        temp_directory=str(scratch / "spill"),
        # Results that are not sorted need no order, and keeping one costs memory.
        preserve_insertion_order=False,
    )


def _spark(scratch: Path, memory_limit_gb: float) -> Any:
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise not_installed("pyspark") from None
    session = (
        SparkSession.builder.appName("grace graph")
        .config("spark.driver.memory", f"{max(1, round(memory_limit_gb))}g")
        .config("spark.local.dir", str(scratch / "spill"))
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return ibis.pyspark.connect(session)
