"""A person at the mock issuer's pages, without a browser: reads the forms and posts what they hold."""

from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import requests


class _Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action, self._open = values.get("action") or "", True
        elif tag == "input" and self._open and values.get("type") == "hidden":
            self.fields[values.get("name") or ""] = values.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


class Person:
    """Walks the activation pages; a context manager."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._url = ""
        self.page = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def visit(self, url: str) -> None:
        self._take(self._session.get(url, timeout=10))

    def submit(self, **fields: str) -> None:
        """Post the page's first form, filled in."""
        form = _Form(self.page)
        assert form.action is not None, self.page
        self._take(self._session.post(urljoin(self._url, form.action), data={**form.fields, **fields}, timeout=10))

    def _take(self, response: requests.Response) -> None:
        assert response.ok, f"{response.status_code} at {response.url}: {response.text}"
        self._url, self.page = response.url, response.text

    def approve(self, verification_uri: str, user_code: str, *, user: str = "alice") -> None:
        """Type the code, confirm it, log in, and allow what is asked."""
        self.visit(verification_uri)
        self.submit(user_code=user_code)
        assert user_code in self.page
        self.submit(answer="yes")
        self.submit(username=user, password=f"{user}-password")
        self.submit(answer="allow")
        assert "Your device" in self.page
