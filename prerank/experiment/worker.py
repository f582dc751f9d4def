"""``python -m prerank.experiment.worker``: the fits of one job of ``prerank.mechanisms`` or ``prerank.compare``.

It reads one line of JSON (:meth:`prerank.experiment.jobs.Job.message`), prints what the fits print to its error output,
and answers with a line of JSON for each fit: its number, and its seconds or what went wrong. It ends when the process
that started it does.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.command import parse
from configs.errors import InputError, system_fault
from configs.stages import Run, replacing
from prerank.experiment.pool import end_with_parent, read_line
from prerank.fitting import fit
from pretrain.pipeline import run as pretrain

EXPECTED = "expected a job on the input: `python -m prerank.mechanisms` or `prerank.compare` starts this"

Tell = Callable[[Mapping[str, Any]], None]


def work(job: Mapping[str, Any], tell: Tell) -> None:
    """Do the fits in order; one that fails is told, and the next is tried.

    Args:
        job: as in :meth:`prerank.experiment.jobs.Job.message`.
        tell: is given ``{"fit": number, "seconds": ...}`` or ``{"fit": number, "error": ...}``.
    """
    donors = [Run(Path(donor)) for donor in job["donors"]]
    prepared: set[str] = set()
    for number, wanted in enumerate(job["fits"]):
        started = time.monotonic()
        try:
            invocation = parse(wanted["arguments"], remember=False)
            if wanted["root"] not in prepared:
                share(invocation.run, donors, job["shared"])
                pretrain(invocation)
                prepared.add(wanted["root"])
            folder = fit(invocation)
            # Only an interrupted fit needs its resume point, and here are hundreds of finished ones.
            (folder / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
        except Exception as error:
            traceback.print_exc()
            fault = str(error) if isinstance(error, InputError) else system_fault(error, wanted["root"])
            tell({"fit": number, "error": fault or f"{type(error).__name__}: {error}"})
        else:
            tell({"fit": number, "seconds": time.monotonic() - started})


def share(run: Run, donors: Sequence[Run], stages: Sequence[str]) -> None:
    """Give a new run finished stages (log, graph, ψ, encoding) of other runs of the same log, as hard links.

    Whether they are what this run needs is for the stages to say: each compares its identity with the manifest's and
    starts over where they differ. That never changes the donor's files: stages write under temporary names and rename,
    and starting over removes links, so no file is ever written to in place.
    """
    for stage in stages:
        place = run.root / stage
        finished = [donor.root / stage for donor in donors if (donor.root / stage / "manifest.json").exists()]
        if finished and not place.exists():
            with replacing(place) as temporary:  # a folder that is linked by half would pass for a whole one
                shutil.copytree(finished[0], temporary, copy_function=os.link)


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the fits print belongs to the log, and the answers to nobody else
    job = json.loads(read_line(EXPECTED))
    end_with_parent()

    def tell(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    work(job, tell)
    return 0


if __name__ == "__main__":
    sys.exit(main())
