"""Boosted trees on the same features: the reference that a user would pick instead of any of this.

One binary model for each task, stopped on validation AUC. There is no rank head and no item network.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from configs.console import say
from configs.errors import InputError
from configs.schema import Config
from configs.stages import replacing
from prerank.batches import EncodedLog, EncodedSplit
from prerank.systems import FittedSystem, Predictions, Work
from prerank.tabular import TabularEncoder

NEEDS_PSI = False
SCORING_ROWS = 200_000
"""Rows whose features are made at once."""


class BoostedTrees:
    """A booster for each task, and the encoder of their features."""

    def __init__(self, boosters: dict[str, lightgbm.Booster], encoder: TabularEncoder) -> None:
        self.boosters = boosters
        self.encoder = encoder
        self.parameters = sum(_leaves(booster) for booster in boosters.values())

    def predict(self, split: EncodedSplit) -> Predictions:
        logits: dict[str, list[np.ndarray]] = {task: [] for task in self.boosters}
        for start in range(0, split.rows, SCORING_ROWS):
            rows = np.arange(start, min(start + SCORING_ROWS, split.rows))
            features = self.encoder.matrix(split, rows, training=False).values()
            for task, booster in self.boosters.items():
                logits[task].append(np.asarray(booster.predict(features, raw_score=True), np.float32))
        joined = {task: np.concatenate(parts) for task, parts in logits.items()}
        return Predictions(click=joined.get("click"), order=joined.get("order"), rank=None)

    def item_vectors(self, encoded: EncodedLog) -> None:  # noqa: ARG002
        return None


def _leaves(booster: lightgbm.Booster) -> int:
    """Leaf values: what a tree model has in the place of parameters."""
    return sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])


def fit(work: Work) -> FittedSystem:
    train, validation = work.encoded.split("train"), work.encoded.split("validation")
    learnt, checked = train.feedback_rows(), validation.feedback_rows()
    encoder = TabularEncoder(train, learnt)
    features, held = encoder.matrix(train, learnt, True), encoder.matrix(validation, checked, False)
    boosters = {}
    for task in ("click", "order"):
        if not work.encoded.schema.tasks[task]["available"]:
            continue
        labels = {"click": "clicked", "order": "ordered"}[task]
        data = lightgbm.Dataset(
            features.values(),
            getattr(train, labels)[learnt],
            feature_name=_plain(features.names),
            categorical_feature=_plain(features.categories),
        )
        valid = lightgbm.Dataset(held.values(), getattr(validation, labels)[checked], reference=data)
        boosters[task] = _boost(work.config, data, valid)
        say(f"lightgbm {task}: {boosters[task].best_iteration} trees, {len(features.names)} features")
        with replacing(_path(work.folder, task)) as temporary:
            boosters[task].save_model(str(temporary), num_iteration=boosters[task].best_iteration)
    if not boosters:
        raise InputError("model=lightgbm: the log has neither clicks nor orders to learn from")
    return BoostedTrees(boosters, encoder)


def _boost(config: Config, data: lightgbm.Dataset, valid: lightgbm.Dataset) -> lightgbm.Booster:
    chosen = config.model.lightgbm
    parameters = {
        "objective": "binary",
        "metric": "auc",
        "num_leaves": chosen.leaves,
        "learning_rate": chosen.learning_rate,
        "min_data_in_leaf": chosen.min_rows,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "num_threads": config.prerank.threads,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    stop = lightgbm.early_stopping(chosen.patience, verbose=False)
    return lightgbm.train(parameters, data, chosen.trees, [valid], callbacks=[stop])


def load(work: Work) -> FittedSystem:
    boosters = {}
    for task in ("click", "order"):
        if work.encoded.schema.tasks[task]["available"]:
            path = _path(work.folder, task)
            if not path.exists():
                raise InputError(f"{path} is missing: run `python -m prerank.fit model=lightgbm` again")
            boosters[task] = lightgbm.Booster(model_file=str(path))
    train = work.encoded.split("train")
    return BoostedTrees(boosters, TabularEncoder(train, train.feedback_rows()))


def _path(folder: Path, task: str) -> Path:
    return folder / f"{task}.txt"


def _plain(names: list[str]) -> list[str]:
    """LightGBM refuses names with the characters of JSON."""
    return ["".join(c if c.isalnum() or c == "_" else "_" for c in name) for name in names]
