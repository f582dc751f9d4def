"""A bundle: a folder whose manifest names every file with its size and SHA-256. Nothing in it is run or unpickled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1
KINDS = ("network", "two_towers", "trees", "popularity")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are those of its manifest.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, verify: bool = True) -> Bundle:
        """Read a bundle's manifest and check that the folder holds its files and no others.

        Args:
            folder: of the bundle.
            verify: compare each file's SHA-256 too, and not only its size.

        Raises:
            InputError: naming the file that is missing, changed or too many.
        """
        manifest = _read_manifest(folder)
        files = manifest["files"]
        for name in files:
            _require_plain(folder, name)
        for name in sorted({each.name for each in folder.iterdir()} - {MANIFEST, *files}):
            raise InputError(
                f"{folder / name} is not in the bundle's manifest: take it out, or export the bundle again"
            )
        for name, said in files.items():
            _require_file(folder / name, said["bytes"])
        if verify:
            with ThreadPoolExecutor() as pool:
                for name, digest in zip(files, pool.map(sha256_of, (folder / name for name in files)), strict=True):
                    if digest != files[name]["sha256"]:
                        raise InputError(
                            f"{folder / name} was changed: its SHA-256 is {digest}, the manifest has "
                            f"{files[name]['sha256']}; export the bundle again"
                        )
        return cls(folder, manifest)

    @property
    def kind(self) -> str:
        """network, two_towers, trees or popularity."""
        return str(self.manifest["kind"])

    def __contains__(self, name: str) -> bool:
        return name in self.manifest["files"]

    def path(self, name: str) -> Path:
        """Where a file of the bundle lies.

        Raises:
            InputError: if the manifest does not name it.
        """
        if name not in self:
            raise InputError(
                f"{self.folder} holds no {name}, which a bundle of kind {self.kind} needs: export it again"
            )
        return self.folder / name

    def read(self, name: str) -> bytes:
        """A file's content."""
        return self.path(name).read_bytes()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is no bundle: {path} is missing; python -m prerank.export writes one") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): export the bundle again") from None
    wrong = _wrong(manifest)
    if wrong:
        raise InputError(f"{path} {wrong}")
    return dict(manifest)


def _wrong(manifest: Any) -> str | None:
    """What a manifest lacks, if anything."""
    if not isinstance(manifest, dict) or "format" not in manifest:
        return "is no bundle's manifest: export the bundle again"
    if not is_format(manifest["format"], FORMAT):
        return f"has format {manifest['format']}, this version reads {FORMAT}: upgrade it, or export the bundle again"
    if manifest.get("kind") not in KINDS:
        return f"names the kind {manifest.get('kind')!r}, expected one of {', '.join(KINDS)}: upgrade this version"
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(said, dict) and isinstance(said.get("bytes"), int) and isinstance(said.get("sha256"), str)
        for said in files.values()
    ):
        return "does not name the bundle's files with bytes and sha256: export the bundle again"
    return None


def is_format(said: object, known: int) -> bool:
    """Whether a file's format is the one that is read here; JSON's ``true`` is no 1."""
    return type(said) is int and said == known


def _require_plain(folder: Path, name: str) -> None:
    """Refuse a name that is not that of a file of the very folder."""
    if name in ("", ".", "..", MANIFEST) or "/" in name or "\\" in name or "\0" in name:
        raise InputError(f"{folder / MANIFEST} names a file {name!r}: expected plain names of files beside it")


def _require_file(path: Path, size: int) -> None:
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(f"{path} is no ordinary file: export the bundle again")
    if not path.exists():
        raise InputError(f"{path} is missing: export the bundle again")
    size_now = path.stat().st_size
    if size_now != size:
        raise InputError(f"{path} was changed: {size_now:,} bytes, the manifest has {size:,}; export the bundle again")


def sha256_of(path: Path) -> str:
    """A file's SHA-256, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
