import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from mock_issuer import Config, Server
from tests.kit.needs import CHROMIUM
from tests.kit.npm_packages import installed
from tests.kit.processes import ROOT, free_port, running_api

VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
# Tests run at desktop width; those about layout run at phone width and check both.
ON_A_PHONE = pytest.mark.parametrize("viewport", ["phone"], indirect=True)
# No sandbox: root in a container has none. No background requests.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def viewport(request: pytest.FixtureRequest) -> Any:
    return VIEWPORTS[getattr(request, "param", "desktop")]


@pytest.fixture(scope="session")
def shared_issuer() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def issuer(shared_issuer: Server) -> Server:
    """Return an issuer in its initial state."""
    shared_issuer.reset()
    return shared_issuer


@pytest.fixture
def page(browser: Browser, viewport: Any, issuer: Server) -> Iterator[Page]:
    """Open a page of a new visitor; the test fails if a request leaves the issuer or a script fails."""
    with watched_page(browser, viewport, issuer.url) as page:
        yield page


@dataclass
class Stack:
    """An issuer that is polled each second, and the API, which allows its pages (CORS)."""

    issuer: Server
    api_url: str


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    port = free_port()
    with Server(Config(poll_interval_seconds=1, api_url=f"http://127.0.0.1:{port}")) as issuer:
        origin = issuer.url.rstrip("/")
        directory = tmp_path_factory.mktemp("api")
        dpop = {"API_DPOP": "optional", "API_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        with running_api(issuer.url, directory, port=port, API_CORS_ORIGINS=origin, **dpop) as api_url:
            yield Stack(issuer, api_url)


@pytest.fixture
def stack(shared_stack: Stack) -> Stack:
    """Return an issuer in its initial state, and the API."""
    shared_stack.issuer.reset()
    return shared_stack


@contextmanager
def watched_page(
    browser: Browser, viewport: Any, *origins: str, console: bool = False, **options: Any
) -> Iterator[Page]:
    """Open a page in a new context; fail if a request goes elsewhere than `origins` or a script fails.

    With `console`, fail on warnings and errors of the console too, except those of refused polls and refused tokens.
    """
    complaints: list[str] = []
    context = browser.new_context(viewport=viewport, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)

    def check_message(message: ConsoleMessage) -> None:
        # A browser logs each authorization_pending and each 401 as an error.
        is_refusal = any(path in str(message.location) for path in ("/oauth/token", "/v1/me"))
        if message.type in {"error", "warning"} and not is_refusal:
            complaints.append(message.text)

    def check_url(url: str) -> None:
        if not url.startswith((*origins, "data:", "blob:")):
            complaints.append(url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: check_url(sent.url))
    if console:
        page.on("console", check_message)
    yield page
    context.close()
    assert complaints == []


@dataclass(frozen=True)
class Axe:
    """The accessibility checker axe-core, for pages of a context with `bypass_csp`."""

    script: str

    def check(self, page: Page, where: str, within: str | None = None) -> None:
        """Check a page and its frames, or the element `within`, at both widths, in light and in dark colours."""
        for frame in page.frames:
            frame.evaluate(f"window.axe ?? eval({json.dumps(self.script)})")
        before: Any = page.viewport_size
        # A transition of colours must not be judged half-way, and the page's clock may stand still.
        page.emulate_media(reduced_motion="reduce")
        for name, viewport in VIEWPORTS.items():
            size: Any = viewport
            page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                violations = page.evaluate("within => axe.run(within ?? document)", within)["violations"]
                found = [(each["id"], [node["target"] for node in each["nodes"]]) for each in violations]
                assert found == [], (where, name, scheme)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(before)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Axe:
    folder = installed(ROOT / "tests" / "browser" / "axe", "axe", tmp_path_factory)
    return Axe(Path(folder, "node_modules", "axe-core", "axe.min.js").read_text(encoding="utf-8"))


def check_width(page: Page, where: str = "") -> None:
    """Check that the page needs no horizontal scrolling, neither on a desktop nor on a phone."""
    before: Any = page.viewport_size
    for name, viewport in VIEWPORTS.items():
        size: Any = viewport
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (name, where)
    page.set_viewport_size(before)
