"""The issuer's addresses, found by discovery."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from urllib3.util import parse_url

from device_app.http.transport import describe_failure, is_overloaded, is_safe_address
from device_app.model.errors import DeviceAppError, UnavailableError
from device_app.model.tokens import LoginRequest
from device_app.model.untrusted import json_object, plain_text

__all__ = ["Issuer", "discover", "issuer_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authorization server and its endpoints (RFC 8414 §2, RFC 8628 §4)."""

    identifier: str
    token_endpoint: str
    device_authorization_endpoint: str | None
    revocation_endpoint: str | None


def issuer_of(request: LoginRequest, http: requests.Session) -> Issuer:
    """Return the issuer of a login: with the endpoints that the person named, or else with those it announces.

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
    """Read the metadata of the issuer called `identifier`: OpenID Connect Discovery first, then RFC 8414.

    Raises UnavailableError when the issuer does not answer or is overloaded, DeviceAppError when it announces nothing
    usable or calls itself something else.
    """
    for url in _metadata_addresses(identifier):
        metadata = _fetch(url, identifier, http)
        if metadata is not None:
            return _issuer(identifier, metadata)
    raise DeviceAppError(
        f"{identifier} announces no endpoints: is it the address of an issuer? One that announces none is named by "
        "--device-authorization-endpoint and --token-endpoint."
    )


def _metadata_addresses(identifier: str) -> Iterator[str]:
    # OpenID Connect Discovery 1.0 §4: appended to the issuer.
    yield identifier.rstrip("/") + "/.well-known/openid-configuration"
    # RFC 8414 §3.1: put between the host and the issuer's path.
    url = parse_url(identifier)
    path = "/.well-known/oauth-authorization-server" + (url.path or "").rstrip("/")
    yield url._replace(path=path, query=None, fragment=None).url


def _fetch(url: str, identifier: str, http: requests.Session) -> dict[str, Any] | None:
    try:
        response = http.get(url, headers={"Accept": "application/json"})
    except requests.RequestException as exc:
        raise UnavailableError(f"The issuer {identifier} {describe_failure(exc)}.") from exc
    if is_overloaded(response):
        raise UnavailableError(
            f"The issuer {identifier} cannot answer now (status {response.status_code}). Try again later."
        )
    return json_object(response) if response.status_code == requests.codes.ok else None


def _issuer(identifier: str, unverified_metadata: dict[str, Any]) -> Issuer:
    # RFC 8414 §3.3: identical, or the metadata must not be used. A server could otherwise pose as another one.
    announced = unverified_metadata.get("issuer")
    if announced != identifier:
        raise DeviceAppError(
            f"The issuer at {identifier} calls itself “{plain_text(announced)}”. "
            "The two must be the same, to the last slash: is --issuer right?"
        )
    token_endpoint = _endpoint(unverified_metadata, "token_endpoint")
    if token_endpoint is None:
        raise DeviceAppError(f"The issuer {identifier} announces no token endpoint.")
    return Issuer(
        identifier=identifier,
        token_endpoint=token_endpoint,
        device_authorization_endpoint=_endpoint(unverified_metadata, "device_authorization_endpoint"),
        revocation_endpoint=_endpoint(unverified_metadata, "revocation_endpoint"),
    )


def _endpoint(unverified_metadata: dict[str, Any], name: str) -> str | None:
    address = unverified_metadata.get(name)
    if address is None:
        return None
    if not isinstance(address, str) or not is_safe_address(address):
        raise DeviceAppError(
            f"The issuer announces “{plain_text(address)}” as its {name}: only https, or http on this machine, is used."
        )
    return address
