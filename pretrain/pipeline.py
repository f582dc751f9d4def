"""``python -m pretrain.run``: from a log to psi, the graph embeddings of the items with enough engagement.

Reads or simulates the log, builds its graph, trains a heterogeneous GraphSAGE on it and compares it with popularity and
matrix factorisation on held-out edges. Stages that are finished are skipped, an interrupted one resumes.
"""

from __future__ import annotations

from pathlib import Path

from configs.command import Invocation
from configs.console import say, table
from configs.origin import origin_of, require_alike
from configs.stages import read_json
from graph.building import build_graph, settling, stages_of
from graph.figure import Figure
from graph.logs.log import SearchLog
from graph.logs.prepare import prepare_log
from graph.store import Graph
from pretrain.embeddings import EmbeddingTable
from pretrain.psi import psi_stage, train_psi
from pretrain.warm_start import GOES_ON_WITH

TITLES = {"mrr": "MRR", "hits_at_10": "hits@10", "hits_at_50": "hits@50"}


def pretrain(invocation: Invocation, log: SearchLog, graph: Graph) -> EmbeddingTable:
    """Psi of a run, trained unless it was before.

    Args:
        invocation: names the run, and the settings of psi.
        log: checked.
        graph: of the log's training days.

    Raises:
        InputError: see :func:`pretrain.psi.train_psi`.
    """
    config = invocation.config
    return train_psi(graph, log, config, invocation.run.pretrain, origin=origin_of(config)).table


def print_summary(folder: Path, psi: EmbeddingTable) -> None:
    """The table of the validation, and what was written."""
    facts = read_json(folder / "metrics.json")
    rows = [
        [name.replace("_", " "), *(_cell(Figure.read(figures[metric])) for metric in TITLES)]
        for name, figures in facts["validation"].items()
    ]
    n = next(iter(facts["validation"].values()))["mrr"]["n"]
    title = f"{n:,} held-out query-item edges, ranked among {facts['candidates']:,} items"
    table(title, ["", *TITLES.values()], rows)
    say(
        f"psi: {len(psi):,} items x {psi.dimension}, best of {facts['epochs']} epochs: {facts['best_epoch']}, "
        f"{facts['seconds']:.0f} s; {folder / 'psi'}"
    )


def _cell(figure: Figure) -> str:
    return f"{figure.value:.4f}" + ("" if figure.low is None else f" [{figure.low:.4f}, {figure.high:.4f}]")


def make_psi(invocation: Invocation) -> EmbeddingTable:
    """Log, graph and psi of a run, with a summary on the console; what is finished is not made again.

    Returns:
        psi.

    Raises:
        InputError: if the log cannot be read, or the run holds a log, graph or psi of other data or keys.

    Examples:
        >>> from configs import parse
        >>> from pretrain import make_psi
        >>> psi = make_psi(parse(["run=notebook", "data.world=tiny", "pretrain.max_epochs=2"]))
        >>> psi.vectors.shape == (len(psi), psi.dimension)
        True
    """
    config, folders = invocation.config, invocation.run
    require_alike(config, GOES_ON_WITH)
    stages = stages_of(config, folders)
    stages.append(psi_stage(folders.pretrain, stages[1].identity, stages[0].identity, config))
    with settling(invocation, stages):
        log = prepare_log(invocation)
        graph = build_graph(invocation, log)
        psi = pretrain(invocation, log, graph)
    print_summary(invocation.run.pretrain, psi)
    say(f"next: python -m prerank.fit run={invocation.config.run}")
    return psi
