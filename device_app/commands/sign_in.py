"""One complete login: request a code, show it, poll, and store the tokens."""

from pathlib import Path

import requests

from device_app.http.transport import secure_session
from device_app.login.device_flow import DeviceFlow
from device_app.login.issuer import resolve_issuer
from device_app.model.errors import CodeExpiredError
from device_app.model.proof_key import ProofKey
from device_app.model.step_up import AuthenticationRequirements
from device_app.model.times import Clock
from device_app.model.tokens import LoginRequest, Tokens
from device_app.storage.token_file import TokenStore
from device_app.terminal.screen import Screen

__all__ = ["sign_in"]


def sign_in(
    request: LoginRequest,
    requirements: AuthenticationRequirements,
    *,
    store: TokenStore,
    screen: Screen,
    clock: Clock,
    ca_file: Path | None,
) -> Tokens:
    """Log in with the device flow, store the tokens and return them.

    Requests another code if one expires and the user wants another. Raises DeviceAppError and its subclasses.
    """
    # Fails before the user approves a login that could not be stored.
    with store.locked():
        pass
    with secure_session(requests.Session(), ca_file) as http:
        issuer = resolve_issuer(request, http)
        key = ProofKey.generate() if request.dpop else None
        flow = DeviceFlow(issuer=issuer, request=request, requirements=requirements, http=http, clock=clock, key=key)
        tokens = _run_flow(flow, screen)
    with store.locked():
        store.save(tokens)
    return tokens


def _run_flow(flow: DeviceFlow, screen: Screen) -> Tokens:
    while True:
        code = flow.request_code()
        try:
            with screen.showing(code):
                return flow.poll(code, report=screen.report, sleep=screen.sleep)
        except CodeExpiredError:
            if not screen.wants_new_code():
                raise
