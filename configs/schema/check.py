"""Keys of ``graph.check``."""

from __future__ import annotations

from dataclasses import dataclass

from configs.schema.fields import key


@dataclass
class CheckConfig:
    """What is written of what was understood."""

    init: str | None = key(None, "a YAML file to write the suggested mapping to, for --config FILE; data=table only")
