"""Boosted trees on the same features: the reference that a user would pick instead of any of this.

One binary model for each task, stopped on validation AUC. There is no rank head and no item network.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import Config
from configs.stages import mend, replacing
from prerank.batches import EncodedLog, EncodedSplit
from prerank.systems import FittedSystem, Predictions, Work
from prerank.tabular import TabularEncoder

NEEDS_PSI = False
SCORING_ROWS = 200_000
"""Rows whose features are made at once."""
LAST_LINE = "pandas_categorical:"
"""How the last line of a whole model's file begins."""


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
    plain = _plain(features.names)
    boosters = {}
    for task in ("click", "order"):
        if not work.encoded.schema.tasks[task]["available"]:
            continue
        labels = {"click": "clicked", "order": "ordered"}[task]
        data = lightgbm.Dataset(
            features.values(),
            getattr(train, labels)[learnt],
            feature_name=list(plain.values()),
            categorical_feature=[plain[name] for name in features.categories],
        )
        valid = lightgbm.Dataset(held.values(), getattr(validation, labels)[checked], reference=data)
        boosters[task] = _boost(work.config, data, valid, task)
        trees = boosters[task].best_iteration or boosters[task].num_trees()
        say(f"lightgbm {task}: {trees} trees, {len(features.names)} features")
        kept = boosters[task].model_to_string(num_iteration=boosters[task].best_iteration)
        with replacing(_path(work.folder, task)) as temporary:
            temporary.write_text(kept, encoding="utf-8")
    if not boosters:
        raise InputError("model=lightgbm: the log has neither clicks nor orders to learn from")
    return BoostedTrees(boosters, encoder)


def _boost(config: Config, data: lightgbm.Dataset, valid: lightgbm.Dataset, task: str) -> lightgbm.Booster:
    """Trees up to the best validation AUC; where that is undefined, as many as the patience, out loud."""
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
    if len(np.unique(np.asarray(valid.label))) < 2:
        # LightGBM calls the AUC of a single class 1, and would stop at the first tree.
        trees = min(chosen.patience, chosen.trees)
        warn(f"lightgbm {task}: validation holds one class only, so training stops at {trees} trees, unvalidated")
        return lightgbm.train(parameters, data, trees)
    stop = lightgbm.early_stopping(chosen.patience, verbose=False)
    return lightgbm.train(parameters, data, chosen.trees, [valid], callbacks=[stop])


def load(work: Work) -> FittedSystem:
    boosters = {}
    for task in ("click", "order"):
        if work.encoded.schema.tasks[task]["available"]:
            boosters[task] = _read(_path(work.folder, task))
    train = work.encoded.split("train")
    return BoostedTrees(boosters, TabularEncoder(train, train.feedback_rows()))


def _read(path: Path) -> lightgbm.Booster:
    """A booster from its file, checked to be whole first: LightGBM ends the process on one that was cut off.

    Raises:
        InputError: if the file is missing or damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if not text.startswith("tree\n") or LAST_LINE not in text[text.rstrip().rfind("\n") :]:
            raise InputError(f"{path} was cut off: {mend(path)}")
        return lightgbm.Booster(model_str=text)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {mend(path)}") from None
    except (UnicodeDecodeError, lightgbm.basic.LightGBMError) as error:
        raise InputError(f"{path} is damaged ({error}): {mend(path)}") from None


def _path(folder: Path, task: str) -> Path:
    return folder / f"{task}.txt"


def _plain(names: list[str]) -> dict[str, str]:
    """Name → the name for LightGBM, which refuses the characters of JSON and a name that occurs twice."""
    made: dict[str, str] = {}
    for number, name in enumerate(names):
        plain = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
        made[name] = plain if plain not in made.values() else f"{plain}_{number}"
    return made
