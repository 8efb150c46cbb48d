"""Schemas of KEDA's kinds, as far as ours use them.

No package carries KEDA's own: these are written after its documentation (version 2.22), closed to anything
that they do not name.
"""

from typing import Any, Final

_NAME: Final = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_COUNT: Final = {"type": "integer", "minimum": 0}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


_METADATA: Final = _object({"name": _NAME}, {"namespace": _NAME, "labels": {"type": "object"}})

# All values of a trigger's metadata are strings.
_KAFKA: Final = _object(
    {
        "bootstrapServers": {"type": "string", "pattern": r"^[\w.-]+:\d+(,[\w.-]+:\d+)*$"},
        "topic": {"type": "string"},
        "consumerGroup": {"type": "string"},
        "lagThreshold": {"type": "string", "pattern": r"^[1-9]\d*$"},
    },
    {
        "activationLagThreshold": {"type": "string", "pattern": r"^\d+$"},
        "offsetResetPolicy": {"enum": ["earliest", "latest"]},
        "allowIdleConsumers": {"enum": ["true", "false"]},
        "excludePersistentLag": {"enum": ["true", "false"]},
        "limitToPartitionsWithLag": {"enum": ["true", "false"]},
        "tls": {"enum": ["enable", "disable"]},
        "sasl": {"enum": ["plaintext", "scram_sha256", "scram_sha512", "gssapi", "none"]},
    },
)

_TRIGGER: Final = _object(
    {"type": {"const": "kafka"}, "metadata": _KAFKA},
    {"name": _NAME, "authenticationRef": _object({"name": _NAME}, {"kind": {"type": "string"}})},
)

_ADVANCED: Final = _object(
    {},
    {
        "restoreToOriginalReplicaCount": {"type": "boolean"},
        "horizontalPodAutoscalerConfig": _object({}, {"name": _NAME, "behavior": {"type": "object"}}),
    },
)

_SCALED: Final = _object(
    {
        "scaleTargetRef": _object(
            {"name": _NAME}, {"kind": {"type": "string"}, "apiVersion": {"type": "string"}}
        ),
        "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER},
    },
    {
        "minReplicaCount": _COUNT,
        "maxReplicaCount": _COUNT,
        "pollingInterval": _COUNT,
        "cooldownPeriod": _COUNT,
        "fallback": _object({"failureThreshold": _COUNT, "replicas": _COUNT}),
        "advanced": _ADVANCED,
    },
)

_TARGET: Final = {
    "type": "array",
    "minItems": 1,
    "items": _object({"parameter": {"type": "string"}, "name": _NAME, "key": {"type": "string"}}),
}


def _kind(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": kind},
            "metadata": _METADATA,
            "spec": spec,
        }
    )


SCHEMAS: Final = {
    "ScaledObject": _kind("ScaledObject", _SCALED),
    "TriggerAuthentication": _kind(
        "TriggerAuthentication", _object({"secretTargetRef": _TARGET}, {"configMapTargetRef": _TARGET})
    ),
}
