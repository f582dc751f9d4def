"""One way to call every command: ``key=value`` overrides and ``--config FILE``, strictly checked.

Later wins: defaults < what the run remembers < data and model files < experiment < ``--config`` < overrides. A key that
the command does not read is refused, or passed over where a command that comes after it on the same run reads it, or
where it comes from a file that is about several commands: an experiment, or a configuration that a command saved.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from configs import layers
from configs.commands import COMMANDS, Command
from configs.console import print_whatever_the_encoding
from configs.errors import InputError, system_fault
from configs.layers import CONFIGS as CONFIGS
from configs.layers import GROUPS, Layer
from configs.manual import print_help, print_version
from configs.options import within
from configs.ranges import check_ranges, require_folder_name
from configs.schema import Config
from configs.stages import Run, replacing, watch

ANYTHING = Command("a notebook", "Whatever is done with the configuration.", lambda _: None)


@dataclass(frozen=True)
class Invocation:
    """A parsed command line.

    Attributes:
        config: the configuration.
        run: the run that it names.
        asked: the keys that the command line, its files and its experiment set themselves.
        overrides: those of a command but its experiment's, which is about other systems and commands too.
        command: what they were parsed for.
    """

    config: Config
    run: Run
    asked: frozenset[str]
    overrides: frozenset[str] = frozenset()
    command: Command = ANYTHING

    def save(self, path: Path) -> None:
        """Write the configuration as far as the command uses it, so that the file holds nothing that played no part."""
        _write(layers.masked(OmegaConf.structured(self.config), self.command.uses), path)


def parse(arguments: Sequence[str], remember: bool = True, command: Command = ANYTHING) -> Invocation:
    """Build the configuration from a command line.

    Args:
        arguments: ``key=value`` overrides and ``--config FILE``.
        remember: take the data, graph and pretrain sections from the run's ``config.yaml`` where it exists; a command
            that no run can be named to has none.
        command: that reads it; by default every key may be asked for.

    Raises:
        InputError: for an unknown key, group or file, or a value of the wrong type, with a suggestion; for a key that
            the command does not read, or another value than its run holds.

    Examples:
        >>> from configs import parse
        >>> invocation = parse(["run=notebook", "data.world=tiny"])
        >>> invocation.config.data.name, invocation.run.root.name
        ('marketplace', 'notebook')
    """
    schema = layers.schema()
    files, texts = layers.split(arguments)
    everything = [*map(layers.of_file, files), *map(layers.of_override, texts)]
    for layer in everything:
        layers.require_known(layer, command)
    name = _last(everything, "run") or schema.run
    require_folder_name(name)
    run = Run(Path(_last(everything, "runs_folder") or schema.runs_folder) / name)
    settled = layers.remembered(run) if remember and command.takes("run") else None
    base = settled
    if settled is not None:
        everything = [layers.respelt(layer, settled) for layer in everything]
    elif (origin := _last(everything, "from_run")) is not None:
        layers.require_begun(run, origin, command)
        base = layers.continued(Run(run.root.parent / origin))
    held = settled
    if settled is not None and "prerank" in command.inherits:
        system = _last(everything, "name") or _last(everything, "model.name") or schema.model.name
        held = OmegaConf.create({**settled, **(layers.fitted(run, system) or {})})
    asked = [layers.taken(layer, command, run, held) for layer in everything]
    overrides = _keys_of(asked) if command is not ANYTHING else frozenset()
    data, model, experiment = (_last(asked, key) for key in GROUPS.values())

    contents = [schema]
    if base is not None:
        contents.append(base if data is None else layers.masked(base, lambda key: not within(key, ("data",))))
    if data is not None or base is None:
        contents.append(layers.of_group("data", schema.data.name if data is None else data))
    if data is not None and base is not None and settled is None:
        contents.append(layers.data_of(base))
    of_model = layers.of_group("model", schema.model.name if model is None else model)
    contents.append(of_model)
    if experiment is not None:
        layer = Layer(layers.of_group("experiment", experiment), f"experiment={experiment}: ")
        asked.insert(0, layers.taken_of_experiment(layer, command, run, settled))
    merged = layers.merge([*contents, *(layer.content for layer in asked)])
    layers.require_fixed(merged, of_model)
    config = layers.as_object(merged)
    check_ranges(config)
    return Invocation(config, run, _keys_of(asked), overrides, command)


def main(name: str | Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command: parse, do, and turn an ``InputError``, a full or a read-only disk into one readable line.

    Args:
        name: of a command in :data:`configs.commands.COMMANDS`, or a command that is not among them.
        arguments: of the command line; ``sys.argv``'s where None.

    Returns:
        0 when done, 2 for an error that the user can mend, 130 when interrupted.
    """
    print_whatever_the_encoding()
    command = COMMANDS[name] if isinstance(name, str) else name
    arguments = command.spelt_out(sys.argv[1:] if arguments is None else list(arguments))
    if print_help(command, arguments) or print_version(arguments):
        return 0
    folder: object = "runs_folder"
    meanwhile = watch(None)
    try:
        invocation = parse(arguments, command=command)
        folder = invocation.run.root
        meanwhile = watch(invocation.run if command.inherits else None)
        command.load()(invocation)
    except InputError as error:
        print(f"error: {meanwhile() or error}", file=sys.stderr)
        return 2
    except Exception as error:
        fault = system_fault(error, folder) or meanwhile()
        if not fault:
            raise
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again to resume", file=sys.stderr)
        return 130
    return 0


def save(config: Config, path: Path) -> None:
    """Write a whole configuration as YAML, readable back with ``--config``."""
    _write(OmegaConf.structured(config), path)


def config_from(path: Path) -> Config:
    """A configuration that :func:`save` wrote.

    Raises:
        InputError: if the file is missing or does not fit the schema.
    """
    return layers.as_object(layers.merge([layers.schema(), layers.read_yaml(path)]))


def run_config(run: Run) -> Config:
    """What the run's first command settled.

    Raises:
        InputError: if there is no such run.
    """
    if not run.config.exists():
        raise InputError(f"{run.root} is no run: make it with `python -m pretrain.run run={run.root.name}`")
    return config_from(run.config)


def settings(section: Any) -> Any:
    """A configuration section as plain JSON-like values, for a stage's identity."""
    return OmegaConf.to_container(OmegaConf.structured(section), resolve=True, enum_to_str=True)


def _keys_of(asked: Sequence[Layer]) -> frozenset[str]:
    return frozenset(key for layer in asked if not layer.group for key in layer.keys)


def _last(asked: Sequence[Layer], key: str) -> str | None:
    """The last layer's value of a key that is a name."""
    values = (layer.value(key) for layer in reversed(asked))
    return next((str(value) for value in values if isinstance(value, str | int | float)), None)


def _write(content: DictConfig, path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(OmegaConf.to_yaml(content), encoding="utf-8")
