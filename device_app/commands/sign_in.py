"""A login from the code to the stored tokens, on whatever screen there is."""

from pathlib import Path

import requests

from device_app.http.transport import harden
from device_app.login.device_flow import DeviceFlow
from device_app.login.issuer import issuer_of
from device_app.model.errors import CodeExpiredError
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
    """Have somebody approve `request`, store the tokens and return them.

    Offers a new code where one expires and somebody is there to want it. Raises DeviceAppError and its children.
    """
    # Found out now rather than after somebody has approved: whether the tokens can be kept.
    with store.locked():
        pass
    with harden(requests.Session(), ca_file) as http:
        issuer = issuer_of(request, http)
        flow = DeviceFlow(issuer=issuer, request=request, requirements=requirements, http=http, clock=clock)
        tokens = _approved_tokens(flow, screen)
    with store.locked():
        store.save(tokens)
    return tokens


def _approved_tokens(flow: DeviceFlow, screen: Screen) -> Tokens:
    while True:
        code = flow.request_code()
        try:
            with screen.waiting(code):
                return flow.wait(code, report=screen.report, sleep=screen.sleep)
        except CodeExpiredError:
            if not screen.wants_new_code():
                raise
