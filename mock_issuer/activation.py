"""The pages where a person lets a device in: code, confirmation, log-in, consent, outcome.

Every form carries the user code that its page showed, so that two tabs never answer for each other. The session (a
signed cookie) holds who is logged in, which codes this browser confirmed, and the CSRF token. GET decides nothing; it
counts wrong codes, or guessing would be free.
"""

import secrets
from http import HTTPStatus

from flask import Blueprint, abort, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from mock_issuer.config import OPENID_SCOPES, User
from mock_issuer.issuer import current_issuer
from mock_issuer.state import DeviceGrant
from mock_issuer.wrong_codes import TooManyWrongCodes

_TOKEN_BYTES = 16
# How many confirmed codes a session remembers: one for each tab that is open at the same time, and then some.
_CONFIRMED_CODES = 8
_LONGEST_SHOWN = 64
_SECONDS_A_MINUTE = 60

blueprint = Blueprint("activation", __name__, url_prefix="/activate")


class _UnknownCode(Exception):
    """No pending request has this user code: it is unknown, expired or used, which nobody is told apart."""


@blueprint.before_request
def protect_forms() -> None:
    """Refuse a form that this session was not given, with status 400."""
    session.setdefault("id", secrets.token_urlsafe(_TOKEN_BYTES))
    expected = session.setdefault("csrf_token", secrets.token_urlsafe(_TOKEN_BYTES))
    unverified = request.form.get("csrf_token", "")
    if request.method == "POST" and not secrets.compare_digest(unverified.encode(), expected.encode()):
        abort(HTTPStatus.BAD_REQUEST)


@blueprint.get("")
def enter() -> ResponseReturnValue:
    """Ask for the code, or, with one in the address (verification_uri_complete), for its confirmation."""
    if "user_code" not in request.args:
        return render_template("code.html", config=current_issuer().config)
    return _page("confirm.html", _find(request.args["user_code"]), account=_account())


@blueprint.post("")
def submit() -> ResponseReturnValue:
    """Take a typed code to its confirmation."""
    return redirect(url_for(".enter", user_code=_posted().user_code), HTTPStatus.SEE_OTHER)


@blueprint.post("/confirm")
def confirm() -> ResponseReturnValue:
    """Take the answer whether the device shows this code (RFC 8628 §3.3.1, §5.4)."""
    grant = _posted()
    if request.form.get("answer") != "yes":
        return _refuse(grant)
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
    issuer = current_issuer()
    user = _authenticated_user()
    if user is None:
        page = _page("login.html", grant, config=issuer.config, username=request.form.get("username", ""), failed=True)
        return page, HTTPStatus.BAD_REQUEST
    session["sub"], session["auth_time"] = user.sub, int(issuer.clock())
    # A form from before the log-in is not good after it.
    session["csrf_token"] = secrets.token_urlsafe(_TOKEN_BYTES)
    return _go_on(grant)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    """Leave the account, to go on with another one."""
    grant = _posted()
    session.pop("sub", None)
    return _go_on(grant)


@blueprint.get("/consent")
def ask_consent() -> ResponseReturnValue:
    """Ask whether the app may have what it asks for."""
    grant = _find(request.args.get("user_code", ""))
    account = _account()
    if account is None or not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code))
    return _page("consent.html", grant, account=account)


@blueprint.post("/consent")
def decide() -> ResponseReturnValue:
    """Take the decision."""
    grant = _posted()
    account = _account()
    if account is None or not _is_confirmed(grant):
        return redirect(url_for(".enter", user_code=grant.user_code), HTTPStatus.SEE_OTHER)
    return _approve(grant, account) if request.form.get("answer") == "allow" else _refuse(grant)


@blueprint.get("/done")
def done() -> ResponseReturnValue:
    """Tell how it ended."""
    outcome = session.get("outcome")
    if outcome is None:
        return redirect(url_for(".enter"))
    return render_template("done.html" if outcome["approved"] else "refused.html", app_name=outcome["app_name"])


@blueprint.errorhandler(_UnknownCode)
def ask_again(_: _UnknownCode) -> ResponseReturnValue:
    """Ask for the code again. What was typed is shown as text."""
    typed = request.values.get("user_code", "")[:_LONGEST_SHOWN]
    page = render_template("code.html", config=current_issuer().config, typed=typed, failed=True)
    return page, HTTPStatus.BAD_REQUEST


@blueprint.errorhandler(TooManyWrongCodes)
def slow_down(error: TooManyWrongCodes) -> ResponseReturnValue:
    """Turn a guesser away."""
    minutes = -(-error.retry_after_seconds // _SECONDS_A_MINUTE)
    page = render_template("too_many.html", minutes=minutes)
    return page, HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after_seconds)}


def _find(unverified_code: str) -> DeviceGrant:
    issuer = current_issuer()
    grant = issuer.state.look_up(
        unverified_code, session_id=session["id"], address=request.remote_addr or "", now=issuer.clock()
    )
    if grant is None:
        raise _UnknownCode
    return grant


def _posted() -> DeviceGrant:
    return _find(request.form.get("user_code", ""))


def _is_confirmed(grant: DeviceGrant) -> bool:
    return grant.user_code in session.get("confirmed", [])


def _account() -> User | None:
    return current_issuer().config.find_user(sub=session["sub"]) if "sub" in session else None


def _authenticated_user() -> User | None:
    config = current_issuer().config
    if config.pick_user and "pick" in request.form:
        return config.find_user(username=request.form["pick"])
    user = config.find_user(username=request.form.get("username", "").strip())
    password = request.form.get("password", "")
    return user if user and secrets.compare_digest(password.encode(), user.password.encode()) else None


def _go_on(grant: DeviceGrant) -> ResponseReturnValue:
    account = _account()
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
    issuer = current_issuer()
    approved = issuer.state.approve(grant, sub=account.sub, auth_time=session["auth_time"], now=issuer.clock())
    return _finish(grant, decided=approved, approved=True)


def _refuse(grant: DeviceGrant) -> ResponseReturnValue:
    issuer = current_issuer()
    return _finish(grant, decided=issuer.state.deny(grant, now=issuer.clock()), approved=False)


def _finish(grant: DeviceGrant, *, decided: bool, approved: bool) -> ResponseReturnValue:
    if not decided:
        raise _UnknownCode
    session["confirmed"] = [code for code in session.get("confirmed", []) if code != grant.user_code]
    session["outcome"] = {"app_name": _app_name(grant), "approved": approved}
    return redirect(url_for(".done"), HTTPStatus.SEE_OTHER)


def _app_name(grant: DeviceGrant) -> str:
    client = current_issuer().config.find_client(grant.client_id)
    return client.name if client else grant.client_id


def _page(template: str, grant: DeviceGrant, **context: object) -> str:
    issuer = current_issuer()
    api = issuer.config.find_api(grant.access.audience) or issuer.userinfo
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
