"""What may be sent as a body: the same model as JSON and, where photos come with it, as a form."""

from typing import Any, Final, cast

from ingress.describing import BodyContent
from ingress.openapi.models import Models, Schema, without_null
from schemas.api.photos import PhotoRequest

GREY_SQUARE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAABQAAAAUCAAAAACo4kLRAAAAE0lEQVR42mNsYMAETAyjgoNIEADz9ACoT3PfrAAAAABJRU5ErkJggg=="
)
"""A photo of nobody, for examples: a PNG of 20 x 20 px."""

_FORM: Final = "multipart/form-data"


def request_body(bodies: tuple[BodyContent, ...], models: Models) -> dict[str, Any]:
    """The request body object of an operation."""
    return {"required": True, "content": {body.media_type: _content(body, models) for body in bodies}}


def _content(body: BodyContent, models: Models) -> dict[str, Any]:
    is_form = body.media_type == _FORM
    schema = models.sent(body.model)
    examples = cast(list[dict[str, Any]], schema.get("examples", []))
    if body.files:
        name = body.model.__name__
        reference = models.add(
            name.removesuffix("Request") + "Form" if is_form else f"{name}Json", _with_files(schema, body)
        )
    elif body.is_patch:
        reference = models.add(f"{body.model.__name__.removesuffix('Patch')}MergePatch", _patch_of(schema))
    else:
        reference = models.add(body.model.__name__, schema)
    content: dict[str, Any] = {"schema": reference}
    photo = "photo.jpg" if is_form else GREY_SQUARE
    if examples:
        content["examples"] = {
            f"example_{number}": {
                "value": {
                    **{name: photo for name, required in body.files.items() if required or name in example},
                    **{name: value for name, value in example.items() if name not in body.files},
                }
            }
            for number, example in enumerate(examples, 1)
        }
    if is_form and issubclass(body.model, PhotoRequest):
        # Arrays are repeated fields, as RFC 7578 has them; objects are JSON.
        encoding = {name: {"contentType": "application/json"} for name in sorted(body.model.form_objects)}
        content["encoding"] = {
            **{name: {"contentType": "image/jpeg, image/png"} for name in body.files},
            **encoding,
        }
    return content


def _patch_of(schema: Schema) -> Schema:
    properties = cast(dict[str, Schema], schema["properties"])
    how = "A JSON merge patch (RFC 7396): what is left out stays, null takes away or sets back."
    return {
        **{key: part for key, part in schema.items() if key not in {"required", "examples"}},
        "description": f"{schema.get('description', '')} {how}".strip(),
        "properties": {name: _patched(part) for name, part in properties.items()},
    }


def _patched(part: Schema) -> Schema:
    """A member of a patch: null has a meaning, and being left out has another than the default."""
    null: Schema = {"type": "null"}
    inside = {key: value for key, value in part.items() if key not in {"description", "default"}}
    options = cast(list[Schema], inside["anyOf"]) if set(inside) == {"anyOf"} else [inside]
    words = {key: part[key] for key in ("description",) if key in part}
    return {"anyOf": options if null in options else [*options, null], **words}


def _with_files(schema: Schema, body: BodyContent) -> Schema:
    is_form = body.media_type == _FORM
    photo: Schema = (
        # `format` is for generators that have not learnt 3.1's way yet.
        {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
        if is_form
        else {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/octet-stream"}
    )
    photo["description"] = "A photo, JPEG or PNG" + ("." if is_form else " in base64.")
    properties = cast(dict[str, Schema], schema.get("properties", {}))
    if is_form:
        properties = {name: without_null(part) for name, part in properties.items()}
    required = [name for name, needed in body.files.items() if needed]
    whole = {key: part for key, part in schema.items() if key != "examples"}
    return {
        **whole,
        "properties": {**dict.fromkeys(body.files, photo), **properties},
        "required": [*required, *schema.get("required", [])],
    }
