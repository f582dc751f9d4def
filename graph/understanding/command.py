"""``python -m graph.check``: read, map and check a log, say what was understood; nothing but ``init`` is written."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from configs import layers
from configs.command import Invocation
from configs.console import say
from configs.errors import InputError
from configs.schema import Config, DataConfig, TableConfig
from configs.stages import replacing
from graph.logs.database import scratch_database
from graph.logs.log import SearchLog
from graph.logs.prepare import understand_log
from graph.understanding import report, template
from graph.understanding.advice import Judge, advice, lower_cutoffs, unseen
from graph.understanding.ids import rewriting
from graph.understanding.mending import agreeing, with_items
from graph.understanding.sampling import samples_below
from graph.understanding.suggest import Sample, Suggestion, suggest

TellFeatures = Callable[[DataConfig, SearchLog], None]
"""Prints the features that a system would be fitted with; they are the business of a later room."""
SHOWN_IDS = 10_000
UNKNOWN_ITEM = "item_id is not in the items table"


def check(invocation: Invocation, tell_features: TellFeatures) -> None:
    """Read, map, check and describe the log of ``data``; write the suggested mapping where ``check.init`` says.

    Raises:
        InputError: if the log cannot be used as it is, with all that stands in its way.
    """
    config = _with_reader(invocation)
    target = None if config.check.init is None else Path(config.check.init).expanduser()
    unmapped = config.data.name == "table" and config.data.table == TableConfig()
    if target is not None:
        _require_writable(target, unmapped, config)
    with tempfile.TemporaryDirectory(prefix="graph-check-") as scratch:
        problems: list[str] = []
        if unmapped:
            mapping = _suggest(config, Path(scratch) / "suggest", problems)
            if target is not None and mapping:
                with replacing(target) as temporary:
                    temporary.write_text(template.write(mapping, str(config.data.path), str(target)), encoding="utf-8")
                say(f"\nwritten: {target}")
            if problems or not mapping:
                raise InputError(_joined("the mapping needs a hand", problems))
            config = dataclasses.replace(config, data=_mapped(config.data, mapping))
        log = _check_log(config, Path(scratch) / "log", tell_features)
        lower = lower_cutoffs(int(log.facts["longest_list"]), config.data.cutoffs)
    if target is not None:
        if lower is not None:
            with replacing(target) as temporary:
                temporary.write_text(target.read_text(encoding="utf-8") + template.cutoffs(lower), encoding="utf-8")
        say(f"next: python -m pretrain.run --config {target} run=NAME")


def _with_reader(invocation: Invocation) -> Config:
    """The configuration, with the reader that a path alone suggests.

    Raises:
        InputError: if neither a path nor a reader is named.
    """
    config = invocation.config
    if config.data.name != "marketplace" or config.data.path is None:
        if config.data.path is None and config.data.name == "table" and config.data.table == TableConfig():
            raise InputError("nothing to look at: give data.path=FILE or FOLDER")
        return config
    days = (Path(config.data.path).expanduser() / "impressions").glob("day=*")
    name = "contract" if any(days) else "table"
    say(f"data={name}, as {config.data.path} looks like it")
    asked = OmegaConf.create()
    for key in invocation.asked:
        if key.startswith("data."):
            OmegaConf.update(asked, key, OmegaConf.select(OmegaConf.structured(config), key))
    layered = layers.merge([layers.schema(), layers.of_group("data", name), asked])
    return dataclasses.replace(config, data=layers.as_object(layered).data)


def _require_writable(target: Path, unmapped: bool, config: Config) -> None:
    """Refuse ``init`` before any work where it could not be written.

    Raises:
        InputError: naming the reason.
    """
    if not unmapped:
        raise InputError(
            f"init={target} is for files that nobody has mapped: data={config.data.name} "
            + ("has a mapping already" if config.data.name == "table" else "needs none; give data=table data.path=...")
        )
    if target.is_dir():
        raise InputError(f"init={target} is a folder: name a file, such as {target / 'mine.yaml'}")
    if target.exists() and not config.overwrite:
        raise InputError(f"init={target} is there already: name another file, or say overwrite=true")
    if not target.parent.is_dir():
        raise InputError(f"init={target}: the folder {target.parent} does not exist")


def _suggest(config: Config, scratch: Path, problems: list[str]) -> list[Suggestion]:
    """The suggested mapping of all files below ``data.path``, printed; what stands in its way is added."""
    path = Path(str(config.data.path)).expanduser()
    if not path.exists():
        raise InputError(f"data.path={config.data.path} does not exist")
    with scratch_database(scratch, config.graph.memory_limit_gb) as connection:
        samples: list[Sample] = []
        for sample in samples_below(connection, path, scratch):
            if isinstance(sample, InputError):
                problems.append(str(sample))
            else:
                samples.append(sample)
        mapping, lacking, unused = suggest(samples)
        mapping, mended = agreeing(connection, mapping)
        mapping = with_items(connection, mapping)
    report.tell_suggestions(mapping)
    report.tell_list("ids", mended)
    report.tell_list("files that are no part of the log", unused)
    problems += lacking if samples else []
    return mapping


def _mapped(data: DataConfig, mapping: Sequence[Suggestion]) -> DataConfig:
    """The configuration with a suggested mapping, as its YAML file would be read."""
    keys = template.keys_of(mapping, str(data.path))["table"]
    table = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableConfig), OmegaConf.create(keys)))
    assert isinstance(table, TableConfig)
    return dataclasses.replace(data, table=table)


def _check_log(config: Config, folder: Path, tell_features: TellFeatures) -> SearchLog:
    """Read and check into ``folder``, and print what became of the log, which is returned.

    Raises:
        InputError: if it cannot be read, or more of its rows are bad than ``data.rejected_share`` allows.
    """
    problems: list[str] = []

    def hear(rejected: dict[str, int], rows: int, allowed: float, path: Path, where: Path) -> None:
        report.tell_checks(rejected, rows, path.parent)
        if UNKNOWN_ITEM in rejected:
            report.tell_list("ids", _unknown_items(path, where))
        bad = sum(rejected.values())
        if bad > allowed * rows:
            problems.append(
                f"{bad:,} of {rows:,} rows ({bad / max(rows, 1):.2%}) of {where} are bad, more than "
                f"data.rejected_share={allowed} allows: "
                + "; ".join(f"{count:,} rows: {reason}" for reason, count in rejected.items())
            )

    try:
        log = understand_log(config, folder, hear)
    except InputError as error:
        raise InputError(_joined("the log cannot be read", [*problems, str(error)])) from None
    report.tell_rows(log)
    judge = Judge(log)
    report.tell_unseen(unseen(judge))
    tell_features(config.data, log)
    report.tell_list("advice", advice(judge, config.data.cutoffs))
    if problems:
        raise InputError(_joined("the log cannot be used as it is", problems))
    say("\nthe log can be used")
    return log


def _unknown_items(rejected: Path, where: Path) -> list[str]:
    """What makes rejected item ids agree with the items table, in words."""
    places = (rejected.parent / "raw" / "items.parquet", where / "items.parquet")
    items = next((place for place in places if place.exists()), None)
    if items is None:
        return []
    rows = pq.read_table(rejected, filters=[("reason", "=", UNKNOWN_ITEM)]).slice(0, SHOWN_IDS)
    ids = {str(json.loads(content).get("item_id")) for content in rows["content"].to_pylist()}
    known = pq.read_table(items, columns=["item_id"])["item_id"].cast(pa.string()).to_pylist()
    mend = rewriting(ids, (each for each in known if each is not None))
    if mend is None:
        return []
    of_items = "" if mend.items.same else f" and, of the items, {mend.items.sql.format('item_id')}"
    return [f"item_id: {mend.why}. With data=table map item_id: {mend.log.sql.format('item_id')}{of_items}"]


def _joined(what: str, problems: Sequence[str]) -> str:
    """Problems as one error."""
    if len(problems) == 1:
        return problems[0]
    return f"{what}: {len(problems)} problems\n" + "\n".join(f"  {n}. {each}" for n, each in enumerate(problems, 1))
