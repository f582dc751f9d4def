"""What a bundle is made from: a fitted system, its run's log, and the figures that were measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from configs.command import Invocation, config_from
from configs.schema import Config, TablePrecision
from configs.stages import Run, identity_of, read_json
from graph.logs.log import SearchLog
from prerank.encoding.batches import EncodedLog, EncodedSplit
from prerank.encoding.computed import Preparation
from prerank.evaluation.fusion import FusionWeights
from prerank.loading import load_system
from prerank.training.contracts import FittedSystem


@dataclass(frozen=True)
class Source:
    """A fitted system and where it comes from.

    Attributes:
        config: that it was fitted with.
        home: its folder.
        fusion: weights of the heads' logits in the score.
        precision: in which tables are to be stored.
    """

    config: Config
    run: Run
    home: Path
    log: SearchLog
    encoded: EncodedLog
    fitted: FittedSystem
    fusion: FusionWeights
    precision: TablePrecision

    @classmethod
    def open(cls, invocation: Invocation) -> Source:
        """Load what the command names.

        Raises:
            InputError: if the system is not fitted, or was fitted on columns or a ψ that have changed since.
        """
        run, home = invocation.run, invocation.run.system(invocation.config.system)
        loaded = load_system(invocation)
        return cls(
            config=config_from(home / "config.yaml"),
            run=run,
            home=home,
            log=SearchLog.open(run.logs),
            encoded=loaded.encoded,
            fitted=loaded.fitted,
            fusion=FusionWeights(**{**read_json(home / "fusion.json"), "chosen_by": ()}),
            precision=invocation.config.export.tables,
        )

    @property
    def name(self) -> str:
        """Of the fitted system."""
        return self.home.name

    @property
    def identity(self) -> str:
        return identity_of(self.home, "python -m prerank.fit")

    @property
    def items(self) -> pa.Table:
        """The catalogue, raw, in the types that the system knows."""
        return Preparation.of(self.encoded.schema.columns).table(self.log.items(), "items")

    @property
    def test(self) -> EncodedSplit:
        """The rows that golden requests are of."""
        return self.encoded.split("test")
