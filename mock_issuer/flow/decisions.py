"""The decisions on a device request: approve it unless a rule denies it, cancel it, deny it, or run its script."""

import json
from contextlib import suppress

from mock_issuer.config import Client, User
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access, DeviceGrant
from mock_issuer.rules import DEVICE_PROTOCOL, ExtraClaims, RuleContext, RuleDenied


def run_rules(issuer: Issuer, user: User, client: Client, access: Access, protocol: str) -> ExtraClaims:
    """Call every rule in order, and return the claims that they add.

    Raises RuleDenied if a rule denies the access, TypeError or ValueError if it adds a claim that JSON cannot hold, and
    whatever else a rule raises.
    """
    context = RuleContext(protocol=protocol, audience=access.audience, scopes=access.scopes)
    for rule in issuer.config.rules:
        rule(user, client, context)
    # Fails here, before the request is decided, and not when a token is signed and the device code is used up.
    json.dumps([context.access_token, context.id_token], allow_nan=False)
    return ExtraClaims(access_token=context.access_token, id_token=context.id_token)


def approve(issuer: Issuer, grant: DeviceGrant, user: User, *, auth_time: int) -> bool:
    """Approve a pending request for a user (RFC 8628 §3.3); return False if it is no longer pending.

    Args:
        issuer: the issuer that the request was sent to.
        grant: the request.
        user: who approves it.
        auth_time: when the user logged in, in seconds since the epoch.

    Raises RuleDenied if a rule denies the access; the request is denied then.
    """
    client = issuer.config.find_client(grant.client_id)
    assert client is not None  # noqa: S101  # only configured clients start requests, and the configuration is frozen
    try:
        claims = run_rules(issuer, user, client, grant.access, DEVICE_PROTOCOL)
    except RuleDenied as exc:
        if issuer.state.deny(grant, now=issuer.clock()):
            _log(issuer, "fdeac", grant, user, f"A rule refused: {exc}")
        raise
    return issuer.state.approve(grant, user=user, auth_time=auth_time, claims=claims, now=issuer.clock())


def cancel(issuer: Issuer, grant: DeviceGrant) -> bool:
    """Deny a pending request whose code the user's device does not show; return False if it is no longer pending."""
    cancelled = issuer.state.deny(grant, now=issuer.clock())
    if cancelled:
        _log(issuer, "fdecc", grant, None, "The user did not confirm the device.")
    return cancelled


def deny(issuer: Issuer, grant: DeviceGrant, user: User) -> bool:
    """Deny a pending request that the user does not consent to; return False if it is no longer pending."""
    denied = issuer.state.deny(grant, now=issuer.clock())
    if denied:
        _log(issuer, "fdeac", grant, user, "The user refused the request.")
    return denied


def apply_script(issuer: Issuer, grant: DeviceGrant) -> None:
    """Decide a pending request as its script says; do nothing without a script."""
    script = grant.script
    user = issuer.config.find_user(username=script.username) if script else None
    if script is None or user is None:
        return
    match script.outcome:
        case "approve":
            # `approve` has denied the request and logged it; the poll that follows answers `access_denied`.
            with suppress(RuleDenied):
                approve(issuer, grant, user, auth_time=int(issuer.clock()))
        case "deny":
            deny(issuer, grant, user)
        case "expire":
            issuer.state.expire(grant, now=issuer.clock())


def _log(issuer: Issuer, event: str, grant: DeviceGrant, user: User | None, description: str) -> None:
    issuer.log_event(
        event,
        description=description,
        client_id=grant.client_id,
        ip=grant.address,
        user_id=user.sub if user else "",
        user_name=user.name if user else "",
        audience=grant.access.audience,
        scope=" ".join(grant.access.scopes),
    )
