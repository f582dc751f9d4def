"""The layers of a configuration: YAML files and overrides, read strictly, each as far as a command takes it."""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.commands import COMMANDS, REMEMBERED, Command, readers
from configs.console import say
from configs.errors import InputError
from configs.options import is_text, names, sections, suggestion, within
from configs.schema import Config
from configs.stages import Run

CONFIGS = Path(__file__).parent
GROUPS = {"data": "data.name", "model": "model.name", "experiment": "experiment"}
"""Folder of YAML files → the key that names one of them."""
SPELT = {"from": "from_run"}
"""How a key is written on a command line where its name cannot be a field's → its name."""
OWN_MODELS = Path("models")
"""The user's own models, in the folder that a command is run from: ``NAME.yaml`` or ``NAME.py`` is ``model=NAME``."""
PACKAGED = "grace.models"
"""Group of entry points by which an installed package brings models: ``NAME = "package.module"``."""
UNREADABLE = (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a value may raise: beside wrong YAML, a number of 5,000 digits, lists in lists, half a Unicode pair."""
FITTED = ("model", "prerank")
"""What ``prerank.fit`` settles for the commands that work on the fitted system."""
LONGEST_REASON = 200
CONTINUED_SHARES = (0.9, 0.05, 0.05)
"""Of the new sessions of a run that goes on from another: training, validation and test."""
OF_THE_READER = ("data.name", "data.path", "data.world", "data.table", "data.ubi")
"""Keys that say where a log is read from, and how."""
OF_A_SAVED_FILE = {"run", "runs_folder", "seed"}
"""Keys that every configuration saved by a command has; a file with all of them may be about other commands too."""


@cache
def schema() -> DictConfig:
    """Every key with its type and default; :func:`merge` copies it."""
    keys: DictConfig = OmegaConf.structured(Config)
    return keys


@dataclass(frozen=True)
class Layer:
    """Keys that were asked for at one place.

    Attributes:
        content: of the keys.
        where: that they come from, as the start of an error; empty for the command line.
        group: whether it is a choice such as ``model=ple``, which stands for a file of ``configs/model``.
    """

    content: DictConfig
    where: str = ""
    group: bool = False

    @property
    def keys(self) -> list[str]:
        """Every key, in full."""
        plain = OmegaConf.to_container(self.content)
        assert isinstance(plain, dict)
        return list(leaves(plain, ""))

    def value(self, key: str) -> Any:
        """Of a key; None where the layer does not have it."""
        return OmegaConf.select(self.content, key, throw_on_missing=False)


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The ``--config`` files and the overrides of a command line.

    Raises:
        InputError: for an argument that is neither.
    """
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


def of_file(path: str) -> Layer:
    """The keys of a ``--config`` file."""
    return Layer(read_yaml(Path(path)), f"--config {path}: ")


def of_override(text: str) -> Layer:
    """The key of an override, or the choice of a group's file.

    Raises:
        InputError: if its value cannot be read.
    """
    name, value = text.split("=", 1)
    name = SPELT.get(name, name)
    if "${" in value:
        raise InputError(f"{text}: ${{...}} is not expanded here: write the value out, or let the shell expand it")
    if name in GROUPS:
        return Layer(OmegaConf.create({name: value} if GROUPS[name] == name else {name: {"name": value}}), group=True)
    try:
        if not is_text(name):
            return Layer(OmegaConf.from_dotlist([text]))
        content = OmegaConf.create()
        OmegaConf.update(content, name, _as_text(value))
        return Layer(content)
    except UNREADABLE as error:
        raise InputError(f"cannot read the value of {shortened(repr(text))}: {_reason(error)}") from None


def _as_text(value: str) -> Any:
    """The value of a key that holds text or a list of it: as typed, where YAML would make 7 of 007 and 1.1 of 1.10."""
    if value in ("", "null"):
        return None
    quoted, listed = value[:1] in ("'", '"'), value[:1] == "["
    return yaml.load(value, yaml.BaseLoader) if quoted or listed else value


def of_group(group: str, name: str) -> DictConfig:
    """A file of ``configs/data``, ``configs/model`` or ``configs/experiment``.

    Raises:
        InputError: if there is none of this name.
    """
    files = _group_files(group)
    if group == "model" and name not in files and name in (packaged := packaged_models()):
        return OmegaConf.create({group: {"name": name, "system": packaged[name]}})
    if name not in files:
        among = group_names(group)
        raise InputError(
            f"{group}={shortened(name)} is unknown; there are: {', '.join(among)}{suggestion(name, among)}"
        )
    content = read_yaml(files[name]) if files[name].suffix == ".yaml" else OmegaConf.create()
    return content if group == "experiment" else OmegaConf.create({group: {**content, "name": name}})


def group_names(group: str) -> list[str]:
    """The names of a group's files; of models, also of the user's own and of installed packages'."""
    return sorted({*_group_files(group), *(packaged_models() if group == "model" else ())})


def packaged_models() -> dict[str, str]:
    """Models that installed packages bring: name → module of the system, by entry points of :data:`PACKAGED`."""
    return {point.name: point.module for point in importlib.metadata.entry_points(group=PACKAGED)}


def _group_files(group: str) -> dict[str, Path]:
    files = {path.stem: path for path in (CONFIGS / group).glob("*.yaml")}
    own: dict[str, Path] = {}
    for pattern in ("*.py", "*.yaml") if group == "model" else ():  # a module alone is a model without other keys
        own |= {path.stem: path for path in OWN_MODELS.glob(pattern) if not path.stem.startswith("_")}
    for name, path in own.items():
        if name in files:
            raise InputError(f"{path}: there is a model={name} already: give yours another name")
    return files | own


def require_fixed(merged: DictConfig, model: DictConfig) -> None:
    """Refuse what would make a model another one under its name: GRACE with a rank head as grace_no_consistency.

    Args:
        merged: the configuration.
        model: the file of its model.

    Raises:
        InputError: if a key of ``model.fixed`` has another value than in the file.
    """
    if not model.model.get("fixed"):
        return
    alone = merge([schema(), model])
    for key in alone.model.fixed:
        value, expected = (OmegaConf.select(config.model, key) for config in (merged, alone))
        if value != expected:
            raise InputError(
                f"model={alone.model.name} is fixed to model.{key}={expected}, found model.{key}={value}: leave the "
                "key out, or take another model"
            )


def read_yaml(path: Path) -> DictConfig:
    """The content of a YAML file of keys.

    Raises:
        InputError: if it is missing, no YAML, or holds no keys.
    """
    try:
        content = OmegaConf.load(path)
        if isinstance(content, DictConfig):
            _take_as_typed(content, yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader))
    except FileNotFoundError:
        raise InputError(f"config file {path} does not exist") from None
    except (*UNREADABLE, OSError) as error:
        reason = shortened(" ".join(str(error).split()))
        raise InputError(f"config file {path} is not readable YAML: {reason}") from None
    if not isinstance(content, DictConfig):
        raise InputError(f"config file {path} must hold keys and values, found {type(content).__name__}")
    return content


def _take_as_typed(section: DictConfig, typed: Any, prefix: str = "") -> None:
    """Keys that hold text take it as the file has it, where YAML makes 20240501 of 2024_05_01 and True of on."""
    plain = OmegaConf.to_container(section)
    assert isinstance(plain, dict)
    for key, value in plain.items():
        name = str(key)
        text = typed.get(name) if isinstance(typed, dict) else None
        if isinstance(value, dict):
            _take_as_typed(section[name], text, f"{prefix}{name}.")
        elif is_text(f"{prefix}{name}") and isinstance(value, list) and isinstance(text, list):
            section[name] = [each if _is_plain(entry) else entry for entry, each in zip(value, text, strict=True)]
        elif is_text(f"{prefix}{name}") and _is_plain(value) and isinstance(text, str):
            section[name] = text


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def remembered(run: Run) -> DictConfig | None:
    """What the run's first command settled; None where there is no run yet."""
    if not run.config.exists():
        return None
    return masked(read_yaml(run.config), lambda key: within(key, REMEMBERED))


def fitted(run: Run, system: str) -> DictConfig | None:
    """The keys of the model and its training that a system of the run was fitted with; None where it is not fitted."""
    path = run.system(system) / "config.yaml"
    return masked(read_yaml(path), lambda key: within(key, FITTED)) if path.exists() else None


def continued(origin: Run) -> DictConfig:
    """What a run takes over of the one that it goes on from: all that this has settled but which rows it was made of.

    The new rows are split by session, most of them to be trained on, unless the origin has said otherwise in its turn.

    Raises:
        InputError: if there is no such run.
    """
    settled = remembered(origin)
    if settled is None:
        raise InputError(
            f"from={origin.root.name}: {origin.root} is no run: make it with `python -m pretrain.run "
            f"run={origin.root.name}`, or name another one"
        )
    if not settled.get("from_run"):
        split = {"by": "session", "shares": list(CONTINUED_SHARES), "train": [], "validation": [], "test": []}
        settled.merge_with({"data": {"split": split}})
    settled.merge_with({"from_run": origin.root.name, "graph": {"days": []}})
    return settled


def data_of(settled: DictConfig) -> DictConfig:
    """How a settled configuration uses its log's columns and rows, whatever the log is read from."""
    return masked(settled, lambda key: within(key, ("data",)) and not within(key, OF_THE_READER))


def merge(contents: Sequence[DictConfig]) -> DictConfig:
    """The configuration, a later layer's values over an earlier one's.

    Args:
        contents: of the layers, the schema first.

    Raises:
        InputError: for an unknown key or a value of the wrong type.
    """
    merged = copy.deepcopy(contents[0])
    for content in contents[1:]:
        layer = Layer(content)
        require_known(layer)
        try:
            merged.merge_with(content)
        except UNREADABLE as error:
            raise InputError(f"{_place(error) or ', '.join(layer.keys)}: {_reason(error)}") from None
    return merged


def as_object(merged: DictConfig) -> Config:
    """The configuration, with the values of variables such as ``${oc.env:HOME}`` in files.

    Raises:
        InputError: for a variable that there is not.
    """
    try:
        config = OmegaConf.to_object(merged)
    except UNREADABLE as error:
        raise InputError(f"{_place(error) or 'the configuration'}: {_reason(error)}") from None
    assert isinstance(config, Config)
    return config


def shortened(text: str) -> str:
    """A text as far as an error repeats it."""
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"


def _place(error: Exception) -> str:
    """The key that an error of OmegaConf's names; empty where it names none."""
    return shortened(getattr(error, "full_key", None) or "")


def _reason(error: Exception) -> str:
    return shortened((str(error) or type(error).__name__).splitlines()[0])


def respelt(layer: Layer, settled: DictConfig) -> Layer:
    """The layer with the run's own spelling of ``data.path`` where it names the same place: relative, absolute, ~."""
    asked, own = (OmegaConf.select(content, "data.path") for content in (layer.content, settled))
    if not (isinstance(asked, str) and isinstance(own, str) and resolved(asked) == resolved(own)):
        return layer
    content = copy.deepcopy(layer.content)
    content.data.path = own
    return replace(layer, content=content)


def resolved(path: str) -> Path:
    """Where a path of the configuration leads."""
    return Path(path).expanduser().resolve()


def taken(layer: Layer, command: Command, run: Run, settled: DictConfig | None) -> Layer:
    """The part of a layer that a command takes; ``settled``: what the run holds, and the fitted system with it.

    What the command only has from its run may be repeated. What a command that comes after it on the same run reads is
    passed over, and named, so that one list of overrides serves both; so are keys of a saved configuration, which is
    about other commands too.

    Raises:
        InputError: for another value than the run holds, or a key that the command does not read.
    """
    foreign = [key for key in layer.keys if not command.takes(key)]
    saved = layer.content.keys() >= OF_A_SAVED_FILE
    held = {} if settled is None else settled.keys() - (FITTED if saved else ())
    inherited = [key for key in foreign if key.split(".")[0] in held and within(key, command.inherits)]
    _require_settled(layer, inherited, command, run, settled)
    ignored = [key for key in foreign if key not in inherited]
    refused = [key for key in ignored if not saved and not any(COMMANDS[name].takes(key) for name in command.before)]
    if refused:
        raise InputError(f"{layer.where}{_belongs_elsewhere(refused[0], command)}")
    if ignored:
        parts = dict.fromkeys(key.split(".")[0] if saved else key for key in ignored)
        say(f"{layer.where}passed over what {command.name} does not read: {', '.join(parts)}")
    return replace(layer, content=masked(layer.content, command.takes))


def taken_of_experiment(layer: Layer, command: Command, run: Run, settled: DictConfig | None) -> Layer:
    """The part of an experiment that a command takes; the rest is about other commands. Its data must be the run's.

    Raises:
        InputError: if they are not.
    """
    if settled is not None:
        about_data = [key for key in layer.keys if within(key, ("data",)) and not command.takes(key)]
        inherited = [key for key in about_data if within(key, command.inherits)]
        _require_settled(layer, inherited, command, run, settled)
    return replace(layer, content=masked(layer.content, command.takes))


def masked(content: DictConfig, wanted: Callable[[str], bool]) -> DictConfig:
    """The keys that are wanted."""

    def pruned(section: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for name, value in section.items():
            if isinstance(value, dict) and value and f"{prefix}{name}" not in names():
                part = pruned(value, f"{prefix}{name}.")
                parts |= {name: part} if part else {}
            elif wanted(f"{prefix}{name}"):
                parts[name] = value
        return parts

    plain = OmegaConf.to_container(content, enum_to_str=True)
    assert isinstance(plain, dict)
    return OmegaConf.create(pruned(plain, ""))  # type: ignore[arg-type]


def leaves(content: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    """The full names of all keys of a mapping."""
    for name, value in content.items():
        full = f"{prefix}{name}"
        if isinstance(value, dict) and value and full not in names():
            yield from leaves(value, f"{full}.")
        else:
            yield full


def _require_settled(layer: Layer, keys: Sequence[str], command: Command, run: Run, settled: DictConfig | None) -> None:
    """Refuse another value than the run holds."""
    if not keys or settled is None:
        return
    here, there = merge([schema(), layer.content]), merge([schema(), settled])
    for key in keys:
        value, standing = OmegaConf.select(here, key), OmegaConf.select(there, key)
        if value != standing:
            raise InputError(
                f"{layer.where}run={run.root.name} holds {key}={standing}, asked for {value}: {command.name} works on "
                f"what the run holds; leave {key} out, or make another run with `python -m pretrain.run`"
            )


def require_begun(run: Run, origin: str, command: Command) -> None:
    """Refuse ``from=`` of a run that there is not yet, by a command that works on what the run holds.

    Raises:
        InputError: that names the command which makes it.
    """
    if within("from_run", command.inherits) and not command.takes("from_run"):
        raise InputError(
            f"{run.root} is no run yet: make it with `python -m pretrain.run run={run.root.name} from={origin}` first"
        )


def _belongs_elsewhere(key: str, command: Command) -> str:
    nearest, *others = readers(key)
    also = f" (also by {', '.join(others)})" if others else ""
    return f"{key} is read by {nearest}{also}, not by {command.name}: give it to `python -m {nearest}`, or leave it out"


def require_known(layer: Layer, command: Command | None = None) -> None:
    """Refuse a key that the schema does not have, naming the nearest one of the command.

    Raises:
        InputError: if there is one.
    """
    for name in layer.keys:
        if name in names() or name in sections():
            continue
        own = [key for key in names() if command is None or command.takes(key)]
        same = [key for key in own if key.rsplit(".", 1)[-1] == name]
        raise InputError(f"unknown key {name!r}{suggestion(name, same or names())}; --help lists the keys")
