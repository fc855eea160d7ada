"""Copies of the folder `auth/` in other services: make one, and compare one with the folder here.

A copy gets the file `copied_from.json`: the version that it was copied from, and the SHA-256 digest of each file.
"""

import ast
import contextlib
import difflib
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from api import auth

MANIFEST = "copied_from.json"
_CHANGELOG = "CHANGELOG.md"
_SOURCE = Path(auth.__file__).resolve().parent
# What every version of the folder has.
_ALWAYS_THERE = ("__init__.py", "claims.py", "config.py", "errors.py", "verifier.py")
# Copies without `__version__` were made before it was introduced.
_LAST_WITHOUT_VERSION = "0.1.0"


class CopyError(Exception):
    """A directory cannot be copied to or compared; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a copy differs from the folder here.

    `version` is the version that the copy was made from; None if it does not tell. `has_manifest` is whether it has the
    file `copied_from.json`, and `copied_from_here` whether that names the very files that are here. `changed`, `added`
    and `removed` are the names of the files that differ from those that were copied; without a manifest, from those
    here. `is_same` is whether the copy's files are those here. `changes` are the changelog's sections after `version`.
    """

    version: str | None
    has_manifest: bool
    copied_from_here: bool
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    is_same: bool
    changes: str

    @property
    def is_newer(self) -> bool:
        """Return whether the copy has a later version than the folder here."""
        return self.version is not None and _order(self.version) > _order(auth.__version__)

    @property
    def is_of_another_state(self) -> bool:
        """Return whether the copy has an earlier version, or was made from other files of the same version.

        Those of a development version may be older or newer.
        """
        if self.is_same or self.is_newer:
            return False
        return self.version != auth.__version__ or (self.has_manifest and not self.copied_from_here)

    @property
    def tells_edits(self) -> bool:
        """Return whether `changed`, `added` and `removed` are edits, rather than changes between versions.

        A development version does not tell which state of the files it means; a release does.
        """
        return self.has_manifest or (self.version == auth.__version__ and _order(auth.__version__)[1])


def copy_to(directory: Path) -> None:
    """Copy the folder to `directory`, which must be new or empty; its parent directory must exist.

    The copy appears under its name when it is complete: an error or a signal leaves no part of it there. Raises
    CopyError if the directory is not new or empty, and OSError.
    """
    target = directory.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CopyError(f"{shown(directory)} exists and is not empty. Give a new directory; nothing was copied.")
    if target == Path.cwd():
        raise CopyError("The current directory cannot be replaced. Give a new directory; nothing was copied.")
    if not target.parent.is_dir():
        raise CopyError(f"{shown(directory.parent)} is not a directory. Create it first; nothing was copied.")
    files = _files(_SOURCE)
    # Beside the target, so that both are on one file system.
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        for name, content in (*files.items(), (MANIFEST, _manifest(files))):
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def compare(directory: Path) -> Comparison:
    """Compare the copy in `directory` with the folder here. Runs none of the copy's code.

    Raises CopyError if there is no copy, and OSError.
    """
    if not directory.is_dir():
        raise CopyError(f"{shown(directory)} is not a directory.")
    if missing := [name for name in _ALWAYS_THERE if not (directory / name).is_file()]:
        raise CopyError(f"{shown(directory)} is not a copy of api/auth: it has no {missing[0]}.")
    here, there = _digests(_files(_SOURCE)), _digests(_files(directory))
    manifest = _read_manifest(directory)
    version, copied = manifest or (_version(directory), here)
    return Comparison(
        version=version,
        has_manifest=manifest is not None,
        copied_from_here=copied == here,
        changed=tuple(sorted(name for name in copied.keys() & there.keys() if copied[name] != there[name])),
        added=tuple(sorted(there.keys() - copied.keys())),
        removed=tuple(sorted(copied.keys() - there.keys())),
        is_same=here == there,
        changes=_changes_since(version or _LAST_WITHOUT_VERSION),
    )


def unified_diff(directory: Path) -> Iterator[str]:
    """Yield the lines of a unified diff from the folder here to the copy in `directory`."""
    here, there = _files(_SOURCE), _files(directory)
    for name in sorted(here.keys() | there.keys()):
        old_label = f"api/auth {auth.__version__}/{printable(name)}" if name in here else os.devnull
        new_label = shown(directory / name) if name in there else os.devnull
        old, new = _lines(here.get(name, b"")), _lines(there.get(name, b""))
        yield from difflib.unified_diff(old, new, old_label, new_label, lineterm="")


def shown(path: Path) -> str:
    """Return a path for a terminal: without control characters."""
    return printable(os.fspath(path))


def printable(name: str) -> str:
    """Return a file's name for a terminal: without control characters."""
    return name if name.isprintable() else ascii(name)


def _files(directory: Path) -> dict[str, bytes]:
    """Return the files of a folder by name, except hidden ones, compiled modules and the manifest.

    Line ends of Windows count as line ends: git can make them at a checkout.
    """
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        is_ours = not any(part.startswith(".") or part == "__pycache__" for part in name.parts)
        if is_ours and path.is_file() and name != Path(MANIFEST):
            files[name.as_posix()] = path.read_bytes().replace(b"\r\n", b"\n")
    return files


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _manifest(files: Mapping[str, bytes]) -> bytes:
    manifest = {"project": "device-api", "version": auth.__version__, "sha256": _digests(files)}
    return f"{json.dumps(manifest, indent=2)}\n".encode()


def _read_manifest(directory: Path) -> tuple[str, dict[str, str]] | None:
    """Return the version and the digests of a copy's manifest, or None without one. Raises CopyError if damaged."""
    path = directory / MANIFEST
    try:
        # A pipe would block its reader.
        manifest = json.loads(b"" if path.is_fifo() else path.read_bytes())
        version, digests = manifest["version"], manifest["sha256"]
        _order(version)
        if isinstance(digests, dict) and all(isinstance(digest, str) for digest in digests.values()):
            return version, digests
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise CopyError(f"{MANIFEST} of the copy is damaged. Restore it, or remove it to compare without it.")


def _version(directory: Path) -> str | None:
    """Return `__version__` of a copy, or None if its `__init__.py` does not have it. Does not run the code."""
    try:
        module = ast.parse((directory / "__init__.py").read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
        return None
    for node in module.body:
        match node:
            case ast.Assign(targets=[ast.Name("__version__")], value=ast.Constant(str(version))):
                with contextlib.suppress(ValueError):
                    _order(version)
                    return version
    return None


def _order(version: str) -> tuple[tuple[int, ...], bool]:
    """Return what versions are compared by: `0.2.0.dev0` is before `0.2.0`. Raises ValueError for anything else."""
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})*)(\.dev\d+)?", version)
    if parts is None:
        raise ValueError("not a version of this project")
    return tuple(map(int, parts[1].split("."))), parts[2] is None


def _changes_since(version: str) -> str:
    """Return the changelog's sections after `version`; for a development version, also the one that it belongs to."""
    text = (_SOURCE / _CHANGELOG).read_text(encoding="utf-8")
    _, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    newer = itertools.takewhile(lambda section: _order(section.split()[0]) > _order(version), sections)
    return "\n".join(f"## {section.rstrip()}\n" for section in newer)


def _lines(content: bytes) -> list[str]:
    """Return a file's lines for a terminal: without control characters."""
    lines = content.decode("utf-8", "replace").removesuffix("\n").split("\n") if content else []
    return ["".join(map(_printable_character, line)) for line in lines]


def _printable_character(character: str) -> str:
    return character if character.isprintable() or character == "\t" else "\N{REPLACEMENT CHARACTER}"
