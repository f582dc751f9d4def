"""The same command gives the same bytes, also on several threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.fitting import train
from prerank.training.contracts import Work
from pretrain.embeddings import EmbeddingTable


@pytest.mark.parametrize("name", ["grace", "cold", "din"])
def test_two_threads_fit_the_same_system_twice(
    encoded_log: Callable[..., EncodedLog], request_for: Callable[..., object], name: str, tmp_path
) -> None:
    encoded = encoded_log(60, 100, 20)
    # Large enough that torch splits the work: some 32,000 numbers in an operation.
    config = request_for(
        f"model={name}", "prerank.threads=2", "prerank.batch_size=512", "prerank.max_epochs=2", "data.cutoffs=[3,5]"
    ).config
    vectors = np.random.default_rng(0).normal(size=(30, 64)).astype(np.float32)
    psi = EmbeddingTable(encoded.item_ids[:30], vectors, encoded.schema.catalogue, "psi")
    logits = []
    for folder in ("once", "again"):
        (tmp_path / folder).mkdir()
        work = Work(config, encoded, psi if systems.find(config.model).NEEDS_PSI else None, tmp_path / folder)
        predictions = train(work).predict(encoded.split("test"))
        heads = (predictions.click, predictions.order, predictions.rank)
        logits.append([head.tobytes() for head in heads if head is not None])
    assert logits[0] == logits[1]
