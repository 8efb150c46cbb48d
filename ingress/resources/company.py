"""The company: GET, PATCH and DELETE /company."""

from typing import Any, cast

from aiohttp import web
from pydantic import JsonValue

from ingress.answers import json_response
from ingress.calls import Call
from ingress.merge_patch import Patch
from ingress.validation import invalid_fields
from schemas.api.company import CloseQuery, CompanyAnswer, OperatingPointAnswer
from schemas.calibration import Calibration
from schemas.ids import PLATFORM
from schemas.policies import CompanyPolicies, CompanySettings
from schemas.problems import FieldError, ProblemError


async def show(call: Call, _: None) -> web.Response:
    """The company, its policies, and what they come to for those who are enrolled."""
    return json_response(await _answer(call))


async def change(call: Call, patch: Patch[CompanySettings]) -> web.Response:
    """Change the name or policies."""
    before, after = await call.services.companies.configure(call.company_id, patch.applied_to)
    if changes := _differences(
        before.policies.model_dump(mode="json"), after.policies.model_dump(mode="json")
    ):
        await call.audit("company.policies_changed", changes=changes)
    if before.company_name != after.company_name:
        await call.audit("company.renamed")
    return json_response(await _answer(call))


async def close(call: Call, query: CloseQuery) -> web.Response:
    """End the company for good: nothing of it can be read from now on, and it is cleared away."""
    company_id, services = call.company_id, call.services
    if query.confirm != company_id:
        raise invalid_fields([FieldError(field="confirm", message="is not this company's id")])
    await services.companies.close(company_id)
    # The company's own trail goes with it.
    await services.audit.record(
        PLATFORM,
        "company.deleted",
        actor=call.identity.credential,
        correlation_id=call.correlation_id,
        data={"company_id": str(company_id)},
    )
    services.closings.ring()
    return web.Response(status=204)


async def _answer(call: Call) -> CompanyAnswer:
    services, company_id = call.services, call.company_id
    company = await services.accounts.company(company_id)
    if company is None:
        raise ProblemError("not_found")
    faces = await services.faces.enrolled(company_id)
    users = await services.faces.users_enrolled(company_id)
    return CompanyAnswer(
        company_id=company_id,
        company_name=(await services.companies.settings(company_id, company)).company_name,
        created_at=company.created_at,
        paused_at=company.paused_at,
        model=company.model,
        policies=company.policies,
        users=users,
        faces=faces,
        operating_point=_operating_point(company.policies, services.calibration, users, faces),
    )


def _operating_point(
    policies: CompanyPolicies, calibration: Calibration, users: int, faces: int
) -> OperatingPointAnswer:
    """As `workers.searching` reckons it: over faces, since each is a chance of a false match."""
    comparisons = max(1, faces)
    point = policies.match.operating_point(calibration, comparisons)
    fpir = None if point.score is None else calibration.fpir(point.score, comparisons)
    return OperatingPointAnswer(
        faces=faces,
        users=users,
        threshold=round(point.percent, 3),
        score=point.score,
        threshold_source=point.source,
        fpir=fpir.value if fpir else 0,
        extrapolated=fpir.extrapolated if fpir else False,
        expected_miss_rate=1 if point.score is None else calibration.fnmr(point.score).value,
        duplicate_score=policies.duplicate.score_threshold(calibration, comparisons),
        same_user_score=policies.same_user.score_threshold(calibration),
    )


def _differences(before: dict[str, Any], after: dict[str, Any], path: str = "") -> dict[str, JsonValue]:
    """What differs, by path, each with its value before and after."""
    found: dict[str, JsonValue] = {}
    for name, value in after.items():
        former = before[name]
        if isinstance(value, dict):
            found |= _differences(former, cast(dict[str, Any], value), f"{path}{name}.")
        elif former != value:
            found[f"{path}{name}"] = {"before": former, "after": value}
    return found
