"""`API_ISSUERS_FILE`: TOML file → trusted issuers. A table names a preset of `auth/issuers.py`, or has the rules.

Its table `introspection` says how to ask the issuer about tokens.
"""

import difflib
import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast, get_type_hints

from api.auth.config import AudienceClaim, ConfigError, TrustedIssuer
from api.auth.introspection import Introspection, Tokens
from api.auth.issuers import PRESETS, OneOrSeveral

_Made = TypeVar("_Made", TrustedIssuer, Introspection)

# What presets call by different names.
_SYNONYMS = (
    ("audience", "audiences", "client_id", "client_ids"),
    ("identifier", "issuer", "domain", "base_url"),
    ("tenant", "tenant_id", "environment_id", "realm", "user_pool"),
)
# Valid arguments of TrustedIssuer; a preset gets None, and tells the mistake, which was told before.
_STAND_INS: Mapping[str, Any] = {"identifier": "https://issuer.invalid/", "audiences": ("audience",)}
_INTROSPECTION = "introspection"


class IssuersInFile(NamedTuple):
    """Trusted issuers, and how those of them are asked about tokens that are."""

    issuers: tuple[TrustedIssuer, ...] = ()
    introspection: tuple[Introspection, ...] = ()


def read_issuers_file(path: str) -> IssuersInFile:
    """Return the issuers in the file, one for each table `[[issuer]]`.

    With `preset`, the table's other keys are the preset's arguments; without, they are the fields of `TrustedIssuer`.
    The table `introspection` in it has the fields of `Introspection`, with `client_secret_file` for the secret.

    Raises ConfigError with all mistakes, each in a sentence that is to follow the name of the setting.
    """
    tables = _tables(_document(path))
    issuers: list[TrustedIssuer] = []
    introspections: list[Introspection] = []
    mistakes: list[str] = []
    numbers: dict[str, int] = {}
    for number, table in enumerate(tables, 1):
        preset = table.get("preset")
        label = f"issuer {number} ({preset})" if isinstance(preset, str) else f"issuer {number}"
        try:
            issuer = _issuer({name: value for name, value in table.items() if name != _INTROSPECTION})
            if _INTROSPECTION in table:
                introspections.append(_introspection(table[_INTROSPECTION], issuer.identifier))
        except ConfigError as exc:
            mistakes += [f"{label}: {mistake}" for mistake in exc.mistakes]
            continue
        first = numbers.setdefault(issuer.identifier, number)
        if first != number:
            mistakes.append(f"{label}: has the identifier of issuer {first}, {issuer.identifier}.")
        issuers.append(issuer)
    if sum(one.tokens != "jwt" for one in introspections) > 1:
        mistakes.append('only one issuer can be asked about opaque tokens: for the others, set tokens = "jwt".')
    if mistakes:
        raise ConfigError(mistakes)
    return IssuersInFile(tuple(issuers), tuple(introspections))


def read_secret(path: str) -> str:
    """Return the secret in a file, without white space around it. Raises ConfigError if it cannot be read, or has none.

    The mistake is a sentence without anything of the file.
    """
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError([f"{path} cannot be read: {exc.strerror}."]) from exc
    except ValueError as exc:  # not UTF-8, or a path with NUL
        raise ConfigError([f"{path} is not UTF-8."]) from exc
    if not secret:
        raise ConfigError([f"{path} is empty."])
    return secret


def _document(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError([f"{path} cannot be read: {exc.strerror}."]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{path} is not UTF-8."]) from exc
    except RecursionError as exc:
        raise ConfigError([f"{path} is nested too deeply."]) from exc
    except ValueError as exc:  # TOMLDecodeError, or a path with NUL
        raise ConfigError([f"{path} is not TOML: {exc}."]) from exc


def _tables(document: dict[str, Any]) -> list[dict[str, Any]]:
    mistakes = [_unknown(name, ["issuer"]) for name in document if name != "issuer"]
    tables = document.get("issuer", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        mistakes.append("issuer must be a table for each issuer: write [[issuer]], with two brackets.")
    elif not tables and not mistakes:
        mistakes.append("has no issuer: write a table [[issuer]] for each.")
    if mistakes:
        raise ConfigError(mistakes)
    return list(tables)


def _issuer(table: Mapping[str, Any]) -> TrustedIssuer:
    arguments = {name: value for name, value in table.items() if name != "preset"}
    if "preset" not in table:
        return _call(TrustedIssuer, arguments, ["preset"])
    preset = table["preset"]
    if not isinstance(preset, str) or preset not in PRESETS:
        mistake = f"preset {preset!r} is not one of {', '.join(PRESETS)}.{_meant(preset, PRESETS)}"
        raise ConfigError([f"{mistake} The rest of this table was not checked."])
    return _call(PRESETS[preset], arguments, [])


def _introspection(table: Any, issuer: str) -> Introspection:
    if not isinstance(table, dict):
        raise ConfigError([f"{_INTROSPECTION} must be a table."])

    def introspection(
        client_id: str,
        client_secret_file: str | None,
        endpoint: str | None = None,
        tokens: str = "opaque",
        token_type_required: bool = True,  # noqa: FBT001, FBT002  # called with keywords
    ) -> Introspection:
        return Introspection(
            client_id=client_id,
            # None where it is missing, which was told before.
            client_secret="missing" if client_secret_file is None else read_secret(client_secret_file),
            issuer=issuer,
            endpoint=endpoint,
            tokens=cast("Tokens", tokens),
            token_type_required=token_type_required,
        )

    try:
        return _call(introspection, table, [])
    except ConfigError as exc:
        raise ConfigError([f"{_INTROSPECTION}: {mistake}" for mistake in exc.mistakes]) from exc


def _call(make: Callable[..., _Made], arguments: Mapping[str, Any], also_known: list[str]) -> _Made:
    """Return `make(**arguments)`. Raises ConfigError for keys that are missing, unknown, or of a wrong type."""
    parameters: Mapping[str, inspect.Parameter] = inspect.signature(make).parameters
    hints = get_type_hints(make)
    mistakes = [_unknown(name, [*parameters, *also_known]) for name in arguments if name not in parameters]
    values: dict[str, Any] = {}
    told: list[str] = []
    for name, parameter in parameters.items():
        if name in arguments and KINDS[hints[name]].fits(arguments[name]):
            values[name] = KINDS[hints[name]].read(arguments[name])
            continue
        is_required = parameter.default is parameter.empty
        if name in arguments:
            mistakes.append(f"{name} must be {KINDS[hints[name]].in_words}.")
        elif is_required:
            mistakes.append(f"{name} is required.")
        if is_required:
            # So that `make` tells the mistakes in the other arguments as well.
            values[name] = _STAND_INS.get(name)
            told.append(name)
    try:
        made = make(**values)
    except ConfigError as exc:
        own = (mistake.removeprefix(f"{make.__name__}: ") for mistake in exc.mistakes)
        mistakes += [mistake for mistake in own if mistake.partition(" ")[0] not in told]
    else:
        if not mistakes:
            return made
    raise ConfigError(mistakes)


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"{name!r} is not a key here.{_meant(name, known)}"


def _meant(word: object, known: Iterable[str]) -> str:
    """Return a question with the known word that is meant by an unknown one, or nothing."""
    names, unknown = list(known), str(word).lower()
    near = [name for group in _SYNONYMS if unknown in group for name in names if name in group]
    near = near or difflib.get_close_matches(unknown, names, n=1)
    for group in _SYNONYMS:
        if not near and difflib.get_close_matches(unknown, group, n=1):
            near = [name for name in names if name in group]
    # Of several synonyms the most similar one: by `audiences`, `audience` is meant rather than `client_ids`.
    nearest = difflib.get_close_matches(unknown, near, n=1, cutoff=0)
    return f" Is {nearest[0]} meant?" if nearest else ""


class _Kind(NamedTuple):
    """What a key's value must be, and how it becomes an argument."""

    in_words: str
    fits: Callable[[Any], bool]
    read: Callable[[Any], Any]


def _unchanged(value: Any) -> Any:
    return value


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_strings(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(map(_is_string, value)))


def _strings(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(group, list) and _is_strings(group) for group in value)


def _groups(value: list[list[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(tuple, value))


_STRING = _Kind("a string", _is_string, _unchanged)
_STRINGS = _Kind("a string, or a list of strings", _is_strings, _strings)
# By the annotation of a preset's argument or a field.
KINDS: Mapping[Any, _Kind] = {
    str: _STRING,
    str | None: _STRING,
    AudienceClaim: _STRING,
    bool: _Kind("true or false", _is_bool, _unchanged),
    OneOrSeveral: _STRINGS,
    tuple[str, ...]: _STRINGS,
    tuple[tuple[str, ...], ...]: _Kind("a list of lists of strings", _is_groups, _groups),
    Mapping[str, Any]: _Kind("a table", _is_table, _unchanged),
}
