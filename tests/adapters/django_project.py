"""A Django project in this process, whose URLs each test chooses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test.utils import override_settings
from django.urls import URLPattern

from tests.adapters.servers import serving_asgi, serving_wsgi

# Once in a process, as Django wants it.
if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["127.0.0.1"], LOGGING_CONFIG=None, MIDDLEWARE=[], SECRET_KEY="for tests")
    django.setup()


@contextmanager
def serving_django(patterns: Sequence[URLPattern], *, is_async: bool) -> Iterator[str]:
    """Serve URL patterns over ASGI or WSGI; yield the origin. One at a time: the setting is the process's."""

    class Urls:
        urlpatterns: ClassVar[Sequence[URLPattern]] = patterns

    with override_settings(ROOT_URLCONF=Urls):
        serve = serving_asgi(ASGIHandler()) if is_async else serving_wsgi(WSGIHandler())
        with serve as origin:
            yield origin
