"""The fits of one job, one after the other, on a run that shares finished stages with others."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.command import parse
from configs.errors import InputError, system_fault
from configs.stages import Run, replacing
from prerank.fitting import fit_system
from pretrain.pipeline import make_psi


def fit_all(
    fits: Sequence[Mapping[str, Any]], donors: Sequence[str], stages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Make fits in order; one that fails is told, and the next is tried.

    Args:
        fits: the ``root`` of the run folder and the ``arguments`` of each.
        donors: run folders that may have finished stages to share.
        stages: which of them may be shared.

    Yields:
        ``{"fit": number, "seconds": ...}`` or ``{"fit": number, "error": ...}``.
    """
    prepared: set[str] = set()
    for number, each in enumerate(fits):
        started = time.monotonic()
        try:
            # The folder is the experiment's own: what a plan of before, or a donor, left there may be replaced.
            invocation = parse([*each["arguments"], "overwrite=true"], remember=False)
            if each["root"] not in prepared:
                share(invocation.run, [Run(Path(donor)) for donor in donors], stages)
                make_psi(invocation)
                prepared.add(each["root"])
            folder = fit_system(invocation)
            # Only an interrupted fit needs its resume point, and here are hundreds of finished ones.
            (folder / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
        except Exception as error:
            traceback.print_exc()
            fault = str(error) if isinstance(error, InputError) else system_fault(error, each["root"])
            yield {"fit": number, "error": fault or f"{type(error).__name__}: {error}"}
        else:
            yield {"fit": number, "seconds": time.monotonic() - started}


def share(run: Run, donors: Sequence[Run], stages: Sequence[str]) -> None:
    """Give a new run finished stages (log, graph, ψ, encoding) of other runs of the same log, as hard links.

    Whether they are what this run needs is for the stages to say: each compares its identity with the manifest's and
    is made anew where they differ. That never changes the donor's files: stages write under temporary names and rename,
    and starting over removes links, so no file is ever written to in place.
    """
    for stage in stages:
        place = run.root / stage
        finished = [donor.root / stage for donor in donors if (donor.root / stage / "manifest.json").exists()]
        if finished and not place.exists():
            with replacing(place) as temporary:  # a folder that is linked by half would pass for a whole one
                shutil.copytree(finished[0], temporary, copy_function=os.link)
