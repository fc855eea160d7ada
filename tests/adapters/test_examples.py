"""The examples in the docstrings of adapters/ run."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent
from types import ModuleType
from typing import Annotated, Any

import grpc
import pytest
from authlib.integrations.flask_oauth2 import ResourceProtector
from django.http import HttpRequest, JsonResponse
from fastapi import Depends, FastAPI
from flask import Flask

from adapters import authlib_validator, django_decorator, fastapi_dependency, grpc_interceptor
from api.auth import AccessToken, AuthConfig, Requirement, TokenVerifier, TrustedIssuer
from tests.kit.signing import AUDIENCE, ISSUER

NAMES: dict[str, Any] = {
    "AccessToken": AccessToken,
    "Annotated": Annotated,
    "Depends": Depends,
    "FastAPI": FastAPI,
    "Flask": Flask,
    "HttpRequest": HttpRequest,
    "JsonResponse": JsonResponse,
    "Requirement": Requirement,
    "ResourceProtector": ResourceProtector,
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "TokenVerifier": TokenVerifier,
    "config": AuthConfig(issuers=(TrustedIssuer(identifier=ISSUER, audiences=(AUDIENCE,)),)),
    "grpc": grpc,
}


def example(module: ModuleType) -> Iterator[str]:
    """Yield the indented lines of a module's docstring."""
    for line in (inspect.getdoc(module) or "").splitlines():
        if line.startswith("    ") or not line:
            yield line


@pytest.mark.parametrize("module", [authlib_validator, django_decorator, fastapi_dependency, grpc_interceptor])
def test_the_example_of_the_docstring_runs(module: ModuleType) -> None:
    names = {**NAMES, **vars(module)}
    program = dedent("\n".join(example(module))).strip()
    assert len(program.splitlines()) >= 2
    exec(program, names)
