"""Where the encodings of a run lie: one for each list of features, side by side, so that none makes another stale.

``prerank/encoded`` holds the columns of the first system that was fitted; other columns of the same log lie beside it,
in ``prerank/encoded-<digest>``. A fitted system's manifest names the identity of the encoding that it reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.stages import MANIFEST, Run, fingerprint, plain, read_json, settle

ENCODING = re.compile(r"encoded(-[0-9a-f]+)?")
"""Names that no system may have."""


def encoding_for(run: Run, settings: Mapping[str, Any], log: str) -> Path:
    """The folder for an encoding of a log by these settings.

    Args:
        run: whose log it is.
        settings: what determines the encoding besides the log.
        log: identity of the checked log.
    """
    settle(run.encoded)
    if not (run.encoded / MANIFEST).exists():
        return run.encoded
    manifest = read_json(run.encoded / MANIFEST)
    before, asked = manifest.get("settings", {}), plain(dict(settings))
    # Of another log, or by another version of this program: that one is to be replaced.
    if before == asked or before.get("format") != asked["format"] or manifest.get("inputs", {}).get("log") != log:
        return run.encoded
    return run.encoded.with_name(f"{run.encoded.name}-{fingerprint(asked)[:8]}")


def encoding_of(run: Run, system: str) -> Path:
    """The folder of the encoding that a fitted system reads; ``prerank/encoded`` where it is not there any more."""
    manifest = run.system(system) / MANIFEST
    wanted = read_json(manifest).get("inputs", {}).get("encoded") if manifest.exists() else None
    for folder in sorted(run.encoded.parent.glob(f"{run.encoded.name}-*")):
        if (folder / MANIFEST).exists() and read_json(folder / MANIFEST)["identity"] == wanted:
            return folder
    return run.encoded
