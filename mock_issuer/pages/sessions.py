"""A person's browser session: a signed cookie that says who is logged in and keeps forms from being forged."""

import secrets
from http import HTTPStatus

from flask import abort, request, session

from mock_issuer.config import User
from mock_issuer.flow.issuer import current_issuer

_TOKEN_BYTES = 16


def protect_forms() -> None:
    """Refuse a form that this session was not given, with status 400."""
    session.setdefault("id", secrets.token_urlsafe(_TOKEN_BYTES))
    expected = session.setdefault("csrf_token", secrets.token_urlsafe(_TOKEN_BYTES))
    unverified = request.form.get("csrf_token", "")
    if request.method == "POST" and not secrets.compare_digest(unverified.encode(), expected.encode()):
        abort(HTTPStatus.BAD_REQUEST)


def account() -> User | None:
    """Return who is logged in."""
    issuer = current_issuer()
    if session.get("epoch") != issuer.state.session_epoch:
        return None
    return issuer.config.find_user(sub=session["sub"])


def log_in(client_id: str = "") -> User | None:
    """Log in who the form says: a user name and a password, or a tester's pick. None where they are wrong."""
    issuer = current_issuer()
    picked = request.form.get("pick") if issuer.config.pick_user else None
    username = request.form.get("username", "").strip() if picked is None else picked
    user = issuer.config.find_user(username=username)
    password = request.form.get("password", "").encode()
    if user is None or (picked is None and not secrets.compare_digest(password, user.password.encode())):
        # What was typed as an unknown name is not noted: it may be a password in the wrong field.
        _note("fp" if user else "fu", user, client_id)
        return None
    session["sub"], session["auth_time"] = user.sub, int(issuer.clock())
    session["epoch"] = issuer.state.session_epoch
    # A form from before the log-in is not good after it.
    session["csrf_token"] = secrets.token_urlsafe(_TOKEN_BYTES)
    _note("s", user, client_id)
    return user


def log_out() -> None:
    """Leave the account."""
    user = account()
    session.pop("epoch", None)
    if user is not None:
        _note("slo", user)


def _note(code: str, user: User | None, client_id: str = "") -> None:
    current_issuer().log_event(
        code,
        user_id=user.sub if user else "",
        user_name=user.name if user else "",
        client_id=client_id,
        ip=request.remote_addr or "",
    )
