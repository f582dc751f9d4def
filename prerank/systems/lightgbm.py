"""Boosted trees on the same features: the reference that a user would pick instead of any of this.

One model for each task: of each row by itself (``binary``, stopped on validation AUC), or of pairs within a list
(``lambdarank``, stopped on NDCG@10 and then calibrated). There is no rank head and no item network.

That NDCG@10 is our own: LightGBM's leaves tied rows in the order of the data, which is the order shown to the user. The
first tree ties most rows of a list, so on a log of lists shown best first its NDCG is partly the shown order's, and
every further tree, having fewer ties, looks worse.
"""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
from jaxtyping import Float, Int, Shaped

from configs.console import say, warn
from configs.errors import InputError
from configs.schema import BoostObjective, Config
from configs.stages import mend, read_json, replacing, write_json
from prerank.encoding.batches import EncodedLog, EncodedSplit
from prerank.encoding.tabular import TabularEncoder
from prerank.evaluation.calibration import logistic_line
from prerank.evaluation.metrics import standing
from prerank.training.contracts import Predictions, Work

LABELS = {"click": "clicked", "order": "ordered"}
"""Task → the column that it learns."""
SCORING_ROWS = 200_000
"""Rows whose features are made at once."""
NDCG_CUT = 10
"""Rows at the top of a list that its NDCG looks at."""
LAST_LINE = "pandas_categorical:"
"""How the last line of a whole model's file begins."""


class BoostedTrees:
    """A booster for each task, and the encoder of their features.

    Args:
        boosters: by task.
        lines: slope and intercept of each task's logit over the booster's score; 1 and 0 where that is a logit.
        encoder: of the features.
    """

    NEEDS_PSI = False
    KEYS = ("model.lightgbm",)

    def __init__(
        self, boosters: dict[str, lightgbm.Booster], lines: dict[str, tuple[float, float]], encoder: TabularEncoder
    ) -> None:
        self.boosters = boosters
        self.lines = lines
        self.encoder = encoder
        self.parameters = sum(_leaves(booster) for booster in boosters.values())

    @classmethod
    def fit(cls, work: Work) -> BoostedTrees:
        train, validation = work.encoded.split("train"), work.encoded.split("validation")
        learnt, checked = train.feedback_rows(), validation.feedback_rows()
        encoder = TabularEncoder(train, learnt)
        features, validation_features = encoder.matrix(train, learnt, True), encoder.matrix(validation, checked, False)
        plain, chosen = _plain(features.names), work.config.model.lightgbm
        by_list = chosen.objective is BoostObjective.lambdarank
        boosters, lines = {}, {}
        for task, column in LABELS.items():
            if not work.encoded.schema.tasks[task]["available"]:
                continue
            data = lightgbm.Dataset(
                features.values(),
                getattr(train, column)[learnt],
                group=_list_sizes(train.request[learnt]) if by_list else None,
                feature_name=list(plain.values()),
                categorical_feature=[plain[name] for name in features.categories],
            )
            labels, group = getattr(validation, column)[checked], validation.request[checked]
            sizes = _list_sizes(group) if by_list else None
            valid = lightgbm.Dataset(validation_features.values(), labels, group=sizes, reference=data)
            telling = _has_both(labels, group if by_list else np.zeros_like(group))
            booster = _boost(work.config, data, valid if telling else None, task)
            trees = booster.best_iteration or booster.num_trees()
            say(f"{work.config.model.name} {task}: {trees} trees, {len(features.names)} features")
            text = booster.model_to_string(num_iteration=booster.best_iteration)
            with replacing(_path(work.folder, task)) as temporary:
                temporary.write_text(text, encoding="utf-8")
            boosters[task], lines[task] = lightgbm.Booster(model_str=text), (1.0, 0.0)
            if by_list:
                score = np.asarray(boosters[task].predict(validation_features.values(), raw_score=True))
                lines[task] = logistic_line(score, labels, work.config.model.name, task)
        if not boosters:
            raise InputError(f"model={work.config.model.name}: the log has neither clicks nor orders to learn from")
        write_json(work.folder / "lines.json", lines)
        return cls(boosters, lines, encoder)

    @classmethod
    def load(cls, work: Work) -> BoostedTrees:
        tasks = [task for task in LABELS if work.encoded.schema.tasks[task]["available"]]
        boosters = {task: _read(_path(work.folder, task)) for task in tasks}
        lines = {task: tuple(line) for task, line in read_json(work.folder / "lines.json").items()}
        train = work.encoded.split("train")
        return cls(boosters, lines, TabularEncoder(train, train.feedback_rows()))

    def predict(self, split: EncodedSplit) -> Predictions:
        logits: dict[str, list[np.ndarray]] = {task: [] for task in self.boosters}
        for start in range(0, split.rows, SCORING_ROWS):
            rows = np.arange(start, min(start + SCORING_ROWS, split.rows))
            features = self.encoder.matrix(split, rows, training=False).values()
            for task, booster in self.boosters.items():
                slope, intercept = self.lines[task]
                score = np.asarray(booster.predict(features, raw_score=True))
                logits[task].append((slope * score + intercept).astype(np.float32))
        joined = {task: np.concatenate(parts) for task, parts in logits.items()}
        return Predictions(click=joined.get("click"), order=joined.get("order"), rank=None)

    def item_vectors(self, encoded: EncodedLog) -> None:  # noqa: ARG002
        return None


def _leaves(booster: lightgbm.Booster) -> int:
    """Leaf values: what a tree model has in the place of parameters."""
    return sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])


def _list_sizes(request: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " lists"]:
    """Rows of each request; the rows of one lie together."""
    sizes: np.ndarray = np.diff(np.flatnonzero(np.r_[True, request[1:] != request[:-1], True]))
    return sizes


def _has_both(labels: Int[np.ndarray, " rows"], group: Int[np.ndarray, " rows"]) -> bool:
    """Whether any group holds both classes: else every tree has the same AUC or NDCG, and the first one is kept."""
    rows, positives = np.bincount(group), np.bincount(group, weights=labels)
    return bool(((positives > 0) & (positives < rows)).any())


def expected_ndcg(
    labels: Shaped[np.ndarray, " rows"],
    scores: Float[np.ndarray, " rows"],
    request: Int[np.ndarray, " rows"],
    cut: int = NDCG_CUT,
) -> float:
    r"""NDCG@cut of 0/1 labels, in expectation over random orders of the rows of a list that have the same score.

    .. math:: \mathrm{NDCG} = \frac{\sum_{i: y_i = 1} E[d(r_i)]}{\sum_{r \le P} d(r)},
        \qquad d(r) = \frac{1[r \le \mathrm{cut}]}{\log_2(1 + r)}

    for a list with P positives (Järvelin and Kekäläinen 2002; ties as McSherry and Najork 2008).

    Args:
        labels: 0 or 1.
        scores: higher is better.
        request: the list of each row, numbered from 0.
        cut: places from the top that count.

    Returns:
        The mean over the lists that hold a positive; NaN where none does.
    """
    place = standing(request, scores)
    # Sum of the discounts of the first n places, at n.
    discounts = np.r_[0.0, np.cumsum(1 / np.log2(np.arange(2, cut + 2)))]
    shared = discounts[np.minimum(place.better + place.tied, cut)] - discounts[np.minimum(place.better, cut)]
    gained = np.bincount(request, labels * shared / place.tied)
    positives = np.bincount(request, labels).astype(np.int64)
    ideal = discounts[np.minimum(positives, cut)]
    return float((gained[positives > 0] / ideal[positives > 0]).mean())


def _validation_ndcg(scores: Float[np.ndarray, " rows"], valid: lightgbm.Dataset) -> tuple[str, float, bool]:
    """Name, value and whether higher is better, as LightGBM asks for a metric of one's own."""
    sizes = np.asarray(valid.get_group())
    request = np.repeat(np.arange(len(sizes)), sizes)
    return f"ndcg@{NDCG_CUT}", expected_ndcg(np.asarray(valid.get_label()), scores, request), True


def _boost(config: Config, data: lightgbm.Dataset, valid: lightgbm.Dataset | None, task: str) -> lightgbm.Booster:
    """Trees up to the best validation; where that tells nothing, as many as the patience, out loud."""
    chosen = config.model.lightgbm
    by_list = chosen.objective is BoostObjective.lambdarank
    parameters = {
        "objective": chosen.objective.value,
        "metric": "None" if by_list else "auc",
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
    if valid is None:
        trees = min(chosen.patience, chosen.trees)
        content = "no list with both classes" if by_list else "one class only"
        warn(f"{config.model.name} {task}: validation holds {content}, so training stops at {trees} trees, unvalidated")
        return lightgbm.train(parameters, data, trees)
    stop = lightgbm.early_stopping(chosen.patience, verbose=False)
    metric = _validation_ndcg if by_list else None
    return lightgbm.train(parameters, data, chosen.trees, [valid], feval=metric, callbacks=[stop])


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
    plain_names: dict[str, str] = {}
    for number, name in enumerate(names):
        plain = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
        plain_names[name] = plain if plain not in plain_names.values() else f"{plain}_{number}"
    return plain_names


SYSTEM = BoostedTrees
