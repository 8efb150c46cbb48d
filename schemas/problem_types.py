"""Everything that can go wrong for a client: one table of codes."""

# long because: it is one table, and nothing else.

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ProblemType:
    """A kind of problem: its stable code, HTTP status, title, and what the reader can do about it."""

    code: str
    status: int
    title: str
    remedy: str


_TYPES: Final = (
    # The request itself.
    ProblemType(
        "invalid_request",
        422,
        "A field is missing or wrong",
        "`errors` names the fields: put them right and send again.",
    ),
    ProblemType(
        "malformed_body",
        400,
        "The body cannot be read",
        "Send valid JSON, or multipart/form-data with a correct boundary.",
    ),
    ProblemType(
        "unsupported_content_type",
        415,
        "This content type is not accepted",
        "Send application/json or multipart/form-data.",
    ),
    ProblemType(
        "not_acceptable",
        406,
        "There is no such format of this",
        "Send an Accept header with one of the types that the detail names, or none.",
    ),
    ProblemType("body_too_large", 413, "The body is too large", "Send less; the limit is in the detail."),
    ProblemType(
        "invalid_threshold",
        422,
        "The threshold is not a percentage",
        "Send 85, 85% or 0.85; 1, negatives and words are ambiguous.",
    ),
    ProblemType(
        "threshold_too_low",
        403,
        "The threshold is looser than the company's",
        "Ask for the company's threshold or more; less takes the scope `search:investigate`.",
    ),
    ProblemType(
        "invalid_cursor",
        400,
        "The cursor is not one of ours",
        "Start again without a cursor. One goes on only with the filters that it came with.",
    ),
    ProblemType(
        "invalid_correlation_id",
        400,
        "The correlation id is not acceptable",
        "Send 1 to 128 visible ASCII characters, or leave it out.",
    ),
    ProblemType(
        "invalid_idempotency_key",
        400,
        "The idempotency key is not acceptable",
        "Send one of 1 to 255 visible ASCII characters, a random UUID for instance, or leave it out.",
    ),
    ProblemType(
        "idempotency_key_reused",
        422,
        "This idempotency key came with another request",
        "Take a new key for every new request; repeat a key only with the same fields.",
    ),
    ProblemType(
        "idempotency_in_progress",
        409,
        "The first request with this idempotency key is still running",
        "Send it again after as many seconds as Retry-After says, or ask after the job in `job_id`.",
    ),
    ProblemType(
        "secret_already_shown",
        409,
        "The secret that this request made was shown before",
        "It is shown once. If it is lost, replace it: what it belongs to has the id in `id`.",
    ),
    ProblemType(
        "not_found",
        404,
        "There is nothing here",
        "Check path and id; what it names may have been deleted, or belong to another company.",
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "This path does not take this method",
        "Use one that the Allow header names.",
    ),
    ProblemType(
        "malformed_request",
        400,
        "This is not a valid HTTP request",
        "Check the request line and the headers.",
    ),
    ProblemType(
        "request_timeout", 408, "The request came too slowly", "Send it again over a faster connection."
    ),
    # Who is asking.
    ProblemType(
        "unauthenticated",
        401,
        "No credential was sent",
        "Send Authorization: Bearer with the token from POST /login, or an API key as X-API-Key.",
    ),
    ProblemType(
        "ambiguous_credentials",
        400,
        "More than one credential was sent",
        "Send Authorization or X-API-Key, one of them and once.",
    ),
    ProblemType(
        "invalid_api_key",
        401,
        "The API key is not valid",
        "Check it; it may have expired, been revoked, or been rotated. An admin can make a new one.",
    ),
    ProblemType("invalid_token", 401, "The token is not valid", "Log in again."),
    ProblemType(
        "token_expired",
        401,
        "The token has expired",
        "Exchange the refresh token at POST /token/refresh, or log in again.",
    ),
    ProblemType(
        "invalid_credentials",
        401,
        "E-mail and password do not match",
        "Check both; an admin can reset a password that is lost.",
    ),
    ProblemType(
        "forbidden",
        403,
        "This credential may not do that",
        "Use a credential that may; the detail says what that takes.",
    ),
    ProblemType(
        "invalid_set_password_token",
        400,
        "The set-password token is not valid",
        "It works once and expires: an admin can reset the password, which gives a new one.",
    ),
    ProblemType(
        "wrong_password",
        403,
        "The current password is wrong",
        "Check it; an admin can reset a password that is lost.",
    ),
    ProblemType(
        "last_admin",
        409,
        "The company would be left without an admin",
        "Make somebody else an admin first; one who has set a password counts.",
    ),
    ProblemType(
        "api_key_expired",
        409,
        "The API key has expired",
        "A new secret for it would not work: make a new key.",
    ),
    ProblemType(
        "registration_closed",
        403,
        "Registration is closed",
        "Ask the operator of this server for an account.",
    ),
    ProblemType("email_taken", 409, "This e-mail address has an account", "Log in, or use another address."),
    # The photo.
    ProblemType(
        "unsupported_media_type",
        415,
        "The photo is not a JPEG or PNG",
        "Send a JPEG or PNG; its bytes decide, not its name.",
    ),
    ProblemType(
        "corrupt_image",
        422,
        "The photo cannot be decoded",
        "The file is damaged or cut off: export it again.",
    ),
    ProblemType(
        "image_too_large",
        413,
        "The photo has too many bytes",
        "Send a smaller file; the limit is in the detail.",
    ),
    ProblemType(
        "image_dimensions",
        422,
        "The photo has too many or too few pixels",
        "Resize it; the limits are in the detail.",
    ),
    ProblemType(
        "image_too_costly",
        422,
        "Opening the photo takes too much time or memory",
        "Save it again as a plain JPEG, of fewer pixels.",
    ),
    ProblemType("no_face", 422, "No face was found", "Face the camera, closer and in better light."),
    ProblemType(
        "multiple_faces", 422, "More than one face is prominent", "Enrol with a photo of one person."
    ),
    ProblemType(
        "face_too_small", 422, "The face is too small", "Come closer, or send a photo of more pixels."
    ),
    ProblemType(
        "low_detection_confidence",
        422,
        "It is not certain that this is a face",
        "Uncover the face and improve the light.",
    ),
    ProblemType(
        "extreme_pose", 422, "The head is turned or tilted too far", "Look straight into the camera."
    ),
    ProblemType("low_sharpness", 422, "The face is blurred", "Hold still, clean the lens, or focus."),
    ProblemType("low_brightness", 422, "The face is too dark", "Add light in front of the face."),
    ProblemType(
        "overexposed", 422, "The face is too bright", "Take away the light that shines into the face."
    ),
    ProblemType(
        "too_many_faces",
        422,
        "The photo has more faces than one search takes",
        "Search for the others with photos of fewer people.",
    ),
    ProblemType(
        "low_template_quality",
        422,
        "The face does not show who it is",
        "Show the whole face, uncovered and from the front.",
    ),
    # The person.
    ProblemType(
        "duplicate_face",
        409,
        "This face is enrolled as somebody else",
        "If they are two people (twins), ask an admin; else use the other id.",
    ),
    ProblemType(
        "face_mismatch",
        409,
        "This user's other faces are somebody else's",
        "Check the user id, or delete the wrong faces first.",
    ),
    ProblemType(
        "too_many_faces_for_user",
        409,
        "The user has as many faces as are allowed",
        "Delete one of the user's faces first.",
    ),
    ProblemType(
        "reference_mismatch",
        422,
        "The reference photo shows somebody else",
        "Check whose document it is, or take both photos again.",
    ),
    ProblemType(
        "user_without_faces",
        409,
        "The user has no face to compare with",
        "Enrol a photo of the user first.",
    ),
    ProblemType(
        "user_not_valid",
        409,
        "The user may not be matched now",
        "See the user: `valid_until` may be past (send a later one), or required consent be missing.",
    ),
    ProblemType(
        "consent_required",
        422,
        "The person's consent is not recorded",
        "Send `consent` with the version of the text that the person agreed to.",
    ),
    # The job.
    ProblemType("job_expired", 504, "The job was not done within its time", "Send the photo again."),
    ProblemType(
        "job_superseded",
        409,
        "The job was overtaken by a deletion",
        "Nothing was enrolled; submit again if it is still wanted.",
    ),
    ProblemType(
        "job_failed",
        500,
        "The job could not be done",
        "Try again; if it fails again, give the operator the correlation id.",
    ),
    # The service.
    ProblemType(
        "too_many_exports",
        429,
        "The company has as many exports under way as it may",
        "Wait until one of them has ended, then send again.",
    ),
    ProblemType(
        "unavailable",
        503,
        "The service cannot answer now",
        "Send it again after as many seconds as Retry-After says.",
    ),
    ProblemType(
        "overloaded",
        503,
        "More photos wait than can be looked at in time",
        "Nothing was stored. Send it again after as many seconds as Retry-After says.",
    ),
    ProblemType(
        "company_paused",
        503,
        "The operator has paused this company",
        "No photos are taken for now; all else works. Ask the operator, or try again later.",
    ),
    ProblemType("internal", 500, "Something went wrong on our side", "Give the operator the correlation id."),
)

PROBLEM_TYPES: Final[dict[str, ProblemType]] = {kind.code: kind for kind in _TYPES}
