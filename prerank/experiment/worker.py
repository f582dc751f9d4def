"""``python -m prerank.experiment.worker``: one task of :func:`prerank.experiment.pool.carry_out`.

It reads the task as a line of JSON, answers with a line for each answer of the task's function and a last one, prints
what the function prints to its error output, and ends when the process that started it does.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any

from configs.console import print_whatever_the_encoding


def main() -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    print_whatever_the_encoding()
    os.dup2(2, 1)  # what the function prints belongs to the log, and the answers to nobody else
    task = json.loads(read_line())
    threading.Thread(target=end_with_parent, daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        module, function = task["function"].split(":")
        for content in getattr(importlib.import_module(module), function)(**task["arguments"]):
            tell({"content": content})
    except Exception as error:
        traceback.print_exc()
        tell({"error": f"{type(error).__name__}: {error}"})
        return 1
    tell({"done": True})
    return 0


def read_line() -> bytes:
    """The first line of the input, unbuffered, so that :func:`end_with_parent` sees its end."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            sys.exit("expected a task on the input: commands start this, as `python -m prerank.compare`")
        line += part
    return line


def end_with_parent() -> None:
    """End as soon as the other end of the input is closed, however the process that holds it ended."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
