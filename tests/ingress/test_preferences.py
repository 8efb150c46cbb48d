import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from ingress.preferences import Preference


@pytest.mark.parametrize(
    ("headers", "wait_s", "applied"),
    [
        ([], 10, None),
        (["respond-async"], 0, "respond-async"),
        (["wait=5"], 5, "wait=5"),
        (['Wait = "5"'], 5, "wait=5"),
        (["wait=0"], 0, "wait=0"),
        (["wait=600"], 60, "wait=60"),
        (["wait=99999999999999999999"], 10, None),
        (["wait=-1"], 10, None),
        (["wait=1.5"], 10, None),
        (["wait"], 10, None),
        (["handling=lenient"], 10, None),
        (["respond-async, wait=5"], 5, "respond-async, wait=5"),
        (["respond-async", "wait=5; foo=bar"], 5, "respond-async, wait=5"),
        (["wait=5, wait=7"], 5, "wait=5"),
        ([",,;="], 10, None),
        (['note="a, wait=3", wait=5'], 5, "wait=5"),
        (["x" * 1024, "wait=5"], 10, None),
        (['wait="5'], 10, None),
        (['wait=""'], 10, None),
        (["respond-async; wait=5"], 0, "respond-async"),
        (["RESPOND-ASYNC"], 0, "respond-async"),
        (["wait=\u0665"], 10, None),
    ],
)
def test_what_a_client_prefers(headers: list[str], wait_s: float, applied: str | None) -> None:
    request = make_mocked_request("POST", "/", headers=CIMultiDict([("Prefer", value) for value in headers]))
    assert Preference.of(request, default_s=10, max_s=60) == Preference(wait_s, applied)
