"""``python -m graph.build``: from the checked log's training days to the co-engagement graph of a run.

The graph sees training rows only; that is asserted against the log before an edge is made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from configs.command import Invocation
from configs.commands import COMMANDS
from configs.console import say
from configs.errors import InputError
from configs.keys import Keys
from configs.locks import alone
from configs.origin import origin_input, origin_of, require_alike
from configs.packages import require_packages
from configs.schema import Config
from configs.stages import Run, Stage
from graph.coengagement import distinct, session_key, training_rows
from graph.engines import workbench
from graph.increment import Past
from graph.logs.log import SearchLog
from graph.logs.prepare import log_stage, prepare_log
from graph.logs.split import days_of
from graph.relations import Built, build_relations
from graph.store import Graph, finish_graph, stored_relations
from graph.summary import component_facts, degree_facts, isolated_facts, print_summary

KEYS = Keys(("graph",), ("graph.memory_limit_gb", "engine"))
"""Neither the engine nor its memory changes the graph, so a change of them does not start the stage over."""


GOES_ON_WITH = Keys(
    ("graph", *(f"data.{key}" for key in ("features", "attributes", "cutoffs"))),
    ("graph.days", "graph.memory_limit_gb"),
)
"""What a graph means, and must be the same in one that goes on from it."""


def build_graph(invocation: Invocation, log: SearchLog) -> Graph:
    """The run's graph; built unless this very graph is finished already.

    Args:
        invocation: ``config.graph`` says weights, decay, caps and days, ``config.engine`` who computes; where it
            names no attributes, those of ``config.data`` become nodes.
        log: the checked log.

    Raises:
        InputError: for settings that fit no graph or not this log, if nothing was engaged, or if the log's training
            rows are not what its ``log.json`` says.

    Examples:
        >>> from configs import parse
        >>> from graph import build_graph, prepare_log
        >>> invocation = parse(["run=notebook", "data.world=tiny"])
        >>> graph = build_graph(invocation, prepare_log(invocation))
        >>> sorted(graph.node_counts)
        ['brand', 'category', 'item', 'query', 'shop']
    """
    view, stage = KEYS.view(invocation.config), graph_stage(invocation.config, invocation.run, log.identity)
    config = replace(view.graph, attributes=_attributes(invocation.config))
    if stage.finished:
        say(f"graph: finished before, {stage.folder}")
        return Graph.open(stage.folder)
    if stage.start():
        shutil.rmtree(stage.folder / "edges", ignore_errors=True)
    training = log.facts["splits"]["train"]["days"]
    days = days_of(config.days, training, "graph.days (training days only)") if config.days else sorted(training)
    end = datetime.combine(date.fromisoformat(days[-1]) + timedelta(days=1), time(), UTC)
    say(f"graph: building from {len(days)} training days with {view.engine}")
    with workbench(view.engine, stage.folder / "scratch", config.memory_limit_gb) as bench:
        impressions = bench.impressions(log.folder / "impressions")
        rows = training_rows(impressions, days)
        used = rows_used(rows)
        assert_training_only(impressions, rows, used, days, log)
        past = _past(invocation.config, log, end)
        built = build_relations(stage.folder, bench, rows, log.items(), config, end, past)
    facts = {"catalogue": log.catalogue, "log": log.identity, "settings": stage.settings, "days": days, "end": end}
    if past is not None:
        say(f"graph: went on from {past.name}'s, whose edges weigh {past.decay:.4f} of what they did")
        facts["since"] = {"run": past.name, "end": past.graph.facts["end"], "decay": past.decay}
    return finish_graph(stage, built.nodes, facts | used | _describe(stage, built))


def graph_stage(config: Config, run: Run, log: str) -> Stage:
    """The stage of a run's graph; ``log``: identity of the log's."""
    settings = KEYS.settings(config) | {"graph.attributes": _attributes(config)}
    inputs = {"log": log} | origin_input(config, run.graph, lambda each: each.graph, "python -m graph.build")
    return Stage(run.graph, settings, inputs, overwrite=config.overwrite)


def _past(config: Config, log: SearchLog, end: datetime) -> Past | None:
    """The graph that the run's goes on from, if any.

    Raises:
        InputError: if it was built with other keys, or of later days.
    """
    origin = origin_of(config)
    if origin is None:
        return None
    past = Past(origin.root.name, Graph.open(origin.graph), log.facts["items"], config.graph.half_life_days, end)
    if past.decay > 1:
        raise InputError(
            f"the training days end at {end:%Y-%m-%d %H:%M}, those of {past.name}'s graph, which it goes on from, at "
            f"{past.graph.facts['end']}: graph.days must not leave out the new days"
        )
    return past


def stages_of(config: Config, run: Run) -> list[Stage]:
    """The stages of a run's log and graph."""
    log = log_stage(config, run)
    return [log, graph_stage(config, run, log.identity)]


@contextmanager
def settling(invocation: Invocation, stages: Sequence[Stage]) -> Iterator[None]:
    """Make stages of a run, and settle in its ``config.yaml`` what they were made with, for later commands.

    Raises:
        InputError: before anything is written, if a stage was finished with other keys or data.
    """
    require_packages(invocation.config)
    with ExitStack() as locks:
        for stage in stages:
            locks.enter_context(alone(stage.home))
        for stage in stages:
            stage.require_same()
        require_alike(invocation.config, GOES_ON_WITH)
        first = not invocation.run.config.exists()
        if first:
            invocation.save(invocation.run.config)  # an interrupted first command is remembered too
        yield
        # What the run held before of ψ stays settled, also where its graph alone is made.
        command = invocation.command if first else COMMANDS["pretrain.run"]
        replace(invocation, command=command).save(invocation.run.config)


def _attributes(config: Config) -> list[str]:
    """Where ``graph`` names no attributes, those of ``data`` become nodes."""
    return config.graph.attributes or config.data.attributes


def rows_used(rows: Any) -> dict[str, Any]:
    """Number of rows, their first and last time and days, of an expression of training rows."""
    counted = rows.agg(rows=rows.count(), first=rows.timestamp.min(), last=rows.timestamp.max()).to_pyarrow()
    days = distinct(rows, day=rows.day).to_pyarrow()["day"].to_pylist()
    return {**counted.to_pylist()[0], "days_with_rows": sorted(days)}


def assert_training_only(
    impressions: Any, rows: Any, used: dict[str, Any], days: Sequence[str], log: SearchLog
) -> None:
    """No row of the graph is of a day or a session outside the training split.

    Raises:
        InputError: if one is, or if the rows are not those that ``log.json`` counted.
    """
    train = log.facts["splits"]["train"]
    training = impressions.split == "train"
    if set(days) == set(train["days"]) and used["rows"] != train["rows"]:
        _refuse(log, f"log.json counts {train['rows']:,} training rows, the impressions hold {used['rows']:,}")
    if not set(used["days_with_rows"]) <= set(train["days"]):
        _refuse(log, f"rows of the days {used['days_with_rows']} are marked as training, log.json says {train['days']}")
    unit = "day" if log.facts["split_by"] == "day" else "session"
    keys = {"day": lambda table: table.day.cast("string"), "session": session_key}
    ours, later = (distinct(table, unit=keys[unit](table)) for table in (rows, impressions.filter(~training)))
    shared = ours.semi_join(later, "unit").limit(3).to_pyarrow()["unit"].to_pylist()
    if shared:
        _refuse(log, f"the {unit} {shared[0]} lies in the training split and in a later one")


def _refuse(log: SearchLog, what: str) -> None:
    raise InputError(
        f"{log.folder}: {what}; the graph must see training rows only. The checked log was changed after it was "
        "written: delete the folder and run the command again"
    )


def _describe(stage: Stage, built: Built) -> dict[str, Any]:
    """Everything that ``graph.json`` says about the stored relations."""
    counts = {node_type: table.num_rows for node_type, table in built.nodes.items()}
    relations = stored_relations(stage.folder)
    return {
        "events": built.events,
        "events_on_unknown_items": built.unknown_items,
        "edges_before_cap": built.edges_before_cap,
        "degrees": {"__".join(key): degree_facts(relation, counts[key[0]]) for key, relation in relations.items()},
        "components": component_facts(counts, relations),
        "isolated": isolated_facts(counts, relations),
    }


def build(invocation: Invocation) -> None:
    """The command: log, graph, summary."""
    config, run = invocation.config, invocation.run
    with settling(invocation, stages_of(config, run)):
        graph = build_graph(invocation, prepare_log(invocation))
    print_summary(graph.facts)
    say(f"graph: {graph.folder}")
