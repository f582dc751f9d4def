"""The console command ``grace``: ``grace fit model=ple`` is ``python -m prerank.fit model=ple``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from configs.command import main as run_command
from configs.commands import COMMANDS
from configs.console import print_whatever_the_encoding
from configs.manual import print_overview, print_version
from configs.options import suggestion


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names, by its word or in full (``prerank.fit``).

    Returns:
        As :func:`configs.command.main`; 2 for an unknown word.
    """
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    print_whatever_the_encoding()
    if word in ("-h", "--help", "help"):
        print_overview()
        return 0
    if print_version([word]):
        return 0
    names = {command.word: name for name, command in COMMANDS.items()}
    if word not in names and word not in COMMANDS:
        near = suggestion(word, [*names, *COMMANDS]) or f"; there are {', '.join(names)}"
        print(f"error: grace has no command {word!r}{near}; grace --help says what each does", file=sys.stderr)
        return 2
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, "")  # as `python -m` does: a model of the user's own lies in the folder that he calls from
    return run_command(names.get(word, word), rest)


if __name__ == "__main__":
    sys.exit(main())
