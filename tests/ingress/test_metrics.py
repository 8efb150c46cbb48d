"""What the ingress counts, and that the API's own port tells nobody."""

from collections.abc import Callable
from typing import Any

from schemas.access import Scope
from tests.ingress.conftest import Client
from tests.ingress.worker import Worker


async def test_requests_are_counted_by_template_status_and_code(client: Client, worker: Worker) -> None:
    metrics = client.services.metrics
    worker.refuse_with = "no_face"
    assert (await client.search()).code == "no_face"
    assert (await client.search(b"GIF89a")).code == "unsupported_media_type"
    assert (await client.call("GET", "/users/ada")).status == 404
    assert (await client.call("GET", "/nothing/at/all")).status == 404

    def requests(method: str, route: str, status: str) -> float | None:
        return metrics.value("faceid_requests_total", method=method, route=route, status=status)

    assert requests("POST", "/face/search", "422") == 1
    assert requests("POST", "/face/search", "415") == 1
    assert requests("GET", "/users/{user_id}", "404") == 1
    assert requests("GET", "none", "404") == 1
    assert metrics.value("faceid_request_seconds_count", route="/face/search") == 2
    for code, times in {"no_face": 1, "unsupported_media_type": 1, "not_found": 2}.items():
        assert metrics.value("faceid_requests_refused_total", code=code) == times


async def test_what_a_client_makes_up_becomes_no_label(client: Client) -> None:
    assert (await client.http.request("PROPFIND", f"{client.base_url}/healthz")).status == 405
    text = client.services.metrics.text().decode()
    assert "PROPFIND" not in text
    assert 'method="other"' in text


async def test_nothing_that_names_somebody_is_told(client: Client, worker: Worker) -> None:
    key = await client.add_key(Scope.SEARCH)
    worker.recognise = "ada"
    await client.enrol("ada")
    found = await key.search(headers={"X-Correlation-ID": "a-call-of-ours"})
    assert found.body["matched"]
    await client.call("GET", "/users/ada")
    await client.call("GET", f"/jobs/{found.body['job_id']}")
    text = client.services.metrics.text().decode()
    names = ("ada", "a-call-of-ours", found.body["job_id"], str(client.company_id), "fid_", "example.org")
    assert [name for name in names if name in text] == []


async def test_the_port_of_the_api_tells_no_metrics(client: Client, calls_as: Callable[..., Any]) -> None:
    assert (await client.call("GET", "/metrics")).status == 404
    assert (await client.fresh().call("GET", "/metrics")).status == 404
