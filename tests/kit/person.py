"""A user of the mock issuer's pages, without a browser: keeps cookies, and submits the pages' forms."""

from html.parser import HTMLParser
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import requests


class _Forms(HTMLParser):
    """The forms of a page: the action of each, and its hidden fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((found["action"], {}))
        elif tag == "input" and found.get("type") == "hidden":
            self.forms[-1][1][found["name"]] = found["value"]


class Person:
    """A user of the issuer at `url`; a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.page = requests.Response()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.session.close()

    def open(self, path: str, **query: str) -> requests.Response:
        self.page = self.session.get(urljoin(self.url, path), params=query, timeout=10)
        return self.page

    def send(self, index: int = 0, **values: str) -> requests.Response:
        """Submit a form of the current page."""
        action, hidden = _Forms(self.page.text).forms[index]
        self.page = self.session.post(urljoin(self.page.url, action), data=hidden | values, timeout=10)
        return self.page

    def hidden_fields(self, index: int = 0) -> dict[str, str]:
        """Return the hidden fields of a form of the current page."""
        return _Forms(self.page.text).forms[index][1]

    def log_in(self, name: str = "alice") -> requests.Response:
        return self.send(username=name, password=f"{name}-password")

    def approve(self, user_code: str, name: str = "alice", *, typed: bool = False) -> requests.Response:
        """Approve a device: enter the code, or open its link, and go through all pages that follow."""
        if typed:
            self.open("/activate")
            self.send(user_code=user_code)
            assert user_code in self.page.text
        else:
            self.open("/activate", user_code=user_code)
        self.send(answer="yes")
        if "/login" in self.page.url:
            self.log_in(name)
        if "/consent" in self.page.url:
            self.send(answer="allow")
        assert "Your device is connected" in self.page.text
        return self.page

    def refuse(self, user_code: str) -> requests.Response:
        self.open("/activate", user_code=user_code)
        return self.send(answer="no")
