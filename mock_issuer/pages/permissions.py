"""What an app asks for, in words for the pages."""

from typing import TypedDict

from mock_issuer.config import OPENID_SCOPES
from mock_issuer.flow.issuer import Issuer
from mock_issuer.flow.records import Access


class Description(TypedDict):
    """The context of the consent page.

    Args:
        api_name: the name of the API.
        permissions: a text for each requested scope.
    """

    api_name: str
    permissions: list[str]


def describe(issuer: Issuer, access: Access) -> Description:
    """Return the requested access in words."""
    api = issuer.config.find_api(access.audience) or issuer.userinfo_api
    # The API's scopes come before those of OpenID Connect.
    descriptions = {**api.scopes, **OPENID_SCOPES}
    custom = {scope: f"See {scope}" for scope in access.scopes if scope not in descriptions}
    return Description(
        api_name=api.name,
        permissions=[text for scope, text in (descriptions | custom).items() if scope in access.scopes],
    )
