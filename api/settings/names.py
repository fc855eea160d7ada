"""The names of the settings, and which of them a variable with nearly the same name means."""

from collections.abc import Iterable

SETTING_NAMES = (
    "API_ISSUERS",
    "API_AUDIENCE",
    "API_JWKS_URL",
    "API_TOKEN_TYPES",
    "API_ISSUERS_FILE",
    "API_INTROSPECTION_CLIENT_ID",
    "API_INTROSPECTION_CLIENT_SECRET",
    "API_INTROSPECTION_CLIENT_SECRET_FILE",
    "API_INTROSPECTION_ENDPOINT",
    "API_INTROSPECTION_TOKENS",
    "API_MTLS",
    "API_MTLS_PROXIES",
    "API_MTLS_HEADER",
    "API_ALGORITHMS",
    "API_LEEWAY_SECONDS",
    "API_JWKS_STALE_SECONDS",
    "API_TOKEN_CACHE_SIZE",
    "API_DATABASE_URL",
    "API_REDIS_URL",
    "API_RATE_LIMIT",
    "API_CORS_ORIGINS",
    "API_SAMPLE_DATA",
    "API_LOG_LEVEL",
    "API_PUBLIC_URL",
    "API_DPOP",
    "API_DPOP_ALGORITHMS",
    "API_DPOP_WINDOW_SECONDS",
    "API_DPOP_NONCE_SECRET",
    "API_DPOP_NONCE_SECRET_FILE",
    "WEB_CONCURRENCY",
    "FORWARDED_ALLOW_IPS",
)
"""All settings but HOST and PORT: other programs have many variables with names that are nearly these."""


def mistyped_settings(variables: Iterable[str]) -> list[str]:
    """Return a sentence for each of the variables that is nearly a setting, and is none.

    Others are left alone, whatever they begin with: for a service `api`, Kubernetes sets `API_SERVICE_HOST`,
    `API_PORT_8000_TCP` and more.
    """
    mistakes = []
    for name in sorted(variables):
        if name in SETTING_NAMES or not (name.isascii() and name.isprintable()):
            continue
        meant = next((setting for setting in SETTING_NAMES if _is_nearly(name.upper(), setting)), None)
        if meant:
            mistakes.append(f"{name}: is not a setting; did you mean {meant}?")
    return mistakes


def _is_nearly(name: str, setting: str) -> bool:
    """Return whether there is at most one typing error in the whole name, underscores aside, or in each of its words.

    Two anywhere would be too many: API_REDIS_TTL is another program's, and two letters away from API_REDIS_URL.
    """
    if _is_typed_for(name.replace("_", ""), setting.replace("_", "")):
        return True
    typed_words, words = name.split("_"), setting.split("_")
    return len(typed_words) == len(words) and all(map(_is_typed_for, typed_words, words))


def _is_typed_for(typed: str, word: str) -> bool:
    """Return whether `typed` has at most one letter of `word` missing, wrong, too many, or swapped with the next."""
    if abs(len(typed) - len(word)) > 1:
        return False
    pairs = zip(typed, word, strict=False)
    same = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(typed), len(word)))
    typed, word = typed[same:], word[same:]
    is_swapped = typed[:2] == word[1::-1] and typed[2:] == word[2:]
    return typed[1:] == word[1:] or typed[1:] == word or typed == word[1:] or is_swapped
