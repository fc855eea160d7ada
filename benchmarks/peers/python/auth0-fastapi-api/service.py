"""Auth0's SDK for FastAPI; it asks its issuer over https alone."""

import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_plugin import Auth0FastAPI

app = FastAPI()
auth0 = Auth0FastAPI(
    domain=os.environ["ISSUER"].removeprefix("https://").removesuffix("/"), audience=os.environ["AUDIENCE"]
)


@app.get("/")
async def index(claims: Annotated[dict[str, Any], Depends(auth0.require_auth(scopes=os.environ["SCOPE"]))]) -> Any:
    """Answer who the token speaks for."""
    return {"sub": claims.get("sub")}
