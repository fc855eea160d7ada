"""The account pages: the user's linked devices, with a button to unlink each."""

from datetime import UTC, datetime
from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from mock_issuer.flow.issuer import current_issuer
from mock_issuer.pages import sessions

blueprint = Blueprint("account", __name__, url_prefix="/account")
blueprint.before_request(sessions.check_csrf_token)


@blueprint.get("")
def enter() -> ResponseReturnValue:
    """Redirect to the devices, the only page of an account."""
    return redirect(url_for(".devices"))


@blueprint.get("/devices")
def devices() -> ResponseReturnValue:
    """Show the devices with a live refresh token, or the log-in page if nobody is logged in."""
    issuer, account = current_issuer(), sessions.logged_in_user()
    if account is None:
        return render_template("login.html", config=issuer.config, action=url_for(".log_in"))
    linked = [
        {
            "id": family.family_id,
            "app_name": client.name if (client := issuer.config.find_client(family.client_id)) else family.client_id,
            "address": family.address,
            "linked": datetime.fromtimestamp(family.linked_at, UTC),
            "used": datetime.fromtimestamp(family.used_at, UTC),
        }
        for family in reversed(issuer.state.find_families(account, now=issuer.clock()))
    ]
    unlinked = session.pop("unlinked", None)
    return render_template("devices.html", account=account, devices=linked, unlinked=unlinked)


@blueprint.post("/login")
def log_in() -> ResponseReturnValue:
    """Log in by password or by picking a test user."""
    if sessions.log_in() is not None:
        return redirect(url_for(".devices"), HTTPStatus.SEE_OTHER)
    config, username = current_issuer().config, request.form.get("username", "")
    page = render_template("login.html", config=config, action=url_for(".log_in"), username=username, failed=True)
    return page, HTTPStatus.BAD_REQUEST


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    """Log out."""
    sessions.log_out()
    return redirect(url_for(".devices"), HTTPStatus.SEE_OTHER)


@blueprint.post("/unlink")
def unlink() -> ResponseReturnValue:
    """Revoke a device's refresh tokens; its access tokens remain valid until they expire."""
    issuer, account = current_issuer(), sessions.logged_in_user()
    if account is not None:
        family = issuer.state.unlink(request.form.get("device", ""), account)
        if family is not None:
            client = issuer.config.find_client(family.client_id)
            session["unlinked"] = client.name if client else family.client_id
            issuer.log_event(
                "srrt",
                description="The user unlinked the device.",
                client_id=family.client_id,
                user_id=account.sub,
                user_name=account.name,
                ip=request.remote_addr or "",
            )
    return redirect(url_for(".devices"), HTTPStatus.SEE_OTHER)
