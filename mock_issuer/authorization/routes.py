"""The authorization endpoint (RFC 6749 §3.1): log-in and consent by the pages of the device flow.

Each page has the whole request in its URL, which is checked again at each step; the session (a signed cookie) holds the
logged-in user, the CSRF token, and which request the user has just logged in for.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from mock_issuer.authorization.request import (
    AuthorizationRequest,
    RefusedRequest,
    UnusableRequest,
    encoded,
    read_authorization_request,
)
from mock_issuer.authorization.response import CONTENT_SECURITY_POLICY, code_response, refused_response
from mock_issuer.config import User
from mock_issuer.flow.decisions import run_rules
from mock_issuer.flow.issuer import current_issuer
from mock_issuer.pages import sessions
from mock_issuer.pages.permissions import describe
from mock_issuer.rules import CODE_PROTOCOL, RuleDenied

# The prompts that demand a log-in for this very request.
_LOGIN_PROMPTS = frozenset({"login", "select_account"})
_MAX_SHOWN_CHARS = 100
_MAX_DESCRIPTION_CHARS = 200

blueprint = Blueprint("authorization", __name__, url_prefix="/authorize")


@blueprint.before_request
def check_csrf_token() -> None:
    """Check the CSRF token of every form; a POST of the request itself is the client's, which has none."""
    if request.endpoint != "authorization.submit":
        sessions.check_csrf_token()


@blueprint.after_request
def allow_forms(response: Response) -> Response:
    """Let the forms of these pages end at the client."""
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    return response


@blueprint.get("")
def authorize() -> ResponseReturnValue:
    """Answer an authorization request, or ask the user first (RFC 6749 §4.1.1)."""
    return _next_step(_read())


@blueprint.post("")
def submit() -> ResponseReturnValue:
    """Redirect a posted request to the same in a URL (OpenID Connect Core §3.1.2.1).

    A POST from another site comes without the session cookie; the GET that follows has it.
    """
    if request.args:
        raise UnusableRequest("Its parameters must be in the body of a POST or in the query of a GET.")
    return _see_other(f"{url_for('.authorize')}?{encoded(request.form)}")


@blueprint.get("/login")
def log_in() -> ResponseReturnValue:
    """Show the log-in page."""
    asked = _read_interactive()
    return _login_page(asked, username=_hinted_name(asked.login_hint))


@blueprint.post("/login")
def authenticate() -> ResponseReturnValue:
    """Log in by password or by picking a test user."""
    asked = _read_interactive()
    if sessions.log_in(asked.code_request.client_id) is None:
        return _login_page(asked, username=request.form.get("username", ""), failed=True), HTTPStatus.BAD_REQUEST
    session["logged_in_for"] = asked.digest
    return _next_step(asked)


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    """Log out, to continue with another account."""
    asked = _read_interactive()
    sessions.log_out()
    return _next_step(asked)


@blueprint.get("/consent")
def ask_consent() -> ResponseReturnValue:
    """Ask for the user's consent to the requested scopes."""
    asked = _read_interactive()
    account = _account_for(asked)
    if account is None:
        return _next_step(asked)
    return _consent_page(asked, account)


@blueprint.post("/consent")
def decide() -> ResponseReturnValue:
    """Handle the user's decision on the consent page."""
    asked = _read_interactive()
    account = _account_for(asked)
    if account is None:
        return _next_step(asked)
    if request.form.get("answer") != "allow":
        session.pop("logged_in_for", None)
        raise RefusedRequest("access_denied", "The user refused the request.", asked.return_to)
    return _approve(asked, account)


@blueprint.errorhandler(UnusableRequest)
def show_unusable(error: UnusableRequest) -> ResponseReturnValue:
    """Answer 400 with a page: nothing may be sent to this redirect URI (RFC 6749 §4.1.2.1)."""
    current_issuer().log_event(
        "f", description=str(error), client_id=request.args.get("client_id", ""), ip=request.remote_addr or ""
    )
    status = HTTPStatus.BAD_REQUEST
    return render_template("error.html", status=status, reason=str(error)), status


@blueprint.errorhandler(RefusedRequest)
def refuse(error: RefusedRequest) -> ResponseReturnValue:
    """Send an error to the client's redirect URI (RFC 6749 §4.1.2.1)."""
    issuer, account = current_issuer(), sessions.logged_in_user()
    issuer.log_event(
        "fsa" if error.return_to.is_silent else "f",
        description=f"{error.error}: {error.description}",
        client_id=error.return_to.client.client_id,
        ip=request.remote_addr or "",
        user_id=account.sub if account else "",
        user_name=account.name if account else "",
        audience=request.args.get("audience", ""),
        scope=request.args.get("scope", ""),
    )
    return refused_response(issuer, error)


def _read() -> AuthorizationRequest:
    return read_authorization_request(request, current_issuer())


def _read_interactive() -> AuthorizationRequest:
    asked = _read()
    if asked.return_to.is_silent:
        # OpenID Connect Core §3.1.2.1: no page may be shown. Nothing leads here.
        raise RefusedRequest("interaction_required", "With prompt=none there are no pages.", asked.return_to)
    return asked


def _account_for(asked: AuthorizationRequest) -> User | None:
    # The logged-in user, unless the request wants another log-in (OpenID Connect Core §3.1.2.3).
    account = sessions.logged_in_user()
    if account is None or session.get("logged_in_for") == asked.digest:
        return account
    if asked.prompts & _LOGIN_PROMPTS:
        return None
    age_seconds = current_issuer().clock() - session["auth_time"]
    return None if asked.max_age_seconds is not None and age_seconds > asked.max_age_seconds else account


def _next_step(asked: AuthorizationRequest) -> ResponseReturnValue:
    account = _account_for(asked)
    if account is None:
        if asked.return_to.is_silent:
            raise RefusedRequest("login_required", "The user has to log in.", asked.return_to)
        return _redirect_within("log_in")
    has_consent = current_issuer().state.has_consent(account.sub, asked.code_request)
    if not has_consent and asked.return_to.is_silent:
        raise RefusedRequest("consent_required", "The user has to consent.", asked.return_to)
    if not has_consent or "consent" in asked.prompts:
        return _redirect_within("ask_consent")
    return _approve(asked, account)


def _approve(asked: AuthorizationRequest, account: User) -> ResponseReturnValue:
    issuer, code_request, return_to = current_issuer(), asked.code_request, asked.return_to
    session.pop("logged_in_for", None)
    try:
        claims = run_rules(issuer, account, return_to.client, code_request.access, CODE_PROTOCOL)
    except RuleDenied as exc:
        raise RefusedRequest("access_denied", _as_description(str(exc)), return_to) from exc
    code = issuer.state.issue_code(
        code_request, user=account, auth_time=session["auth_time"], claims=claims, now=issuer.clock()
    )
    if return_to.is_silent:
        issuer.log_event(
            "ssa",
            client_id=code_request.client_id,
            ip=request.remote_addr or "",
            user_id=account.sub,
            user_name=account.name,
            audience=code_request.access.audience,
            scope=" ".join(code_request.access.scopes),
        )
    return code_response(issuer, return_to, code)


def _login_page(asked: AuthorizationRequest, *, username: str, failed: bool = False) -> str:
    return render_template(
        "login.html",
        config=current_issuer().config,
        app_name=asked.return_to.client.name,
        action=_url_within("authenticate"),
        username=username[:_MAX_SHOWN_CHARS],
        failed=failed,
    )


def _consent_page(asked: AuthorizationRequest, account: User) -> str:
    parts = urlsplit(asked.return_to.redirect_uri)
    return render_template(
        "consent.html",
        app_name=asked.return_to.client.name,
        account=account,
        returns_to=f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:",
        consent_action=_url_within("decide"),
        action=_url_within("log_out"),
        **describe(current_issuer(), asked.code_request.access),
    )


def _hinted_name(login_hint: str) -> str:
    # Other issuers take an e-mail address as the hint, so libraries and samples send one.
    users = current_issuer().config.users
    return next((user.username for user in users if login_hint in {user.email, user.sub}), login_hint)


def _url_within(view: str) -> str:
    return f"{url_for(f'.{view}')}?{encoded(request.args)}"


def _redirect_within(view: str) -> Response:
    return _see_other(_url_within(view))


def _see_other(url: str) -> Response:
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": url})


def _as_description(text: str) -> str:
    # RFC 6749 §4.1.2.1: printable ASCII without quotation mark and backslash.
    kept = "".join(char if " " <= char <= "~" and char not in '"\\' else "?" for char in text)
    return kept[:_MAX_DESCRIPTION_CHARS] or "A rule refused the request."
