"""The activation pages (RFC 8628 §3.3): code, confirmation, log-in, consent, result.

Every form sends the user code of its page, so that two tabs cannot act on each other's request. The session (a signed
cookie) holds the logged-in user, the codes that this browser entered and confirmed, and the CSRF token. GET changes no
request. Any web page can make a browser GET `verification_uri_complete`, so wrong codes there do not count as entered:
they have a limit of their own, beyond which a link shows the form with its code filled in.
"""

from http import HTTPStatus
from typing import Literal

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from mock_issuer.config import User
from mock_issuer.flow import decisions
from mock_issuer.flow.issuer import current_issuer
from mock_issuer.flow.records import DeviceGrant
from mock_issuer.flow.wrong_codes import TooManyWrongCodes, TooManyWrongLinks
from mock_issuer.pages import sessions
from mock_issuer.pages.permissions import describe
from mock_issuer.rules import RuleDenied

# How many entered and how many confirmed codes a session keeps; the cookie must stay small.
_MAX_KEPT_CODES = 8
_MAX_SHOWN_CHARS = 64
# Longer than the longest user code.
_MAX_QUOTED_CHARS = 40
_MAX_REASON_CHARS = 200
_SECONDS_PER_MINUTE = 60

blueprint = Blueprint("activation", __name__, url_prefix="/activate")
blueprint.before_request(sessions.check_csrf_token)


class _UnknownCode(Exception):
    """No pending request has this user code. Unknown, expired and used codes get the same answer."""


@blueprint.get("")
def enter() -> ResponseReturnValue:
    """Ask for the user code, or for its confirmation if the URL has it (RFC 8628 §3.3 and §3.3.1)."""
    if "user_code" not in request.args:
        return render_template("code.html", config=current_issuer().config)
    issuer, unverified_code = current_issuer(), request.args["user_code"]
    grant = _find_known("entered")
    if grant is None:
        try:
            grant = issuer.state.open_link(
                unverified_code, session_id=session["id"], address=request.remote_addr or "", now=issuer.clock()
            )
        except TooManyWrongLinks:
            return render_template("code.html", config=issuer.config, typed=unverified_code[:_MAX_SHOWN_CHARS])
    if grant is None:
        raise _UnknownCode
    return _page("confirm.html", grant, account=sessions.logged_in_user())


@blueprint.post("")
def submit() -> ResponseReturnValue:
    """Redirect a typed user code to its confirmation."""
    grant = _find_posted()
    _keep("entered", grant)
    return redirect(url_for(".enter", user_code=grant.user_code), HTTPStatus.SEE_OTHER)


@blueprint.post("/confirm")
def confirm() -> ResponseReturnValue:
    """Handle the answer to whether the device shows this code (RFC 8628 §3.3.1 and §5.4)."""
    grant = _find_posted()
    if request.form.get("answer") != "yes":
        return _finish(grant, decided=decisions.cancel(current_issuer(), grant), approved=False)
    _keep("confirmed", grant)
    return _next_page(grant)


@blueprint.get("/login")
def log_in() -> ResponseReturnValue:
    """Show the log-in page."""
    grant = _find_known("confirmed")
    if grant is None:
        return _redirect_to_confirmation()
    return _page("login.html", grant, config=current_issuer().config)


@blueprint.post("/login")
def authenticate() -> ResponseReturnValue:
    """Log in by password or by picking a test user."""
    grant = _find_posted()
    if sessions.log_in(grant.client_id) is None:
        username = request.form.get("username", "")
        page = _page("login.html", grant, config=current_issuer().config, username=username, failed=True)
        return page, HTTPStatus.BAD_REQUEST
    return _next_page(grant)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    """Log out, to continue with another account."""
    grant = _find_posted()
    sessions.log_out()
    return _next_page(grant)


@blueprint.get("/consent")
def ask_consent() -> ResponseReturnValue:
    """Ask for the user's consent to the requested scopes."""
    grant, account = _find_known("confirmed"), sessions.logged_in_user()
    if account is None or grant is None:
        return _redirect_to_confirmation()
    return _page("consent.html", grant, account=account)


@blueprint.post("/consent")
def decide() -> ResponseReturnValue:
    """Handle the user's decision on the consent page."""
    grant = _find_posted()
    account = sessions.logged_in_user()
    if account is None or not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code), HTTPStatus.SEE_OTHER)
    if request.form.get("answer") != "allow":
        return _finish(grant, decided=decisions.deny(current_issuer(), grant, account), approved=False)
    return _approve(grant, account)


@blueprint.get("/done")
def done() -> ResponseReturnValue:
    """Show the result."""
    outcome = session.get("outcome")
    if outcome is None:
        return redirect(url_for(".enter"))
    return render_template("done.html" if outcome["approved"] else "refused.html", **outcome)


@blueprint.errorhandler(_UnknownCode)
def reject_wrong_code(_: _UnknownCode) -> ResponseReturnValue:
    """Answer 400 with the code page, which quotes the typed code and has an empty field for another."""
    _log_failure("No pending request has this user code.")
    unverified_code = request.values.get("user_code", "").strip()
    is_long = len(unverified_code) > _MAX_QUOTED_CHARS
    quoted = f"{unverified_code[:_MAX_QUOTED_CHARS]}…" if is_long else unverified_code
    page = render_template("code.html", config=current_issuer().config, quoted=quoted, failed=True)
    return page, HTTPStatus.BAD_REQUEST


@blueprint.errorhandler(TooManyWrongCodes)
def reject_too_many_wrong_codes(error: TooManyWrongCodes) -> ResponseReturnValue:
    """Answer 429 after too many wrong user codes (RFC 8628 §5.1)."""
    _log_failure("Too many wrong user codes.")
    minutes = -(-error.retry_after_seconds // _SECONDS_PER_MINUTE)
    page = render_template("too_many.html", minutes=minutes)
    return page, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after_seconds)}


def _find_posted() -> DeviceGrant:
    issuer, unverified_code = current_issuer(), request.form.get("user_code", "")
    grant = issuer.state.enter_user_code(
        unverified_code, session_id=session["id"], address=request.remote_addr or "", now=issuer.clock()
    )
    if grant is None:
        raise _UnknownCode
    return grant


def _keep(name: Literal["entered", "confirmed"], grant: DeviceGrant) -> None:
    session[name] = [*session.get(name, [])[1 - _MAX_KEPT_CODES :], grant.user_code]


def _find_known(name: Literal["entered", "confirmed"]) -> DeviceGrant | None:
    # A code that this browser has entered or confirmed is no guess. Others are not looked up: that would tell who
    # guesses whether they exist.
    issuer, unverified_code = current_issuer(), request.args.get("user_code", "")
    if unverified_code not in session.get(name, []):
        return None
    grant = issuer.state.find_pending(unverified_code, now=issuer.clock())
    if grant is None:
        raise _UnknownCode
    return grant


def _redirect_to_confirmation() -> ResponseReturnValue:
    return redirect(url_for(".enter", user_code=request.args.get("user_code", "")))


def _is_confirmed(grant: DeviceGrant) -> bool:
    return grant.user_code in session.get("confirmed", [])


def _next_page(grant: DeviceGrant) -> ResponseReturnValue:
    account = sessions.logged_in_user()
    if not _is_confirmed(grant):
        page = ".enter"
    elif account is None:
        page = ".log_in"
    elif current_issuer().state.has_consent(account.sub, grant):
        return _approve(grant, account)
    else:
        page = ".ask_consent"
    return redirect(url_for(page, user_code=grant.user_code), HTTPStatus.SEE_OTHER)


def _approve(grant: DeviceGrant, account: User) -> ResponseReturnValue:
    try:
        approved = decisions.approve(current_issuer(), grant, account, auth_time=session["auth_time"])
    except RuleDenied as exc:
        # The reason is kept in the session cookie, which browsers drop above 4 KiB.
        reason = str(exc)[:_MAX_REASON_CHARS] or "this account may not connect it."
        return _finish(grant, decided=True, approved=False, reason=reason)
    return _finish(grant, decided=approved, approved=True)


def _finish(grant: DeviceGrant, *, decided: bool, approved: bool, reason: str = "") -> ResponseReturnValue:
    if not decided:
        raise _UnknownCode
    session["confirmed"] = [code for code in session.get("confirmed", []) if code != grant.user_code]
    session["outcome"] = {"app_name": _app_name(grant), "approved": approved, "reason": reason}
    return redirect(url_for(".done"), HTTPStatus.SEE_OTHER)


def _log_failure(description: str) -> None:
    current_issuer().log_event("fdeac", description=description, ip=request.remote_addr or "")


def _app_name(grant: DeviceGrant) -> str:
    client = current_issuer().config.find_client(grant.client_id)
    return client.name if client else grant.client_id


def _page(template: str, grant: DeviceGrant, **context: object) -> str:
    issuer = current_issuer()
    return render_template(
        template,
        user_code=grant.user_code,
        app_name=_app_name(grant),
        address=grant.address,
        minutes_ago=int(issuer.clock() - grant.requested_at) // _SECONDS_PER_MINUTE,
        **describe(issuer, grant.access),
        **context,
    )
