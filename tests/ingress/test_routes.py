import re
from typing import Any

from ingress.routes import ROUTES
from ingress.routing import Route
from schemas.access import KEY_SCOPES, ROLE_SCOPES, Role, Scope
from schemas.jobs import ATTEMPT_KINDS
from tests.ingress.conftest import Client

PUBLIC = {
    ("POST", "/register"),
    ("POST", "/login"),
    ("POST", "/token/refresh"),
    ("POST", "/me/password"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/problems"),
    ("GET", "/problems/{code}"),
}


def path_of(route: Route[Any]) -> str:
    """The route's path with something in its places."""
    return re.sub(r"\{\w+\}", "0198c0de-0000-7000-8000-000000000001", route.path)


def test_each_route_stands_once_and_says_what_it_answers() -> None:
    routes = [(route.method, route.path) for route in ROUTES]
    assert len(routes) == len(set(routes))
    assert all(route.answers for route in ROUTES)


async def test_what_is_not_public_takes_a_credential(stranger: Client) -> None:
    for route in ROUTES:
        if (route.method, route.path) not in PUBLIC:
            answer = await stranger.call(route.method, path_of(route))
            assert (route.path, answer.status, answer.code) == (route.path, 401, "unauthenticated")
        assert route.public == ((route.method, route.path) in PUBLIC)


async def test_what_a_role_may_not_do_is_forbidden(client: Client) -> None:
    for role in Role:
        await client.become(role)
        for route in ROUTES:
            if route.scope is not None and route.scope not in ROLE_SCOPES[role]:
                answer = await client.call(route.method, path_of(route))
                assert (role, route.path, answer.status, answer.code) == (role, route.path, 403, "forbidden")


async def test_what_a_key_may_not_do_is_forbidden_and_what_it_may_is_not(client: Client) -> None:
    for scope in sorted(KEY_SCOPES):
        key = await client.add_key(scope)
        for route in ROUTES:
            if route.scope is None:
                continue
            answer = await key.call(route.method, path_of(route))
            refused = (answer.status, answer.code) == (403, "forbidden")
            assert (scope, route.path, refused) == (scope, route.path, route.scope is not scope)


async def test_no_key_does_what_takes_a_person(client: Client) -> None:
    key = await client.add_key(*KEY_SCOPES)
    personal = [route for route in ROUTES if route.scope in {Scope.MEMBER, Scope.ADMIN}]
    assert len(personal) > 10
    for route in personal:
        answer = await key.call(route.method, path_of(route))
        assert (route.path, answer.status, answer.code) == (route.path, 403, "forbidden")


def test_who_may_do_what() -> None:
    assert ROLE_SCOPES[Role.ADMIN] == set(Scope)
    assert ROLE_SCOPES[Role.STAFF] == {
        *(Scope.MEMBER, Scope.FACES_READ, Scope.FACES_WRITE, Scope.PHOTOS_READ, Scope.SEARCH)
    }
    assert ROLE_SCOPES[Role.AUDITOR] == {Scope.MEMBER, Scope.FACES_READ, Scope.LOGS_READ}
    assert set(Scope) - KEY_SCOPES == {Scope.MEMBER, Scope.ADMIN}
    assert {(route.method, route.path): route.scope for route in ROUTES if route.scope is not None} == {
        ("POST", "/logout"): Scope.MEMBER,
        ("POST", "/me/password"): Scope.MEMBER,
        ("GET", "/company"): Scope.ADMIN,
        ("PATCH", "/company"): Scope.ADMIN,
        ("DELETE", "/company"): Scope.ADMIN,
        ("GET", "/members"): Scope.ADMIN,
        ("POST", "/members"): Scope.ADMIN,
        ("PATCH", "/members/{member_id}"): Scope.ADMIN,
        ("DELETE", "/members/{member_id}"): Scope.ADMIN,
        ("GET", "/api-keys"): Scope.ADMIN,
        ("POST", "/api-keys"): Scope.ADMIN,
        ("POST", "/api-keys/{key_id}/rotate"): Scope.ADMIN,
        ("DELETE", "/api-keys/{key_id}"): Scope.ADMIN,
        ("POST", "/face/enroll"): Scope.FACES_WRITE,
        ("POST", "/face/search"): Scope.SEARCH,
        ("POST", "/face/verify"): Scope.SEARCH,
        ("POST", "/face/detect"): Scope.SEARCH,
        ("GET", "/faces"): Scope.FACES_READ,
        ("GET", "/faces/{face_id}"): Scope.FACES_READ,
        ("GET", "/faces/{face_id}/image"): Scope.PHOTOS_READ,
        ("DELETE", "/faces/{face_id}"): Scope.FACES_WRITE,
        ("GET", "/users"): Scope.FACES_READ,
        ("GET", "/users/{user_id}"): Scope.FACES_READ,
        ("PATCH", "/users/{user_id}"): Scope.FACES_WRITE,
        ("DELETE", "/users/{user_id}"): Scope.FACES_WRITE,
        ("GET", "/logs"): Scope.LOGS_READ,
    }


def test_each_kind_of_attempt_has_its_route() -> None:
    assert {route.attempt for route in ROUTES if route.attempt is not None} == ATTEMPT_KINDS
