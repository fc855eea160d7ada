"""The issuer's endpoints: discovered from its metadata, or named by the user."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.util import parse_url

from device_app.http.transport import describe_failure, is_secure_url, is_temporary_failure
from device_app.model.errors import DeviceAppError, UnavailableError
from device_app.model.tokens import LoginRequest
from device_app.model.untrusted import json_object, plain_text

__all__ = ["Issuer", "discover", "resolve_issuer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authorization server and its endpoints (RFC 8414 §2, RFC 8628 §4).

    `dpop_algorithms` are those of the DPoP proofs that it accepts (RFC 9449 §5.1); None if it publishes no metadata.
    """

    identifier: str
    token_endpoint: str
    device_authorization_endpoint: str | None
    revocation_endpoint: str | None
    dpop_algorithms: frozenset[str] | None = None


def resolve_issuer(request: LoginRequest, http: requests.Session) -> Issuer:
    """Return the issuer of `request`: with the endpoints that the user named, or else with the discovered ones.

    Raises as `discover` does.
    """
    if request.token_endpoint is None:
        return discover(request.issuer, http)
    return Issuer(
        identifier=request.issuer,
        token_endpoint=request.token_endpoint,
        device_authorization_endpoint=request.device_authorization_endpoint,
        revocation_endpoint=request.revocation_endpoint,
    )


def discover(identifier: str, http: requests.Session) -> Issuer:
    """Fetch the metadata of the issuer `identifier`: OpenID Connect Discovery first, then RFC 8414 §3.

    Raises UnavailableError if the issuer cannot be reached or fails for now, DeviceAppError if it publishes no usable
    metadata or if the metadata names another issuer.
    """
    for url in _metadata_urls(identifier):
        metadata = _fetch_metadata(url, identifier, http)
        if metadata is not None:
            return _parse_metadata(identifier, metadata)
    raise DeviceAppError(
        f"{identifier} publishes no issuer metadata: is it the URL of an issuer? If the issuer publishes none, use "
        "--device-authorization-endpoint and --token-endpoint."
    )


def _metadata_urls(identifier: str) -> Iterator[str]:
    # OpenID Connect Discovery 1.0 §4: appended to the issuer.
    yield identifier.rstrip("/") + "/.well-known/openid-configuration"
    # RFC 8414 §3.1: inserted between the host and the issuer's path.
    url = parse_url(identifier)
    path = "/.well-known/oauth-authorization-server" + (url.path or "").rstrip("/")
    yield url._replace(path=path, query=None, fragment=None).url


def _fetch_metadata(url: str, identifier: str, http: requests.Session) -> dict[str, Any] | None:
    try:
        response = http.get(url, headers={"Accept": "application/json"})
    except requests.RequestException as exc:
        raise UnavailableError(f"The issuer {identifier} {describe_failure(exc)}.") from exc
    if is_temporary_failure(response):
        raise UnavailableError(
            f"The issuer {identifier} cannot answer now (status {response.status_code}). Try again later."
        )
    return json_object(response) if response.status_code == requests.codes.ok else None


def _parse_metadata(identifier: str, unverified_metadata: dict[str, Any]) -> Issuer:
    # RFC 8414 §3.3: must be identical. Otherwise a server could impersonate another issuer.
    unverified_issuer = unverified_metadata.get("issuer")
    if unverified_issuer != identifier:
        raise DeviceAppError(
            f"The metadata at {identifier} names another issuer, “{plain_text(unverified_issuer)}”. "
            "The two must be identical, including a final slash: is --issuer right?"
        )
    token_endpoint = _endpoint(unverified_metadata, "token_endpoint")
    if token_endpoint is None:
        raise DeviceAppError(f"The issuer {identifier} publishes no token endpoint.")
    return Issuer(
        identifier=identifier,
        token_endpoint=token_endpoint,
        device_authorization_endpoint=_endpoint(unverified_metadata, "device_authorization_endpoint"),
        revocation_endpoint=_endpoint(unverified_metadata, "revocation_endpoint"),
        dpop_algorithms=_strings(unverified_metadata.get("dpop_signing_alg_values_supported")),
    )


def _strings(unverified_list: object) -> frozenset[str]:
    values = unverified_list if isinstance(unverified_list, list) else []
    return frozenset(value for value in values if isinstance(value, str))


def _endpoint(unverified_metadata: dict[str, Any], name: str) -> str | None:
    unverified_url = unverified_metadata.get(name)
    if unverified_url is None:
        return None
    if not isinstance(unverified_url, str) or not is_secure_url(unverified_url):
        raise DeviceAppError(
            f"The {name} of the issuer is “{plain_text(unverified_url)}”: only https, or http on this machine, is "
            "allowed."
        )
    return unverified_url
