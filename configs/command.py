"""One way to call every command: ``key=value`` overrides and ``--config FILE``, strictly checked.

Later wins: defaults < what the run remembers < data and model files < experiment < ``--config`` < overrides.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.commands import COMMANDS, Command
from configs.console import say
from configs.errors import InputError, system_fault
from configs.ranges import check_ranges
from configs.schema import Config
from configs.stages import Run, replacing

CONFIGS = Path(__file__).parent
GROUPS = ("data", "model", "experiment")
REMEMBERED = ("seed", "backend", "engine", "data", "graph", "pretrain")
"""What a run's first command settles for the later ones."""


@dataclass(frozen=True)
class Invocation:
    """A parsed command line.

    Attributes:
        config: the configuration.
        run: the run that it names.
        asked: the keys that the command line, its files and its experiment set themselves.
    """

    config: Config
    run: Run
    asked: frozenset[str]


def parse(arguments: Sequence[str], remember: bool = True) -> Invocation:
    """Build the configuration from a command line.

    Args:
        arguments: ``key=value`` overrides and ``--config FILE``.
        remember: take the data, graph and pretrain sections from the run's ``config.yaml`` where it exists.

    Raises:
        InputError: for an unknown key, group or file, or a value of the wrong type; with a suggestion.
    """
    files, overrides = _split(arguments)
    layers = [_read_yaml(Path(file)) for file in files]
    chosen = {group: _choice(group, layers, overrides) for group in GROUPS}
    given = [_override(text) for text in overrides if text.split("=", 1)[0] not in GROUPS]

    naming = _merge([OmegaConf.structured(Config), *layers, *given])
    run = Run(Path(naming.runs_folder) / naming.run)
    layered: list[DictConfig] = [OmegaConf.structured(Config)]
    remembered = _remembered(run) if remember else None
    if remembered is not None:
        layered.append(remembered)
    elif chosen["data"] is None:
        chosen["data"] = naming.data.name
    if chosen["model"] is None:
        chosen["model"] = naming.model.name
    groups = [_group(group, name) for group, name in chosen.items() if name is not None]
    experiment = [_group("experiment", chosen["experiment"])] if chosen["experiment"] is not None else []
    if remembered is not None and chosen["data"] is not None:
        layered.append(OmegaConf.create({"data": OmegaConf.to_container(OmegaConf.structured(Config).data)}))
    merged = _merge([*layered, *groups, *layers, *given])
    merged.experiment = chosen["experiment"]
    config = OmegaConf.to_object(merged)
    assert isinstance(config, Config)
    check_ranges(config)
    asked = frozenset(key for layer in (*experiment, *layers, *given) for key in _keys_of(layer))
    return Invocation(config=config, run=run, asked=asked)


def main(name: str | Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command: parse, do, and turn an ``InputError``, a full or a read-only disk into one readable line.

    Args:
        name: of a command in :data:`configs.commands.COMMANDS`, or a command that is not among them.
        arguments: of the command line; ``sys.argv``'s where None.

    Returns:
        0 when done, 2 for an error that the user can mend, 130 when interrupted.
    """
    command = COMMANDS[name] if isinstance(name, str) else name
    arguments = command.spelt_out(sys.argv[1:] if arguments is None else list(arguments))
    if any(argument in ("-h", "--help") for argument in arguments):
        print_help(command.purpose)
        return 0
    folder: object = "runs_folder"
    try:
        invocation = parse(arguments)
        folder = invocation.run.root
        command.load()(invocation)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        fault = system_fault(error, folder)
        if fault is None:
            raise
        print(f"error: {fault}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: run the same command again to resume", file=sys.stderr)
        return 130
    return 0


def print_help(purpose: str) -> None:
    """List every key with its type, default and meaning."""
    say(f"{purpose}\n\nusage: key=value ... [--config FILE]\n")
    for name, kind, default, meaning in _keys(Config, ""):
        say(f"  {name}={default}  ({kind})\n      {meaning}")
    for group in GROUPS:
        say(f"\n{group}= one of: {', '.join(_names(group))}")


def as_yaml(config: Config) -> str:
    """The resolved configuration as YAML, readable back with ``--config``."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def save(config: Config, path: Path) -> None:
    """Write the resolved configuration."""
    with replacing(path) as temporary:
        temporary.write_text(as_yaml(config), encoding="utf-8")


def config_from(path: Path) -> Config:
    """A configuration that :func:`save` wrote.

    Raises:
        InputError: if the file is missing or does not fit the schema.
    """
    config = OmegaConf.to_object(_merge([OmegaConf.structured(Config), _read_yaml(path)]))
    assert isinstance(config, Config)
    return config


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


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    files: list[str] = []
    overrides: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--config":
            file = next(rest, None)
            if file is None:
                raise InputError("--config needs a file")
            files.append(file)
        elif argument.startswith("--config="):
            files.append(argument.removeprefix("--config="))
        elif "=" in argument and not argument.startswith("-"):
            overrides.append(argument)
        else:
            raise InputError(f"expected key=value or --config FILE, found {argument!r}; --help lists the keys")
    return files, overrides


def _read_yaml(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise InputError(f"config file {path} does not exist") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"config file {path} is not readable YAML: {reason}") from None
    if not isinstance(loaded, DictConfig):
        raise InputError(f"config file {path} must hold keys and values, found {type(loaded).__name__}")
    return loaded


def _choice(group: str, layers: Sequence[DictConfig], overrides: Sequence[str]) -> str | None:
    """The group file that is asked for: on the command line (last wins), else in a ``--config`` file."""
    for text in reversed(overrides):
        name, value = text.split("=", 1)
        if name == group:
            return value
    for layer in reversed(layers):
        value = layer.get(group)
        if isinstance(value, DictConfig):
            value = value.get("name")
        if isinstance(value, str):
            return value
    return None


def _override(text: str) -> DictConfig:
    try:
        return OmegaConf.from_dotlist([text])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"cannot read the value of {text!r}: {error}") from None


def _group(group: str, name: str) -> DictConfig:
    if name not in _names(group):
        raise InputError(
            f"{group}={name} is unknown; there are: {', '.join(_names(group))}{_suggest(name, _names(group))}"
        )
    loaded = _read_yaml(CONFIGS / group / f"{name}.yaml")
    return loaded if group == "experiment" else OmegaConf.create({group: loaded})


def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _remembered(run: Run) -> DictConfig | None:
    if not run.config.exists():
        return None
    saved = _read_yaml(run.config)
    return OmegaConf.masked_copy(saved, [name for name in REMEMBERED if name in saved])


def _merge(layers: Sequence[DictConfig]) -> DictConfig:
    merged = layers[0]
    for layer in layers[1:]:
        plain = OmegaConf.to_container(layer)
        assert isinstance(plain, dict)
        # A group named in a file (``data: trivago``) was resolved before; only its keys are merged here.
        content = {str(k): v for k, v in plain.items() if not (k in GROUPS and not isinstance(v, dict))}
        for name in _leaves(content, ""):
            _known(name)
        try:
            merged = OmegaConf.merge(merged, OmegaConf.create(content))  # type: ignore[assignment]
        except OmegaConfBaseException as error:
            where = getattr(error, "full_key", None) or ", ".join(_leaves(content, ""))
            raise InputError(f"{where}: {str(error).splitlines()[0]}") from None
    return merged


def _keys_of(layer: DictConfig) -> list[str]:
    plain = OmegaConf.to_container(layer)
    assert isinstance(plain, dict)
    return list(_leaves({str(name): value for name, value in plain.items()}, ""))


def _leaves(content: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, value in content.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{full}.")
        else:
            yield full


@cache
def _every_key() -> tuple[str, ...]:
    return tuple(key for key, _, _, _ in _keys(Config, ""))


def _known(name: str) -> None:
    """Refuse a key that the schema does not have, naming the nearest one."""
    every = _every_key()
    sections = {key.rsplit(".", depth)[0] for key in every for depth in range(1, key.count(".") + 1)}
    if name not in every and name not in sections:
        raise InputError(f"unknown key {name!r}{_suggest(name, every)}; --help lists the keys")


def _suggest(name: str, among: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, among, n=1, cutoff=0.5)
    if not near:
        last = name.rsplit(".", 1)[-1]
        near = [full for full in among if full.rsplit(".", 1)[-1] == last][:1]
    return f": did you mean {near[0]!r}?" if near else ""


def _keys(schema: type, prefix: str) -> Iterator[tuple[str, str, Any, str]]:
    hints = get_type_hints(schema)
    made = schema()
    for entry in fields(schema):
        kind, default = hints[entry.name], getattr(made, entry.name)
        if is_dataclass(kind):
            yield from _keys(kind, f"{prefix}{entry.name}.")  # type: ignore[arg-type]
            continue
        if isinstance(default, Enum):
            shown, default = "|".join(member.value for member in type(default)), default.value
        else:
            shown = getattr(kind, "__name__", str(kind)) if not hasattr(kind, "__args__") else str(kind)
        yield f"{prefix}{entry.name}", shown, default, entry.metadata["help"]
