"""What becomes of a device request: approved, if the rules agree, or refused. For pages, scripts and tests alike."""

import json
from contextlib import suppress

from mock_issuer.config import Client, User
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access, DeviceGrant
from mock_issuer.rules import DEVICE_PROTOCOL, ExtraClaims, RuleContext, RuleDenied


def ask_rules(issuer: Issuer, user: User, client: Client, access: Access, protocol: str) -> ExtraClaims:
    """Ask all rules in turn, and return the claims that they add.

    Raises RuleDenied when one refuses, TypeError or ValueError when one adds what JSON does not have.
    """
    context = RuleContext(protocol=protocol, audience=access.audience, scopes=access.scopes)
    for rule in issuer.config.rules:
        rule(user, client, context)
    # A claim that no token can hold is the rule's mistake: told before anything is decided, and no code is lost by it.
    json.dumps([context.access_token, context.id_token], allow_nan=False)
    return ExtraClaims(access_token=context.access_token, id_token=context.id_token)


def approve(issuer: Issuer, grant: DeviceGrant, user: User, *, auth_time: int) -> bool:
    """Approve a pending request for a user; False when it is no longer pending.

    Raises RuleDenied when a rule refuses; the request is refused then.
    """
    client = issuer.config.find_client(grant.client_id)
    assert client is not None  # noqa: S101  # only known clients open requests, and the configuration is frozen
    try:
        claims = ask_rules(issuer, user, client, grant.access, DEVICE_PROTOCOL)
    except RuleDenied as exc:
        if deny(issuer, grant):
            _note(issuer, "fdeac", grant, user, f"A rule refused: {exc}")
        raise
    return issuer.state.approve(grant, user=user, auth_time=auth_time, claims=claims, now=issuer.clock())


def deny(issuer: Issuer, grant: DeviceGrant) -> bool:
    """Refuse a pending request; False when it is no longer pending."""
    return issuer.state.deny(grant, now=issuer.clock())


def cancel(issuer: Issuer, grant: DeviceGrant) -> bool:
    """Refuse a pending request because the device does not show its code; False when it is no longer pending."""
    cancelled = deny(issuer, grant)
    if cancelled:
        _note(issuer, "fdecc", grant, None, "The user did not confirm the device.")
    return cancelled


def refuse(issuer: Issuer, grant: DeviceGrant, user: User) -> bool:
    """Refuse a pending request because the user does not consent; False when it is no longer pending."""
    refused = deny(issuer, grant)
    if refused:
        _note(issuer, "fdeac", grant, user, "The user refused the request.")
    return refused


def follow_script(issuer: Issuer, grant: DeviceGrant) -> None:
    """Let happen what the script of a pending request says."""
    script = grant.script
    user = issuer.config.find_user(username=script.username) if script else None
    if script is None or user is None:
        return
    match script.outcome:
        case "approve":
            # A rule that refuses has been noted: the poll that follows tells the device.
            with suppress(RuleDenied):
                approve(issuer, grant, user, auth_time=int(issuer.clock()))
        case "deny":
            refuse(issuer, grant, user)
        case "expire":
            issuer.state.expire(grant, now=issuer.clock())


def _note(issuer: Issuer, code: str, grant: DeviceGrant, user: User | None, description: str) -> None:
    issuer.note(
        code,
        description=description,
        client_id=grant.client_id,
        ip=grant.address,
        user_id=user.sub if user else "",
        user_name=user.name if user else "",
        audience=grant.access.audience,
        scope=" ".join(grant.access.scopes),
    )
