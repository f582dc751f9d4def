"""Many cases by hand: ``python -m tests.fuzz.run cases=2000 seed=0 jobs=1``; prints how they ended and what failed."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.cases import CASES, Case
from tests.fuzz.driving import carry_out


def run(cases: int, start: int, report: Path | None) -> Counter[str]:
    """Carry out that many cases, not stopping at failures; the first of each kind is printed, all are reported."""
    ended: Counter[str] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()

    @seed(start)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(CASES)
    def each(case: Case) -> None:
        folder = Path(tempfile.mkdtemp(prefix="fuzz"))
        try:
            outcome = carry_out(case, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        ended[f"{case.form} {case.command}: {outcome.kind}"] += 1
        ended[outcome.kind] += 1
        if not outcome.fine:
            seen[outcome.kind, outcome.where] += 1
            if seen[outcome.kind, outcome.where] == 1:
                print(f"{outcome.kind} {outcome.where}\n  {case}\n{outcome.detail}\n", flush=True)
        if report is not None:
            with report.open("a") as file:
                file.write(json.dumps([repr(case), outcome.kind, outcome.where, outcome.detail]) + "\n")

    each()
    print(f"{sum(seen.values())} failures of {len(seen)} kinds in {time.monotonic() - began:.0f} s")
    for name, count in sorted(ended.items()):
        print(f"{count:6,}  {name}")
    return ended


if __name__ == "__main__":
    asked = dict(argument.split("=", 1) for argument in sys.argv[1:])
    report = Path(asked["report"]) if "report" in asked else None
    ended = run(int(asked.get("cases", 2000)), int(asked.get("seed", 0)), report)
    sys.exit(sum(ended[kind] for kind in ("result", "error")) < sum(n for k, n in ended.items() if " " not in k))
