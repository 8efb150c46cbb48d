"""The manifests of infra/kubernetes, held against Kubernetes' own schemas, against the program, and against
what a pod may be allowed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest

from infra.broker import topics
from infra.settings import PROJECT_ROOT
from tests.deployment import dockerfile, keda, kustomize
from tests.deployment.declared import FIELDS, check_command, check_image, check_settings, port_of
from tests.deployment.kustomize import Manifest
from workers.sweeping import GROUP

FOLDER: Final = PROJECT_ROOT / "infra" / "kubernetes"
KUSTOMIZATIONS: Final = ("base", "gpu")
KUBERNETES: Final = ("1.34", "1.37")
"""The oldest that the files are for, and the newest whose schemas are here."""
SECRETS: Final = {"faceid-secrets", "faceid-master-key", "faceid-tls"}
PREFIX: Final = "faceid."

each = pytest.mark.parametrize("name", KUSTOMIZATIONS)


def rendered(name: str) -> list[Manifest]:
    return kustomize.render(FOLDER / name)


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}


def image_settings(image: str) -> dict[str, str]:
    """What the image sets of itself."""
    stages = dockerfile.read(PROJECT_ROOT / "Dockerfile")[1]
    return dockerfile.environment(dockerfile.whole(stages, image.partition(":")[0].removeprefix("faceid-")))


def settings_of(container: Manifest) -> dict[str, str]:
    """What a container is given, by its image, by the config map and by itself."""
    maps = kustomize.settings_files(FOLDER / "base")
    given = image_settings(container["image"])
    for source in container.get("envFrom", ()):
        given |= maps[source["configMapRef"]["name"]]
    return given | {one["name"]: one["value"] for one in container.get("env", ())}


def programs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """The name, the pod and the container of everything that runs the program."""
    for name, pod in kustomize.pods(manifests).items():
        (container,) = pod["containers"]
        yield name, pod, container


def test_every_file_is_used() -> None:
    used = set[Path]().union(*(kustomize.files(FOLDER / name) for name in KUSTOMIZATIONS))
    assert used == {path for path in FOLDER.rglob("*") if path.is_file()}


@each
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_one_that_kubernetes_takes(name: str, version: str) -> None:
    for manifest in rendered(name):
        if manifest["kind"] in keda.SCHEMAS:
            jsonschema.validate(manifest, keda.SCHEMAS[manifest["kind"]])
        else:
            kubernetes_validate.validate(manifest, version, strict=True)


@each
def test_names_are_used_once(name: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(name)]
    assert len(set(names)) == len(names)


@each
def test_every_container_is_pinned_confined_and_limited(name: str) -> None:
    for container in kustomize.containers(rendered(name)):
        check_image(container["image"], container["name"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        resources = container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() - {"nvidia.com/gpu"} == {"cpu", "memory"}


@each
def test_every_pod_is_nobody_and_has_time_to_finish(name: str) -> None:
    for pod, spec, container in programs(rendered(name)):
        assert spec["serviceAccountName"] == "faceid"
        assert spec["automountServiceAccountToken"] is False
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (10001, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        pause_s = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert spec["terminationGracePeriodSeconds"] >= FIELDS["drain_s"].default + pause_s + 5, pod


@each
def test_commands_and_settings_are_the_programs(name: str) -> None:
    for pod, _, container in programs(rendered(name)):
        check_command(container["args"], pod)
        check_settings(settings_of(container), pod)


@each
def test_what_runs_on_has_probes_at_ports_that_its_settings_open(name: str) -> None:
    for pod, _, container in programs(rendered(name)):
        if pod == "setup":
            continue
        settings = settings_of(container).items()
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert ports["metrics"] == port_of("metrics_listen", settings)
        asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        if pod == "ingress":
            assert ports["https"] == port_of("listen", settings)
            assert {probe["scheme"] for probe in asked.values()} == {"HTTPS"}
            paths = {kind: probe["path"] for kind, probe in asked.items()}
            assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
        else:
            assert {probe["path"] for probe in asked.values()} == {"/metrics"}
        assert {probe["port"] for probe in asked.values()} == {"https" if pod == "ingress" else "metrics"}


@each
def test_every_file_that_is_read_or_written_is_mounted(name: str) -> None:
    for pod, spec, container in programs(rendered(name)):
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} <= volumes.keys()
        settings = settings_of(container)
        tls = () if pod in {"face-worker", "keeper"} else ("FACEID_TLS_CERT_FILE", "FACEID_TLS_KEY_FILE")
        authorities = [name for name in settings if name.endswith("_CA_FILE")]
        for setting in ("FACEID_MASTER_KEY_FILE", *authorities, *tls):
            assert str(Path(settings[setting]).parent) in mounts, f"{pod}: {setting}"
        assert mounts[settings["FACEID_SECRETS_DIR"]]["readOnly"] is True
        assert "readOnly" not in mounts[settings["TMPDIR"]]


@each
def test_the_master_key_is_copied_to_where_it_is_read(name: str) -> None:
    for _, spec, container in programs(rendered(name)):
        (copy,) = spec["initContainers"]
        assert copy["command"][:3] == ["install", "-m", "0400"]
        assert copy["command"][4] == settings_of(container)["FACEID_MASTER_KEY_FILE"]
        assert copy["image"] == container["image"]
        keys = next(volume for volume in spec["volumes"] if volume["name"] == "keys")
        assert keys["emptyDir"]["medium"] == "Memory", "a key is never on a node's disk"


@each
def test_secrets_are_named_and_none_is_here(name: str, project_root: Path) -> None:
    manifests = rendered(name)
    assert not of_kind(manifests, "Secret")
    named = {
        volume["secret"]["secretName"]
        for spec in kustomize.pods(manifests).values()
        for volume in spec["volumes"]
        if "secret" in volume
    }
    assert named == SECRETS
    settings = kustomize.settings_files(FOLDER / "base")["faceid-settings"]
    assert [
        name for name in settings if name.endswith(("_PASSWORD", "_API_KEY", "_SECRET_KEY", "_USER"))
    ] == []
    for container in kustomize.containers(manifests):
        assert all("valueFrom" not in one for one in container.get("env", ()))


@each
def test_whatever_is_scaled_or_kept_up_is_there(name: str) -> None:
    manifests = rendered(name)
    deployments = of_kind(manifests, "Deployment")
    scaled = of_kind(manifests, "HorizontalPodAutoscaler") | of_kind(manifests, "ScaledObject")
    for scaler in scaled.values():
        target = deployments[scaler["spec"]["scaleTargetRef"]["name"]]
        assert "replicas" not in target["spec"], "else each apply takes back what the scaler did"
    assert scaled.keys() == {"ingress", "face-worker"}
    assert deployments.keys() - scaled.keys() == {"keeper"}
    assert deployments["keeper"]["spec"]["replicas"] >= 2
    assert of_kind(manifests, "PodDisruptionBudget").keys() == deployments.keys()
    for kept, budget in of_kind(manifests, "PodDisruptionBudget").items():
        labels = deployments[kept]["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for kept, deployment in deployments.items():
        assert deployment["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": kept}
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": kept}


def test_face_workers_follow_the_topics_that_they_consume() -> None:
    manifests = rendered("base")
    (scaled,) = of_kind(manifests, "ScaledObject").values()
    triggers = [trigger["metadata"] for trigger in scaled["spec"]["triggers"]]
    consumed = (topics.SEARCH, topics.ENROLL)
    assert [one["topic"] for one in triggers] == [f"{PREFIX}{topic.name}" for topic in consumed]
    assert [one["consumerGroup"] for one in triggers] == [
        f"{PREFIX}{GROUP}.{topic.name}" for topic in consumed
    ]
    assert scaled["spec"]["maxReplicaCount"] <= min(topic.partitions for topic in consumed)
    servers = kustomize.settings_files(FOLDER / "base")["faceid-settings"]["FACEID_KAFKA_SERVERS"]
    assert {one["bootstrapServers"] for one in triggers} == {servers}
    logins = of_kind(manifests, "TriggerAuthentication")
    assert {trigger["authenticationRef"]["name"] for trigger in scaled["spec"]["triggers"]} == logins.keys()


def test_the_service_leads_to_the_listener() -> None:
    manifests = rendered("base")
    (service,) = of_kind(manifests, "Service").values()
    ingress = of_kind(manifests, "Deployment")["ingress"]["spec"]["template"]
    assert service["spec"]["selector"].items() <= ingress["metadata"]["labels"].items()
    named = {port["name"] for port in ingress["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_only_what_must_may_talk() -> None:
    manifests = rendered("base")
    policies = of_kind(manifests, "NetworkPolicy")
    assert policies["nothing-else"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    pods = {
        name: one["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "Job")
        for name, one in of_kind(manifests, kind).items()
    }
    reached = {name: set(_reached(policies, labels)) for name, labels in pods.items()}
    settings = kustomize.settings_files(FOLDER / "base")["faceid-settings"]
    servers = {
        _place(settings["FACEID_KAFKA_SERVERS"]),
        _place(settings["FACEID_S3_ENDPOINT"]),
        ("mongodb", 27017),
        ("kube-system", 53),
    }
    index = _place(settings["FACEID_QDRANT_URL"])
    assert reached["ingress"] == servers
    assert {name: reached[name] for name in pods if name != "ingress"} == {
        name: servers | {index} for name in pods if name != "ingress"
    }
    admitted = {
        name: {
            port["port"]
            for policy in policies.values()
            if _applies(policy, labels)
            for rule in policy["spec"].get("ingress", ())
            for port in rule["ports"]
        }
        for name, labels in pods.items()
    }
    assert admitted.pop("ingress") == {"https", "metrics"}
    assert set(map(frozenset, admitted.values())) == {frozenset({"metrics"})}


def _place(address: str) -> tuple[str, int]:
    """The namespace and port of `service.namespace.svc:port`."""
    host, _, port = address.rpartition("//")[2].partition(":")
    return host.split(".")[1], int(port)


def _applies(policy: Manifest, labels: dict[str, str]) -> bool:
    selector = policy["spec"]["podSelector"]
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ())
    )


def _reached(policies: dict[str, Manifest], labels: dict[str, str]) -> Iterator[tuple[str, int]]:
    for policy in policies.values():
        if _applies(policy, labels):
            for rule in policy["spec"].get("egress", ()):
                for target in rule["to"]:
                    namespace: Any = target["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                    yield from ((namespace, port["port"]) for port in rule["ports"])
