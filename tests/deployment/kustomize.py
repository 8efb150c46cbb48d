"""What `kubectl kustomize` makes of a folder, for as much of it as our files use.

That is: resources, the tags of images, a config map from a file, and patches by JSON pointer. Anything else
is refused.
"""

from pathlib import Path
from typing import Any, Final, cast

import yaml

Manifest = dict[str, Any]

_KNOWN: Final = {"apiVersion", "kind", "namespace", "resources", "configMapGenerator", "images", "patches"}


def customization(folder: Path) -> Manifest:
    """The folder's own file."""
    given = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert given["apiVersion"] == "kustomize.config.k8s.io/v1beta1"
    assert given["kind"] == "Kustomization"
    assert given.keys() <= _KNOWN, f"{folder.name}: {given.keys() - _KNOWN}"
    return given


def files(folder: Path) -> set[Path]:
    """All files that a folder stands on, those of its bases included."""
    given = customization(folder)
    named = {(folder / path).resolve() for path in given.get("resources", ())}
    bases = {path for path in named if path.is_dir()}
    generated = {folder / path for one in given.get("configMapGenerator", ()) for path in one["envs"]}
    return {folder / "kustomization.yaml", *(named - bases), *generated}.union(*map(files, bases))


def render(folder: Path) -> list[Manifest]:
    """The folder's manifests, as they would be applied."""
    given = customization(folder)
    manifests: list[Manifest] = []
    for path in given.get("resources", ()):
        place = (folder / path).resolve()
        manifests += render(place) if place.is_dir() else _read(place)
    for patch in given.get("patches", ()):
        _patch(manifests, patch)
    for image in given.get("images", ()):
        assert image.keys() == {"name", "newTag"}
        for one in containers(manifests):
            if one["image"].partition(":")[0] == image["name"]:
                one["image"] = f"{image['name']}:{image['newTag']}"
    return manifests


def settings_files(folder: Path) -> dict[str, dict[str, str]]:
    """The generated config maps, by name."""
    maps: dict[str, dict[str, str]] = {}
    given = customization(folder)
    for one in given.get("configMapGenerator", ()):
        assert one.keys() == {"name", "envs"}
        lines = [line for path in one["envs"] for line in (folder / path).read_text().splitlines()]
        pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
        maps[one["name"]] = {name: value for name, _, value in pairs}
    return maps


def containers(manifests: list[Manifest]) -> list[Manifest]:
    """All containers of all pods, those that run first included."""
    return [
        container
        for spec in pods(manifests).values()
        for container in (*spec.get("initContainers", ()), *spec["containers"])
    ]


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """What is said of the pods of each Deployment and Job, by its name."""
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in manifests
        if manifest["kind"] in {"Deployment", "Job"}
    }


def _read(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _patch(manifests: list[Manifest], patch: Manifest) -> None:
    assert patch.keys() == {"target", "patch"}
    target = patch["target"]
    chosen = [
        one for one in manifests if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
    ]
    assert len(chosen) == 1, f"{target} is {len(chosen)} manifests"
    for change in yaml.safe_load(patch["patch"]):
        *way, last = [step.replace("~1", "/") for step in change["path"].split("/")[1:]]
        place: Any = chosen[0]
        for step in way:
            place = _member(place, step)
        assert change["op"] in {"add", "replace"}
        assert (change["op"] == "replace") == (last in place), change["path"]
        place[last] = change["value"]


def _member(place: Any, step: str) -> Any:
    return cast("list[Any]", place)[int(step)] if isinstance(place, list) else place[step]
