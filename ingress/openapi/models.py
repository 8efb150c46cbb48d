"""The schemas of all models, under `#/components/schemas`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

Schema = dict[str, Any]

_PLACE: Final = "#/components/schemas/"
_WORDS: Final = frozenset({"const", "enum", "default", "examples", "required"})
"""Members of a schema that hold no schema."""


class _Untitled(GenerateJsonSchema):
    """Titles made of names say nothing that the names don't."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class Models:
    """The schemas of what is sent (as it is read) and of what is answered (as it is written)."""

    def __init__(self, sent: Iterable[type[BaseModel]], answered: Iterable[type[BaseModel]]) -> None:
        pairs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            *((model, "validation") for model in dict.fromkeys(sent)),
            *((model, "serialization") for model in dict.fromkeys(answered)),
        ]
        self._places, found = models_json_schema(
            pairs, ref_template=f"{_PLACE}{{model}}", schema_generator=_Untitled
        )
        definitions = cast(dict[str, Schema], found.get("$defs", {}))
        self.components = {name: _tidied(schema) for name, schema in definitions.items()}
        kept = self._reached(
            self.name_of(model, "validation") for model, mode in pairs if mode == "validation"
        )
        for name, schema in self.components.items():
            if name not in kept and schema.get("additionalProperties") is False:
                # What is sent must be known to us; what is answered may get members that a client doesn't
                # know yet.
                del schema["additionalProperties"]

    def name_of(self, model: type[BaseModel], mode: JsonSchemaMode) -> str:
        """Under which name the model's schema stands."""
        return self._places[(model, mode)]["$ref"].removeprefix(_PLACE)

    def answered(self, model: type[BaseModel]) -> Schema:
        """A reference to an answer's schema."""
        return {"$ref": _PLACE + self.name_of(model, "serialization")}

    def sent(self, model: type[BaseModel]) -> Schema:
        """The schema of a request's model, whole."""
        return self.components[self.name_of(model, "validation")]

    def add(self, name: str, schema: Schema) -> Schema:
        """One more schema; answers a reference to it."""
        if self.components.setdefault(name, schema) != schema:
            raise ValueError(f"two schemas are named {name}")
        return {"$ref": _PLACE + name}

    def keep_only(self, used: object) -> dict[str, Schema]:
        """The components that something refers to, by name."""
        names = self._reached(names_in(used))
        return {name: schema for name, schema in sorted(self.components.items()) if name in names}

    def _reached(self, names: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += names_in(self.components[name])
        return reached


def names_in(value: object) -> set[str]:
    """The names of the schemas that a part of the document refers to."""
    names: set[str] = set()
    if isinstance(value, Mapping):
        for key, part in cast(Mapping[str, object], value).items():
            if key == "$ref" and isinstance(part, str) and part.startswith(_PLACE):
                names.add(part.removeprefix(_PLACE))
            else:
                names |= names_in(part)
    elif isinstance(value, list):
        for part in cast(list[object], value):
            names |= names_in(part)
    return names


def without_null(schema: Schema) -> Schema:
    """The schema of a query parameter or form field: leaving it out is how nothing is said."""
    given = {key: part for key, part in schema.items() if not (key == "default" and part is None)}
    options = [option for option in given.pop("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        return {**options[0], **given}
    return {**given, "anyOf": options} if options else given


def prose(text: str | None) -> str:
    """A docstring as running text: paragraphs stay, line breaks in them go."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()


def _tidied(schema: Schema) -> Schema:
    """The schema without titles, and with running text for descriptions."""
    return {key: _part(key, value) for key, value in schema.items() if key != "title"}


def _part(key: str, value: Any) -> Any:
    if key == "description":
        return prose(value)
    if key == "properties":
        return {name: _tidied(part) for name, part in value.items()}
    if key in _WORDS:
        return value
    if isinstance(value, dict):
        return _tidied(cast(Schema, value))
    if isinstance(value, list):
        return [_part("", part) for part in cast(list[Any], value)]
    return value
