"""One run's A/B replay as a stage: its fitted systems drive the marketplace on, and what each user brought is kept.

::

    ab/replay/
      users.parquet     arm, segment, user, exposed, clicks, orders, gmv: a row per arm, segment and user
      replay.json       world, seed, requests, segments, whether the control did the same twice
      manifest.json     written last

Statistics are made from these sums, so that other intervals need no other replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool

from configs.command import run_config, settings
from configs.console import say
from configs.errors import InputError
from configs.locks import alone
from configs.schema import Config
from configs.stages import Run, Stage, fingerprint, identity_of, read_json, replacing, require_inputs, write_json
from configs.worlds import load_world
from graph.logs.log import SearchLog, read_table
from graph.marketplace.replay import Bound, ReplayLog, replay
from prerank.ab.live import Frozen
from prerank.encoding.batches import EncodedLog
from prerank.encoding.features import counts_by_id
from prerank.encoding.places import encoding_of
from prerank.evaluation.segments import popularity_cut
from prerank.evaluation.uplift import UserSums

AGAIN, OTHER_LUCK = "control again", "control, other luck"
"""The arms of the A/A: the very same, and the control where clicks and orders are drawn anew."""
OTHER_DRAWS = 1
"""The number that other luck is drawn by; the log's own is 0."""


@dataclass(frozen=True)
class Replayed:
    """A finished replay.

    Attributes:
        facts: of ``replay.json``.
        sums: arm → segment → what each user brought; users and their order are the same everywhere.
    """

    facts: dict[str, Any]
    sums: dict[str, dict[str, UserSums]]


@dataclass(frozen=True)
class ReplayPlan:
    """What is to be replayed on one run: checked, nothing done yet. ``systems`` holds the control if it is fitted."""

    run: Run
    config: Config
    world: str
    seed: int
    control: str
    systems: tuple[str, ...]

    @property
    def stage(self) -> Stage:
        """The stage of the replay: what it depends on."""
        name = self.run.root.name
        fit = f"python -m prerank.fit run={name}"
        inputs = {
            "log": identity_of(self.run.logs, f"python -m pretrain.run run={name}"),
            "encoded": identity_of(self.run.encoded, fit),
            **{f"system {each}": fingerprint(_served(self.run.system(each), fit)) for each in self.systems},
        }
        evaluation = self.config.evaluation
        parts = {
            "days": self.config.ab.days,
            "control": self.control,
            "shares": [evaluation.head_share, evaluation.tail_share],
        }
        return Stage(self.run.root / "ab" / "replay", parts, inputs, overwrite=True)


def _served(folder: Path, fit: str) -> list[object]:
    """What a system's ranking score comes from: itself, and its fusion weights, which may be chosen again."""
    weights = read_json(folder / "fusion.json")
    return [identity_of(folder, fit), *(weights[name] for name in ("click", "order", "rank"))]


def plan(run: Run, config: Config, systems: Sequence[str]) -> ReplayPlan:
    """Check what is to be replayed on a run.

    Args:
        run: made by ``pretrain.run``.
        config: ``ab`` and ``evaluation`` are what counts.
        systems: fitted systems; the control comes first whether it is among them or not.

    Raises:
        InputError: if the run is not of the marketplace, its world's file has changed, or a system is not fitted.
    """
    settled, control = _settled(run), config.ab.control
    identity_of(run.logs, f"python -m pretrain.run run={run.root.name}")
    now = {"world": fingerprint(settings(load_world(settled.data.world)))}
    require_inputs(run.logs, now, f"run `python -m pretrain.run run={run.root.name} overwrite=true`")
    others = tuple(name for name in systems if name != control)
    named = others if control in set(Bound) else (control, *others)
    fitted = fitted_systems(run)
    missing = [name for name in named if name not in fitted]
    if missing:
        raise InputError(
            f"{run.root} has no fitted system {', '.join(missing)}; it has: {', '.join(fitted) or 'none'}. Fit with "
            f"`python -m prerank.fit run={run.root.name} model={missing[0]}`, or choose by ab.control and ab.systems"
        )
    return ReplayPlan(run, config, settled.data.world, settled.seed, control, named)


def fitted_systems(run: Run) -> list[str]:
    """The systems of a run that are fitted and evaluated, by name."""
    folders = (run.root / "prerank").glob("[!.]*/metrics.json")
    return sorted(path.parent.name for path in folders if (path.parent / "manifest.json").exists())


def _settled(run: Run) -> Config:
    """What the run's first command settled; only the marketplace can be replayed."""
    settled = run_config(run)
    if settled.data.name != "marketplace":
        raise InputError(
            f"{run.root} holds data={settled.data.name}: only the simulated marketplace can be replayed, because a log "
            "does not tell what users would have done with other items; make a run with `data=marketplace`"
        )
    return settled


def replayed(chosen: ReplayPlan) -> Replayed:
    """Replay a run, or read the finished replay of the same systems and settings.

    Raises:
        InputError: if a system cannot be put in service.
    """
    stage = chosen.stage
    with alone(stage.home):
        if stage.finished:
            say(f"{chosen.run.root.name}: the replay is up to date: {stage.folder}")
        else:
            _replay(chosen, stage)
    return read_replay(stage.home)


def _replay(chosen: ReplayPlan, stage: Stage) -> None:
    name = chosen.run.root.name
    encoded = EncodedLog.open(chosen.run.encoded)
    arms: dict[str, Frozen | Bound] = {
        system: Frozen.open(chosen.run, system, EncodedLog.open(encoding_of(chosen.run, system)))
        for system in chosen.systems
    }
    arms |= {bound.value: bound for bound in Bound}
    say(f"{name}: replaying {chosen.config.ab.days} days of world {chosen.world}, seed {chosen.seed} (simulated)")
    stage.start()
    control, world = arms[chosen.control], load_world(chosen.world)
    splits = SearchLog.open(chosen.run.logs).facts["splits"].values()
    logs = replay(
        world,
        chosen.seed,
        {**arms, AGAIN: control, OTHER_LUCK: control},
        chosen.config.ab.days,
        lucks={OTHER_LUCK: OTHER_DRAWS},
        logged=(sum(split["clicks"] for split in splits), sum(split["orders"] for split in splits)),
    )
    _write(_summed(chosen, encoded, logs), stage.folder)
    stage.finish()


def read_replay(folder: Path) -> Replayed:
    """Read a finished replay.

    Raises:
        InputError: if a file is missing or damaged.
    """
    table = read_table(folder / "users.parquet")
    facts, sums = read_json(folder / "replay.json"), dict[str, dict[str, UserSums]]()
    for arm in pc.unique(table["arm"]).to_pylist():
        of_arm = table.filter(pc.equal(table["arm"], arm))
        sums[arm] = {}
        for segment in facts["segments"]:
            rows = of_arm.filter(pc.equal(of_arm["segment"], segment))
            sums[arm][segment] = UserSums(*(rows[name].to_numpy() for name in ("exposed", "clicks", "orders", "gmv")))
    return Replayed(facts, sums)


def segment_rows(
    encoded: EncodedLog, log: ReplayLog, head_share: float, tail_share: float
) -> dict[str, tuple[Bool[np.ndarray, " rows"], str]]:
    """The exposed rows of each segment, and what it is in words, by the items' impressions on training days."""
    cut = popularity_cut(encoded.training_counts.impressions, head_share, tail_share)
    counts, _ = counts_by_id(encoded, pa.array(log.item_id))
    return {
        "all": (np.ones(len(log.item), bool), "all items"),
        "tail": (
            counts.impressions <= cut.tail_most,
            f"the long tail: items with at most {cut.tail_most:,} training impressions, the cold ones included",
        ),
        "cold": (counts.impressions == 0, "items without a training impression, those listed after the log included"),
    }


def same(one: ReplayLog, other: ReplayLog) -> bool:
    """Whether two arms showed the same items at the same places to the same effect."""
    return all(np.array_equal(values, getattr(other, name)) for name, values in vars(one).items())


def _summed(chosen: ReplayPlan, encoded: EncodedLog, logs: Mapping[str, ReplayLog]) -> Replayed:
    evaluation, first = chosen.config.evaluation, logs[chosen.control]
    users, place = np.unique(first.request_user, return_inverse=True)
    definitions: dict[str, str] = {}
    sums: dict[str, dict[str, UserSums]] = {}
    for arm, log in logs.items():
        assert np.array_equal(log.request_user, first.request_user), f"{arm} met other requests than the control"
        sums[arm] = {}
        cut = segment_rows(encoded, log, evaluation.head_share, evaluation.tail_share)
        for segment, (rows, definition) in cut.items():
            definitions[segment] = definition
            user, price = place[log.request[rows]], log.price[rows].astype(np.float64)
            sums[arm][segment] = UserSums.of(user, len(users), log.clicked[rows], log.ordered[rows], price)
    facts = {
        "simulated": True,
        "world": chosen.world,
        "seed": chosen.seed,
        "days": chosen.config.ab.days,
        "users": len(users),
        "requests": len(first.request_id),
        "control": chosen.control,
        "segments": definitions,
        "control_repeated_itself": same(first, logs[AGAIN]),
    }
    return Replayed(facts, sums)


def _write(replayed: Replayed, folder: Path) -> None:
    parts = []
    for arm, segments in replayed.sums.items():
        for segment, sums in segments.items():
            labels = {"arm": pa.repeat(arm, len(sums)), "segment": pa.repeat(segment, len(sums))}
            parts.append(pa.table({**labels, "user": np.arange(len(sums)), **vars(sums)}))
    with replacing(folder / "users.parquet") as temporary:
        pq.write_table(pa.concat_tables(parts), temporary)
    write_json(folder / "replay.json", replayed.facts)
