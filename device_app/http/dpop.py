"""Requests with proof of possession (RFC 9449), and the nonces that servers give out for it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import requests
from urllib3.util import parse_url

from device_app.http.headers import challenge_parameters
from device_app.model.proof_key import ProofKey
from device_app.model.times import Clock
from device_app.model.untrusted import json_object

__all__ = ["INVALID_PROOF", "ProvingClient"]

# RFC 9449 §5, §7.1
INVALID_PROOF: Final = "invalid_dpop_proof"
# RFC 9449 §8, §9
_NONCE_NEEDED: Final = "use_dpop_nonce"
# RFC 9449 §8.1, with a limit.
_NONCE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,1024}")


class ProvingClient:
    """Sends requests through `http`: with proofs if there is a key, and otherwise as they are.

    Remembers the newest nonce of each server, and sends a request once more if a server asks for its nonce.
    """

    def __init__(self, http: requests.Session, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._nonces: dict[str, str] = {}

    def send(
        self,
        method: str,
        url: str,
        *,
        key: ProofKey | None,
        headers: Mapping[str, str],
        access_token: str | None = None,
        **content: Any,
    ) -> requests.Response:
        """Return the response to a request.

        Args:
            method: its method.
            url: its address.
            key: signs the proof; None sends none.
            headers: its headers, without Authorization and DPoP.
            access_token: sent with the scheme DPoP if there is a key, else with Bearer; None sends none.
            content: the arguments `params`, `data` and `json` of requests.

        Raises requests.RequestException as requests does.
        """
        scheme = "Bearer" if key is None else "DPoP"
        authorization = {} if access_token is None else {"Authorization": f"{scheme} {access_token}"}
        # The address as requests sends it.
        address = requests.Request(method, url).prepare().url or url

        def send() -> requests.Response:
            proof = {} if key is None else {"DPoP": self._proof(method, address, key, access_token)}
            response = self._http.request(method, url, headers={**headers, **authorization, **proof}, **content)
            self._remember_nonce(address, response)
            return response

        response = send()
        return send() if key is not None and _asks_for_nonce(response) else response

    def _proof(self, method: str, address: str, key: ProofKey, access_token: str | None) -> str:
        nonce = self._nonces.get(_origin(address))
        return key.proof(method, address, now=self._clock.now(), access_token=access_token, nonce=nonce)

    def _remember_nonce(self, address: str, response: requests.Response) -> None:
        unverified_nonce = response.headers.get("DPoP-Nonce", "")
        if _NONCE.fullmatch(unverified_nonce):
            self._nonces[_origin(address)] = unverified_nonce


def _asks_for_nonce(response: requests.Response) -> bool:
    # RFC 9449 §8: an issuer answers 400 with JSON; §9: an API 401 with a challenge.
    if not _NONCE.fullmatch(response.headers.get("DPoP-Nonce", "")):
        return False
    if response.status_code == requests.codes.unauthorized:
        challenge = challenge_parameters(response.headers.get("WWW-Authenticate", ""), "dpop")
        return challenge.get("error") == _NONCE_NEEDED
    return (
        response.status_code == requests.codes.bad_request
        and (json_object(response) or {}).get("error") == _NONCE_NEEDED
    )


def _origin(address: str) -> str:
    # RFC 9449 §8.2: a nonce is for the server that gave it out.
    return parse_url(address)._replace(path=None, query=None, fragment=None).url
