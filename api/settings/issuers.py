"""The trusted issuers, from variables or `API_ISSUERS_FILE`, and how a single one is asked about tokens."""

from typing import cast, get_args

from environs import Env
from marshmallow import ValidationError

from api.auth.config import DEFAULT_TOKEN_TYPES, ConfigError, TrustedIssuer
from api.auth.introspection import Introspection, Tokens
from api.settings.issuers_file import IssuersInFile, read_issuers_file, read_secret
from api.settings.values import check_url, one_of, read_list, unless_empty

# What API_ISSUERS_FILE says in place of these.
_SET_IN_FILE = ("API_ISSUERS", "API_AUDIENCE", "API_JWKS_URL", "API_TOKEN_TYPES")
_OF_INTROSPECTION = (
    "API_INTROSPECTION_CLIENT_SECRET",
    "API_INTROSPECTION_CLIENT_SECRET_FILE",
    "API_INTROSPECTION_ENDPOINT",
    "API_INTROSPECTION_TOKENS",
)


def read_issuers(env: Env) -> tuple[IssuersInFile, list[str]]:
    """Return the trusted issuers, of a file or of variables, and mistakes; those in single variables are kept in `env`.

    If there are any mistakes, the issuers may lack some.
    """
    path = env.str("API_ISSUERS_FILE", "")
    try:
        return (_issuers_of_file(env, path) if path else IssuersInFile(_issuers_of_variables(env))), []
    except ConfigError as exc:
        return IssuersInFile(), list(exc.mistakes)


def _issuers_of_file(env: Env, path: str) -> IssuersInFile:
    mistakes = [
        f"{name}: cannot be set together with API_ISSUERS_FILE; write it in the file, for each issuer."
        for name in (*_SET_IN_FILE, "API_INTROSPECTION_CLIENT_ID")
        if env.str(name, "")
    ]
    issuers = IssuersInFile()
    try:
        issuers = read_issuers_file(path)
    except ConfigError as exc:
        mistakes += [f"API_ISSUERS_FILE: {mistake}" for mistake in exc.mistakes]
    if mistakes:
        raise ConfigError(mistakes)
    return issuers


def _issuers_of_variables(env: Env) -> tuple[TrustedIssuer, ...]:
    identifiers = read_list(env, "API_ISSUERS", check_url)
    audiences = read_list(env, "API_AUDIENCE")
    jwks_url = env.str("API_JWKS_URL", "", validate=unless_empty(check_url)) or None
    token_types = read_list(env, "API_TOKEN_TYPES", default=DEFAULT_TOKEN_TYPES)
    if jwks_url and len(identifiers) > 1:
        raise ConfigError(
            ["API_JWKS_URL: can only be set with a single issuer; the keys of several are found by discovery."]
        )
    if not audiences or not token_types:
        return ()  # `env` has the mistake
    return tuple(
        TrustedIssuer(identifier=identifier, audiences=audiences, jwks_url=jwks_url, token_types=token_types)
        for identifier in identifiers
    )


def read_introspection(env: Env) -> tuple[tuple[Introspection, ...], list[str]]:
    """Return how the single issuer is asked about tokens, and mistakes; those in single variables are kept in `env`."""
    client_id = env.str("API_INTROSPECTION_CLIENT_ID", "")
    if not client_id:
        for name in _OF_INTROSPECTION:
            env.str(name, "", validate=unless_empty(_refuse_without_client_id))
        return (), []
    secret = _client_secret(env)
    endpoint = env.str("API_INTROSPECTION_ENDPOINT", "", validate=unless_empty(check_url)) or None
    is_choice = one_of(get_args(Tokens))
    tokens = cast("Tokens", env.str("API_INTROSPECTION_TOKENS", "opaque", validate=is_choice))
    if secret == "":
        return (), ["API_INTROSPECTION_CLIENT_SECRET: is required, or API_INTROSPECTION_CLIENT_SECRET_FILE."]
    try:
        one = Introspection(client_id=client_id, client_secret=secret or "", endpoint=endpoint, tokens=tokens)
    except ConfigError:  # `env` has the mistake
        return (), []
    return (one,), []


def _refuse_without_client_id(_value: str) -> None:
    raise ValidationError("has no effect without API_INTROSPECTION_CLIENT_ID, or with API_ISSUERS_FILE")


def _client_secret(env: Env) -> str | None:
    """Return the secret of a variable or of a file; "" if there is none, None for a mistake that is kept in `env`."""
    in_file: str | None = None

    def check_file(path: str) -> None:
        nonlocal in_file
        if env.str("API_INTROSPECTION_CLIENT_SECRET", ""):
            raise ValidationError("cannot be set together with API_INTROSPECTION_CLIENT_SECRET")
        try:
            in_file = read_secret(path)
        except ConfigError as exc:
            raise ValidationError(" ".join(exc.mistakes).removesuffix(".")) from exc

    if env.str("API_INTROSPECTION_CLIENT_SECRET_FILE", "", validate=unless_empty(check_file)) != "":
        return in_file
    return env.str("API_INTROSPECTION_CLIENT_SECRET", "")
