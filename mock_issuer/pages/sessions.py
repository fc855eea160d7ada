"""Browser sessions in a signed cookie: the logged-in user and the CSRF token."""

import secrets
from http import HTTPStatus

from flask import abort, request, session

from mock_issuer.config import User
from mock_issuer.flow.issuer import current_issuer

_TOKEN_BYTES = 16


def check_csrf_token() -> None:
    """Answer 400 to a POST without the session's CSRF token (RFC 6749 §10.12). Start a session if there is none."""
    session.setdefault("id", secrets.token_urlsafe(_TOKEN_BYTES))
    expected = session.setdefault("csrf_token", secrets.token_urlsafe(_TOKEN_BYTES))
    unverified = request.form.get("csrf_token", "")
    if request.method == "POST" and not secrets.compare_digest(unverified.encode(), expected.encode()):
        abort(HTTPStatus.BAD_REQUEST)


def logged_in_user() -> User | None:
    """Return the logged-in user, None if nobody is logged in."""
    issuer = current_issuer()
    if session.get("epoch") != issuer.state.session_epoch:
        return None
    return issuer.config.find_user(sub=session["sub"])


def log_in(client_id: str = "") -> User | None:
    """Log in the user of the form, by password or by picking a test user; return None if that fails.

    `client_id` is the app that the user logs in for, for the event log.
    """
    issuer = current_issuer()
    picked = request.form.get("pick") if issuer.config.pick_user else None
    username = request.form.get("username", "").strip() if picked is None else picked
    user = issuer.config.find_user(username=username)
    password = request.form.get("password", "").encode()
    if user is None or (picked is None and not secrets.compare_digest(password, user.password.encode())):
        # An unknown user name is not logged: it may be a password typed into the wrong field.
        _log_event("fp" if user else "fu", user, client_id)
        return None
    session["sub"], session["auth_time"] = user.sub, int(issuer.clock())
    session["epoch"] = issuer.state.session_epoch
    # A new CSRF token: forms from before the log-in must fail after it.
    session["csrf_token"] = secrets.token_urlsafe(_TOKEN_BYTES)
    _log_event("s", user, client_id)
    return user


def log_out() -> None:
    """Log out the user, if any."""
    user = logged_in_user()
    session.pop("epoch", None)
    if user is not None:
        _log_event("slo", user)


def _log_event(code: str, user: User | None, client_id: str = "") -> None:
    current_issuer().log_event(
        code,
        user_id=user.sub if user else "",
        user_name=user.name if user else "",
        client_id=client_id,
        ip=request.remote_addr or "",
    )
