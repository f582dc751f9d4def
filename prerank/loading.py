"""A fitted system with the log that it was fitted on, as a notebook wants to ask it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from configs.command import Invocation, config_from
from configs.stages import identity_of, require_inputs
from prerank import systems
from prerank.encoding.batches import EncodedLog
from prerank.encoding.places import encoding_of
from prerank.fitting import fit_command, open_work, system_stage
from prerank.training.contracts import FittedSystem, Predictions


@dataclass(frozen=True)
class LoadedSystem:
    """A fitted system and its run's encoded log.

    Attributes:
        encoded: the log's columns as the system reads them.
        fitted: the system.
    """

    encoded: EncodedLog
    fitted: FittedSystem

    def predict(self, split: Literal["train", "validation", "test"]) -> Predictions:
        """Logits of every row of a split, in its order: ``click`` and ``order`` [rows], ``rank`` [rows, cutoffs]."""
        return self.fitted.predict(self.encoded.split(split))

    def item_vectors(self) -> Float32[np.ndarray, "items dimension"] | None:
        """φ of every catalogue item, not normalised; None for a system without an item network."""
        return self.fitted.item_vectors(self.encoded)


def load_system(invocation: Invocation) -> LoadedSystem:
    """Open what :func:`prerank.fit_system` fitted.

    Args:
        invocation: names run and system; of all other keys, those that the system was fitted with hold.

    Raises:
        InputError: if the system is not fitted, or was fitted on columns or a ψ that have changed since.

    Examples:
        >>> from configs import parse
        >>> from prerank import load_system
        >>> system = load_system(parse(["run=notebook", "model=grace"]))
        >>> system.predict("test").click.shape == (system.encoded.split("test").rows,)
        True
        >>> len(system.item_vectors()) == system.encoded.schema.n_items
        True
    """
    config, run = invocation.config, invocation.run
    home, refit = run.system(config.system), fit_command(config)
    identity_of(home, refit)
    fitted = config_from(home / "config.yaml")
    work = open_work(fitted, run, EncodedLog.open(encoding_of(run, config.system)))
    require_inputs(home, system_stage(fitted, run, work).inputs, f"run `{refit} overwrite=true`")
    return LoadedSystem(work.encoded, systems.find(fitted.model).load(work))
