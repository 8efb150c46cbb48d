"""Every route of the API: the one table from which they are registered, guarded and described."""

from typing import Any, Final

from infra.broker import topics
from ingress.bodies import JsonBody, Nothing, Query
from ingress.describing import Media
from ingress.merge_patch import FieldsPatch, MergePatch
from ingress.photos import PhotoForm
from ingress.resources import (
    accounts,
    api_keys,
    company,
    docs,
    faces,
    health,
    jobs,
    logs,
    members,
    passwords,
    recognition,
    users,
)
from ingress.routing import Route
from schemas.access import Scope
from schemas.api.accounts import LoginRequest, RefreshRequest, RegisterAnswer, RegisterRequest, TokenAnswer
from schemas.api.api_keys import ApiKeyPage, ApiKeyRequest, ApiKeySecretAnswer, ApiKeysQuery, RotateRequest
from schemas.api.company import CloseQuery, CompanyAnswer
from schemas.api.jobs import JobAnswer, JobPage, JobQuery, JobsQuery
from schemas.api.logs import LogLine, LogPage, LogQuery
from schemas.api.members import (
    InviteRequest,
    MemberChangeRequest,
    MemberPage,
    MembersQuery,
    MemberTokenAnswer,
    PasswordRequest,
)
from schemas.api.people import (
    FaceAnswer,
    FacePage,
    FaceQuery,
    ImageQuery,
    UserAnswer,
    UserPage,
    UserPatch,
    UserQuery,
)
from schemas.api.photos import DetectRequest, EnrolRequest, SearchRequest, VerifyRequest
from schemas.api.service import HealthAnswer, ProblemPage, ProblemPages, ReadinessAnswer
from schemas.jobs import JobKind
from schemas.policies import CompanySettings
from schemas.results import DetectResult, EnrolResult, SearchResult, VerifyResult

ROUTES: Final[tuple[Route[Any], ...]] = (
    # Accounts.
    Route(
        "POST",
        "/register",
        accounts.register,
        accounts.Registration(RegisterRequest),
        {201: RegisterAnswer},
        public=True,
        idempotent=True,
        problems=("registration_closed", "email_taken"),
    ),
    Route(
        "POST",
        "/login",
        accounts.login,
        JsonBody(LoginRequest),
        {200: TokenAnswer},
        public=True,
        problems=("invalid_credentials",),
    ),
    Route(
        "POST",
        "/token/refresh",
        accounts.refresh,
        JsonBody(RefreshRequest),
        {200: TokenAnswer},
        public=True,
        problems=("invalid_token",),
    ),
    Route("POST", "/logout", accounts.logout, Nothing(), {204: None}, scope=Scope.MEMBER),
    Route(
        "POST",
        "/me/password",
        passwords.change,
        JsonBody(PasswordRequest),
        {204: None},
        scope=Scope.MEMBER,
        public=True,
        problems=("invalid_set_password_token", "wrong_password"),
    ),
    # The company and who works for it.
    Route("GET", "/company", company.show, Nothing(), {200: CompanyAnswer}, scope=Scope.ADMIN),
    Route(
        "PATCH",
        "/company",
        company.change,
        MergePatch(CompanySettings),
        {200: CompanyAnswer},
        scope=Scope.ADMIN,
    ),
    Route(
        "DELETE",
        "/company",
        company.close,
        Query(CloseQuery),
        {204: None},
        scope=Scope.ADMIN,
        problems=("not_found",),
    ),
    Route("GET", "/members", members.index, Query(MembersQuery), {200: MemberPage}, scope=Scope.ADMIN),
    Route(
        "POST",
        "/members",
        members.invite,
        JsonBody(InviteRequest),
        {201: MemberTokenAnswer},
        scope=Scope.ADMIN,
        idempotent=True,
        answers_secret=True,
        problems=("email_taken",),
    ),
    Route(
        "PATCH",
        "/members/{member_id}",
        members.change,
        JsonBody(MemberChangeRequest),
        {200: MemberTokenAnswer},
        scope=Scope.ADMIN,
        problems=("last_admin",),
    ),
    Route(
        "DELETE",
        "/members/{member_id}",
        members.remove,
        Nothing(),
        {204: None},
        scope=Scope.ADMIN,
        problems=("last_admin",),
    ),
    Route("GET", "/api-keys", api_keys.index, Query(ApiKeysQuery), {200: ApiKeyPage}, scope=Scope.ADMIN),
    Route(
        "POST",
        "/api-keys",
        api_keys.add,
        JsonBody(ApiKeyRequest),
        {201: ApiKeySecretAnswer},
        scope=Scope.ADMIN,
        idempotent=True,
        answers_secret=True,
    ),
    Route(
        "POST",
        "/api-keys/{key_id}/rotate",
        api_keys.rotate,
        JsonBody(RotateRequest),
        {200: ApiKeySecretAnswer},
        scope=Scope.ADMIN,
        idempotent=True,
        answers_secret=True,
        problems=("api_key_expired",),
    ),
    Route("DELETE", "/api-keys/{key_id}", api_keys.revoke, Nothing(), {204: None}, scope=Scope.ADMIN),
    # Recognition.
    Route(
        "POST",
        "/face/enroll",
        recognition.enroll,
        PhotoForm(EnrolRequest),
        {201: EnrolResult, 200: EnrolResult, 202: JobAnswer},
        scope=Scope.FACES_WRITE,
        attempt=JobKind.ENROLL,
        queue=topics.ENROLL,
        idempotent=True,
        problems=("not_found",),
    ),
    Route(
        "POST",
        "/face/search",
        recognition.search,
        PhotoForm(SearchRequest),
        {200: SearchResult, 202: JobAnswer},
        scope=Scope.SEARCH,
        attempt=JobKind.SEARCH,
        queue=topics.SEARCH,
        idempotent=True,
        problems=("invalid_threshold", "threshold_too_low"),
    ),
    Route(
        "POST",
        "/face/verify",
        recognition.verify,
        PhotoForm(VerifyRequest),
        {200: VerifyResult, 202: JobAnswer},
        scope=Scope.SEARCH,
        attempt=JobKind.VERIFY,
        queue=topics.SEARCH,
        idempotent=True,
        problems=("invalid_threshold", "threshold_too_low", "not_found"),
    ),
    Route(
        "POST",
        "/face/detect",
        recognition.detect,
        PhotoForm(DetectRequest),
        {200: DetectResult, 202: JobAnswer},
        scope=Scope.SEARCH,
        queue=topics.SEARCH,
        idempotent=True,
    ),
    # Who and what is enrolled.
    Route("GET", "/faces", faces.index, Query(FaceQuery), {200: FacePage}, scope=Scope.FACES_READ),
    Route("GET", "/faces/{face_id}", faces.show, Nothing(), {200: FaceAnswer}, scope=Scope.FACES_READ),
    Route(
        "DELETE",
        "/faces/{face_id}",
        faces.delete,
        Nothing(),
        {204: None, 202: JobAnswer},
        scope=Scope.FACES_WRITE,
    ),
    Route(
        "GET",
        "/faces/{face_id}/image",
        faces.image,
        Query(ImageQuery),
        {200: (Media("image/jpeg"), Media("image/png"))},
        scope=Scope.PHOTOS_READ,
    ),
    Route("GET", "/users", users.index, Query(UserQuery), {200: UserPage}, scope=Scope.FACES_READ),
    Route("GET", "/users/{user_id}", users.show, Nothing(), {200: UserAnswer}, scope=Scope.FACES_READ),
    Route(
        "PATCH",
        "/users/{user_id}",
        users.change,
        FieldsPatch(UserPatch),
        {200: UserAnswer, 202: JobAnswer},
        scope=Scope.FACES_WRITE,
    ),
    Route(
        "DELETE",
        "/users/{user_id}",
        users.erase,
        Nothing(),
        {204: None, 202: JobAnswer},
        scope=Scope.FACES_WRITE,
    ),
    # What happened.
    Route("GET", "/jobs", jobs.index, Query(JobsQuery), {200: JobPage}),
    Route("GET", "/jobs/{job_id}", jobs.show, Query(JobQuery), {200: JobAnswer}),
    Route(
        "GET",
        "/logs",
        logs.index,
        Query(LogQuery),
        {200: (LogPage, Media("text/csv"), Media("application/x-ndjson", LogLine))},
        scope=Scope.LOGS_READ,
        problems=("not_acceptable", "too_many_exports"),
    ),
    # The service itself.
    Route("GET", "/healthz", health.alive, Nothing(), {200: HealthAnswer}, public=True),
    Route(
        "GET", "/readyz", health.ready, Nothing(), {200: ReadinessAnswer, 503: ReadinessAnswer}, public=True
    ),
    Route(
        "GET",
        "/openapi.json",
        docs.openapi,
        Nothing(),
        {200: Media("application/json"), 304: None},
        public=True,
    ),
    Route("GET", "/docs", docs.docs, Nothing(), {200: Media("text/html"), 304: None}, public=True),
    Route(
        "GET",
        "/problems",
        docs.problems,
        Nothing(),
        {200: (ProblemPages, Media("text/html")), 304: None},
        public=True,
    ),
    Route(
        "GET",
        "/problems/{code}",
        docs.problem,
        Nothing(),
        {200: (ProblemPage, Media("text/html")), 304: None},
        public=True,
    ),
)
