"""What ``--help`` and ``--version`` print: the keys that a command reads, with their ranges and units."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Callable, Sequence

from configs.commands import COMMANDS, Command
from configs.console import say
from configs.layers import CONFIGS, GROUPS, SPELT, group_names
from configs.options import options

PACKAGE = "grace-prerank"


def print_help(command: Command, arguments: Sequence[str]) -> bool:
    """Print the keys that a command reads, with ``--help all`` the others too; return whether that was asked for."""
    whole = "--help=all" in arguments or ("--help" in arguments and "all" in arguments)
    if not whole and not {"-h", "--help"} & set(arguments):
        return False
    say(f"{command.purpose}\n\nusage: python -m {command.name} key=value ... [--config FILE] [--version]")
    say(f"   or: grace {command.word} key=value ...\n" if command.name in COMMANDS else "")
    _print_keys(command.takes)
    for group, key in GROUPS.items():
        if command.takes(key):
            say(f"\n{group}= one of: {', '.join(group_names(group))}")
    if command.inherits:
        say(f"\nAs the run has them, made by pretrain.run and prerank.fit: {', '.join(command.inherits)}.")
    if whole:
        say("\nRead by other commands only:\n")
        _print_keys(lambda key: not command.takes(key))
    else:
        say("\n--help all lists the keys of other commands too.")
    return True


def print_overview() -> None:
    """Print what ``grace`` can do."""
    say("usage: grace COMMAND key=value ... [--config FILE]\n       grace COMMAND --help\n       grace --version\n")
    for command in COMMANDS.values():
        say(f"  {command.word:10} {command.purpose}  (python -m {command.name})")


def print_version(arguments: Sequence[str]) -> bool:
    """Print the version of the package; return whether that was asked for."""
    if "--version" in arguments:
        say(f"{PACKAGE} {version()}")
    return "--version" in arguments


def version() -> str:
    """Of the installed package, or of a clone that is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        project = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])


def _print_keys(wanted: Callable[[str], bool]) -> None:
    spelt = {name: written for written, name in SPELT.items()}
    for option in options():
        if wanted(option.name):
            limits = f", {option.limits}" if option.limits else ""
            name = spelt.get(option.name, option.name)
            say(f"  {name}={option.default}  ({option.kind}{limits})\n      {option.meaning}")
