"""``python -m prerank.score``: score a new log by a fitted system; nothing needs to be known of what came of it.

The log is checked and encoded as by ``prerank.evaluate``, with columns, types and statistics of training; clicks and
orders are not read. Items that training did not know are scored by their attributes and the hash of their id.
"""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa

from configs.command import Invocation, settings
from configs.console import say
from configs.errors import InputError
from configs.layers import resolved
from configs.locks import alone
from configs.options import within
from configs.stages import MANIFEST, fingerprint, read_json
from graph.logs.prepare import check_new_log
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import encode_new_log
from prerank.encoding.unseen import tell_unseen
from prerank.evaluation.fusion import FusionWeights
from prerank.loading import LoadedSystem, load_system
from prerank.training.scoring import prediction_table, write_predictions
from pretrain.embeddings import EmbeddingTable

WITHOUT_LABELS = ("split", "clicked", "ordered")
"""Columns of an evaluation's predictions that scores do not have."""


def score_log(invocation: Invocation) -> Path:
    """Score the log that ``data`` names by ``config.model`` of ``config.run``.

    Writes ``predictions.parquet`` (a row per impression, in the order of time: request, user, query and item ids,
    position, ``p_click``, ``p_order``, ``p_rank`` and ``score``, higher is better), ``phi/`` (an
    :class:`~pretrain.embeddings.EmbeddingTable` of every item of the new log, where the system has one) and
    ``unseen.json``, the share of each column's values that training never saw.

    Returns:
        The folder of the results.

    Raises:
        InputError: if the system is not fitted, no log is named, or it lacks columns or types of the trained one.

    Examples:
        >>> from configs import parse
        >>> from prerank import score_log
        >>> new = ["data=marketplace", "data.world=tiny", "score.folder=scores"]
        >>> score_log(parse(["run=notebook", "model=ple", *new])).as_posix()
        'scores'
    """
    config = invocation.config
    if not any(within(key, ("data.path", "data.world", "data.table")) for key in invocation.asked):
        raise InputError(
            f"prerank.score needs a new log: give data=... data.path=...; predictions of the run's own log are in "
            f"{invocation.run.system(config.system) / 'predictions.parquet'}"
        )
    home = invocation.run.system(config.system)
    loaded = load_system(invocation)
    work = home / "scores" / f"{config.data.name}-{fingerprint(settings(config.data))}"
    folder = work if config.score.folder is None else resolved(config.score.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"score.folder={config.score.folder} is a file: expected a folder for predictions and phi")
    with alone(work), nullcontext() if folder == work else alone(folder):
        log = check_new_log(config.data, work / "logs", labelled=False)
        new = encode_new_log(loaded.encoded, log, work / "encoded", invocation.run.logs)
        folder.mkdir(parents=True, exist_ok=True)
        tell_unseen(loaded.encoded, new.split("test"), folder / "unseen.json")
        weights = FusionWeights(**{**read_json(home / "fusion.json"), "chosen_by": ()})
        _write(loaded, new, weights, folder)
    return folder if config.score.folder is None else Path(config.score.folder)


def _write(loaded: LoadedSystem, new: EncodedLog, weights: FusionWeights, folder: Path) -> None:
    split = new.split("test")
    table: pa.Table = prediction_table(split, "test", loaded.fitted.predict(split), weights)
    write_predictions(table.drop_columns(list(WITHOUT_LABELS)), folder)
    say(f"{split.rows:,} rows scored: {folder / 'predictions.parquet'}")
    vectors = loaded.fitted.item_vectors(new)
    if (folder / "phi" / MANIFEST).exists():  # of another system, or of items that are no more
        shutil.rmtree(folder / "phi")
    if vectors is None:
        say("the system has no item network: there is no phi")
        return
    EmbeddingTable(new.item_ids, vectors, new.schema.catalogue, "phi").save(folder / "phi")
    say(f"φ of {len(vectors):,} items: {folder / 'phi'}")
