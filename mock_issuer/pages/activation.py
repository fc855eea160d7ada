"""The pages where a person lets a device in: code, confirmation, log-in, consent, outcome.

Every form carries the user code that its page showed, so that two tabs never answer for each other. The session (a
signed cookie) holds who is logged in, which codes this browser confirmed, and the CSRF token. GET decides nothing; it
counts wrong codes, or guessing would be free.
"""

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from mock_issuer.config import OPENID_SCOPES, User
from mock_issuer.flow import decisions
from mock_issuer.flow.issuer import current_issuer
from mock_issuer.flow.records import DeviceGrant
from mock_issuer.flow.wrong_codes import TooManyWrongCodes
from mock_issuer.pages import sessions
from mock_issuer.rules import RuleDenied

# How many confirmed codes a session remembers: one for each tab that is open at the same time, and then some.
_CONFIRMED_CODES = 8
_LONGEST_SHOWN = 64
_LONGEST_REASON = 200
_SECONDS_A_MINUTE = 60

blueprint = Blueprint("activation", __name__, url_prefix="/activate")
blueprint.before_request(sessions.protect_forms)


class _UnknownCode(Exception):
    """No pending request has this user code: it is unknown, expired or used, which nobody is told apart."""


@blueprint.get("")
def enter() -> ResponseReturnValue:
    """Ask for the code, or, with one in the address (verification_uri_complete), for its confirmation."""
    if "user_code" not in request.args:
        return render_template("code.html", config=current_issuer().config)
    return _page("confirm.html", _find(request.args["user_code"]), account=sessions.account())


@blueprint.post("")
def submit() -> ResponseReturnValue:
    """Take a typed code to its confirmation."""
    return redirect(url_for(".enter", user_code=_posted().user_code), HTTPStatus.SEE_OTHER)


@blueprint.post("/confirm")
def confirm() -> ResponseReturnValue:
    """Take the answer whether the device shows this code (RFC 8628 §3.3.1, §5.4)."""
    grant = _posted()
    if request.form.get("answer") != "yes":
        return _finish(grant, decided=decisions.cancel(current_issuer(), grant), approved=False)
    session["confirmed"] = [*session.get("confirmed", [])[1 - _CONFIRMED_CODES :], grant.user_code]
    return _go_on(grant)


@blueprint.get("/login")
def log_in() -> ResponseReturnValue:
    """Ask who the person is."""
    grant = _find(request.args.get("user_code", ""))
    if not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code))
    return _page("login.html", grant, config=current_issuer().config)


@blueprint.post("/login")
def authenticate() -> ResponseReturnValue:
    """Take a user name and password, or a tester's pick."""
    grant = _posted()
    if sessions.log_in(grant.client_id) is None:
        username = request.form.get("username", "")
        page = _page("login.html", grant, config=current_issuer().config, username=username, failed=True)
        return page, HTTPStatus.BAD_REQUEST
    return _go_on(grant)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    """Leave the account, to go on with another one."""
    grant = _posted()
    sessions.log_out()
    return _go_on(grant)


@blueprint.get("/consent")
def ask_consent() -> ResponseReturnValue:
    """Ask whether the app may have what it asks for."""
    grant = _find(request.args.get("user_code", ""))
    account = sessions.account()
    if account is None or not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code))
    return _page("consent.html", grant, account=account)


@blueprint.post("/consent")
def decide() -> ResponseReturnValue:
    """Take the decision."""
    grant = _posted()
    account = sessions.account()
    if account is None or not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code), HTTPStatus.SEE_OTHER)
    if request.form.get("answer") != "allow":
        return _finish(grant, decided=decisions.deny(current_issuer(), grant, account), approved=False)
    return _approve(grant, account)


@blueprint.get("/done")
def done() -> ResponseReturnValue:
    """Tell how it ended."""
    outcome = session.get("outcome")
    if outcome is None:
        return redirect(url_for(".enter"))
    return render_template("done.html" if outcome["approved"] else "refused.html", **outcome)


@blueprint.errorhandler(_UnknownCode)
def ask_again(_: _UnknownCode) -> ResponseReturnValue:
    """Ask for the code again. What was typed is shown as text."""
    _note_failure("No pending request has this user code.")
    typed = request.values.get("user_code", "")[:_LONGEST_SHOWN]
    page = render_template("code.html", config=current_issuer().config, typed=typed, failed=True)
    return page, HTTPStatus.BAD_REQUEST


@blueprint.errorhandler(TooManyWrongCodes)
def slow_down(error: TooManyWrongCodes) -> ResponseReturnValue:
    """Turn a guesser away."""
    _note_failure("Too many wrong user codes.")
    minutes = -(-error.retry_after_seconds // _SECONDS_A_MINUTE)
    page = render_template("too_many.html", minutes=minutes)
    return page, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after_seconds)}


def _find(unverified_code: str) -> DeviceGrant:
    issuer = current_issuer()
    grant = issuer.state.enter_user_code(
        unverified_code, session_id=session["id"], address=request.remote_addr or "", now=issuer.clock()
    )
    if grant is None:
        raise _UnknownCode
    return grant


def _posted() -> DeviceGrant:
    return _find(request.form.get("user_code", ""))


def _is_confirmed(grant: DeviceGrant) -> bool:
    return grant.user_code in session.get("confirmed", [])


def _go_on(grant: DeviceGrant) -> ResponseReturnValue:
    account = sessions.account()
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
        # It travels in the cookie, which browsers drop when it grows too long.
        reason = str(exc)[:_LONGEST_REASON] or "this account may not connect it."
        return _finish(grant, decided=True, approved=False, reason=reason)
    return _finish(grant, decided=approved, approved=True)


def _finish(grant: DeviceGrant, *, decided: bool, approved: bool, reason: str = "") -> ResponseReturnValue:
    if not decided:
        raise _UnknownCode
    session["confirmed"] = [code for code in session.get("confirmed", []) if code != grant.user_code]
    session["outcome"] = {"app_name": _app_name(grant), "approved": approved, "reason": reason}
    return redirect(url_for(".done"), HTTPStatus.SEE_OTHER)


def _note_failure(description: str) -> None:
    current_issuer().log_event("fdeac", description=description, ip=request.remote_addr or "")


def _app_name(grant: DeviceGrant) -> str:
    client = current_issuer().config.find_client(grant.client_id)
    return client.name if client else grant.client_id


def _page(template: str, grant: DeviceGrant, **context: object) -> str:
    issuer = current_issuer()
    api = issuer.config.find_api(grant.access.audience) or issuer.userinfo_api
    # The API's own first: they matter most to the person who decides.
    wording = {**api.scopes, **OPENID_SCOPES}
    return render_template(
        template,
        user_code=grant.user_code,
        app_name=_app_name(grant),
        api_name=api.name,
        permissions=[words for scope, words in wording.items() if scope in grant.access.scopes],
        address=grant.address,
        minutes_ago=int(issuer.clock() - grant.requested_at) // _SECONDS_A_MINUTE,
        **context,
    )
