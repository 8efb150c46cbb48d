"""Who may call an operation, as the document says it."""

from typing import Any, Final

from ingress.routing import Route
from schemas.access import KEY_SCOPES, ROLE_SCOPES

SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "For people: the access token from `POST /login`.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "For machines: an API key, `fid_…`.",
    },
}


def security_of(route: Route[Any]) -> list[dict[str, list[str]]]:
    """Which credentials will do, and the scope that each must have; nothing for what is public, and none as
    one of the ways (`{}`) where a credential may be left out."""
    if route.public and route.scope is None:
        return []
    scopes = [str(route.scope)] if route.scope is not None else []
    none: list[dict[str, list[str]]] = [{}] if route.public else []
    return [*none, {"bearer": scopes}, *([{"key": scopes}] if _keys_may(route) else [])]


def who_may(route: Route[Any]) -> str:
    """The same in words."""
    if route.public and route.scope is None:
        return "Anyone may call this."
    if route.scope is None:
        return "Any credential will do."
    roles = [role for role, scopes in ROLE_SCOPES.items() if route.scope in scopes]
    if len(roles) == len(ROLE_SCOPES):
        members = "every member"
    else:
        members = f"members with the role {' or '.join(f'`{role}`' for role in roles)}"
    keys = ", and API keys that were given it" if _keys_may(route) else "; no API key has it"
    needed = "Takes no credential, or one with" if route.public else "Needs"
    return f"{needed} the scope `{route.scope}`: {members}{keys}."


def _keys_may(route: Route[Any]) -> bool:
    return route.scope is None or route.scope in KEY_SCOPES
