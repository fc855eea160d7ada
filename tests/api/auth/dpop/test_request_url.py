import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.auth.dpop.request_url import normalised

URL = "https://api.example/v1/me"
# The same examples in every run, and none kept between runs.
same_each_time = settings(derandomize=True, database=None, deadline=None, max_examples=150)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        (URL, URL),
        ("HTTPS://API.Example/v1/me", URL),
        ("https://api.example:443/v1/me", URL),
        ("https://api.example:/v1/me", URL),
        ("https://api.example:0443/v1/me", URL),
        ("https://api.example/v1/me?a=b&c", URL),
        ("https://api.example/v1/me#a?b", URL),
        ("https://api.example/v1/me?", URL),
        ("https://api.example/a/../v1/./me", URL),
        ("https://api.example/../v1/me", URL),
        ("https://api.example/%76%31/me", URL),
        ("https://api.example", "https://api.example/"),
        ("https://api.example?a=b", "https://api.example/"),
        ("https://api.example/", "https://api.example/"),
        ("https://api.example/a/", "https://api.example/a/"),
        ("https://api.example/a/b/..", "https://api.example/a/"),
        ("https://api.example/a/b/.", "https://api.example/a/b/"),
        ("https://api.example/%2e%2E/a", "https://api.example/a"),
        ("https://api.example/a%2fb%c3%A4", "https://api.example/a%2Fb%C3%A4"),
        ("https://api.example/a%2Fb", "https://api.example/a%2Fb"),
        ("https://api.example//a//b", "https://api.example//a//b"),
        ("https://api.example/.a/b.", "https://api.example/.a/b."),
        ("https://api.example/A", "https://api.example/A"),
        ("https://api.example/a:b@c!$&'()*+,;=~-_", "https://api.example/a:b@c!$&'()*+,;=~-_"),
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:8000/a"),
        ("https://api.example:65535/a", "https://api.example:65535/a"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("http://API.example:443/", "http://api.example:443/"),
    ],
)
def test_the_normal_form(url: str, normal: str) -> None:
    assert normalised(url) == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v1/me",
        "api.example/v1/me",
        "//api.example/v1/me",
        "ftp://api.example/",
        "https:/api.example/",
        "https:///v1/me",
        "https://user@api.example/",
        "https://api.example@evil.example/",
        "https://api.example:x/",
        "https://api.example:123456/",
        "https://api.example\\@evil.example/",
        "https://ápi.example/",
        "http\u017f://api.example/",
        "https://api.example/ä",
        "https://api.example/a b",
        "https://api.example/a\n",
        "https://api.example/%",
        "https://api.example/%4",
        "https://api.example/%zz",
        "https://api.example/%\uff11\uff11",
        " https://api.example/",
        "https://[api.example/",
    ],
)
def test_what_has_no_normal_form(url: str) -> None:
    assert normalised(url) is None


_paths = st.lists(st.sampled_from(["a", "A", ".", "..", "", "%41", "%2f", "%2e", "a%", "b:c", "~", "\\", "ä"]))


@same_each_time
@given(_paths, st.sampled_from(["https", "HTTP"]), st.sampled_from(["", ":80", ":443", ":8443"]))
@example(["..", "..", ""], "https", "")
def test_the_normal_form_is_its_own_and_names_the_same_resource(segments: list[str], scheme: str, port: str) -> None:
    url = f"{scheme}://Host.example{port}/{'/'.join(segments)}"
    normal = normalised(url)
    if normal is None:
        assert not url.isascii() or re.search(r"%(?![0-9A-Fa-f]{2})", url)
        return
    assert normalised(normal) == normal
    before, after = urlsplit(url), urlsplit(normal)
    assert (after.scheme, after.hostname) == (scheme.lower(), "host.example")
    default = {"http": 80, "https": 443}[after.scheme]
    assert (after.port or default) == (before.port or default)
    # As Python's own resolution of references has it, which also drops dot segments (RFC 3986 §5.2.4).
    assert {".", ".."}.isdisjoint(after.path.split("/"))
    if {".", "..", "%2e"}.isdisjoint(segments):
        assert unquote(after.path) == unquote(before.path)


@same_each_time
@given(st.text(max_size=60))
def test_any_text_has_a_normal_form_or_none(text: str) -> None:
    normal = normalised(text)
    assert normal is None or normalised(normal) == normal
