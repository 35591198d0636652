"""Clusters that Kubernetes and compose would take, and on which the run that they carry fits."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from ray.scripts.scripts import start

from pipelines.recipes.annotate import AnnotateRecipe
from tests.conftest import REPOSITORY
from tests.docker.support.files import DOCKER, MANIFESTS, clusters, documents, offered, pins

HERE = Path(__file__).parent
SCHEMA = Draft202012Validator(yaml.safe_load((HERE / "kuberay.yaml").read_text()))
COMPOSE = Draft202012Validator(yaml.safe_load((HERE / "compose.schema.yaml").read_text()))
POOLS = ("decode", "ocr", "tags", "boxes")


def recipes() -> Iterator[AnnotateRecipe]:
    for path in MANIFESTS:
        for document in documents(path):
            if document["kind"] == "ConfigMap":
                values = yaml.safe_load(document["data"]["recipe.yaml"])
                assert values.pop("kind") == "annotate"
                yield AnnotateRecipe.model_validate(values)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_what_kuberay_requires_is_there(path: Path) -> None:
    for document in documents(path):
        assert [error.message for error in SCHEMA.iter_errors(document)] == []


def test_the_schema_finds_faults() -> None:
    [cluster] = documents(DOCKER / "kuberay" / "raycluster.yaml")
    cluster["spec"]["workerGroupSpecs"][0].pop("template")
    assert not SCHEMA.is_valid(cluster)
    [cluster] = documents(DOCKER / "kuberay" / "raycluster.yaml")
    cluster["spec"]["headGroupSpec"]["rayStartParms"] = {}
    assert not SCHEMA.is_valid(cluster)


def test_clusters_are_the_same_but_for_the_recipe() -> None:
    (_, alone), (_, of_job) = clusters()
    assert alone["workerGroupSpecs"] == of_job["workerGroupSpecs"]
    head = of_job["headGroupSpec"]["template"]["spec"]
    assert head["volumes"].pop(0) == {"name": "recipe", "configMap": {"name": "shardloom-recipe"}}
    assert head["containers"][0]["volumeMounts"].pop(0)["mountPath"] == "/etc/shardloom"
    assert alone == of_job


def test_versions_and_authentication() -> None:
    for name, cluster in clusters():
        assert cluster["rayVersion"] == pins(REPOSITORY / "constraints.txt")["ray"], name
        assert cluster["authOptions"] == {"mode": "token"}


def test_no_container_may_do_more_than_its_work() -> None:
    """The schema has the same; a fault in it is seen here."""
    pods = [
        spec["template"]["spec"]
        for _, cluster in clusters()
        for spec in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    assert len(pods) == 10
    for pod in pods:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
    [compose] = documents(DOCKER / "compose.yaml")
    for service in compose["services"].values():
        assert (service["security_opt"], service["cap_drop"]) == (["no-new-privileges:true"], ["ALL"])
        assert "privileged" not in service


def groups(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A cluster's groups by the pools that they offer to run."""
    found = {}
    for group in cluster["workerGroupSpecs"]:
        [name] = offered(group)
        found[name.removeprefix("shardloom-")] = group
    return found


def test_a_group_for_each_engine_with_the_gpus_it_wants() -> None:
    for _, cluster in clusters():
        by_pool = groups(cluster)
        assert tuple(by_pool) == POOLS
        for pool, group in by_pool.items():
            [container] = group["template"]["spec"]["containers"]
            has = container["resources"]
            assert has["limits"] == has["requests"], "Ray goes by limits, Kubernetes by requests"
            assert ("nvidia.com/gpu" in has["limits"]) == (pool != "decode")
            assert group["minReplicas"] == group["replicas"] == group["maxReplicas"], "all of it, or it waits"


def test_the_recipe_fits_its_cluster() -> None:
    [recipe] = recipes()
    for _, cluster in clusters():
        for pool, group in groups(cluster).items():
            wanted = recipe.run.resources[pool]  # type: ignore[index]  # any of the four
            [container] = group["template"]["spec"]["containers"]
            has = container["resources"]["limits"]
            gpus, cpus, nodes = int(has.get("nvidia.com/gpu", 0)), float(has["cpu"]), group["replicas"]
            assert wanted.workers is not None
            assert wanted.cpus is not None
            each = math.ceil(wanted.workers / nodes)
            assert each * wanted.gpus <= gpus
            assert each * wanted.cpus <= cpus - 1, "a core is left for reading"
            assert wanted.workers * wanted.gpus == nodes * gpus, "no GPU stands idle"


def test_weights_are_where_every_node_sees_them() -> None:
    [recipe] = recipes()
    for _, cluster in clusters():
        specs = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        for spec in specs:
            pod = spec["template"]["spec"]
            mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
            assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {
                volume["name"] for volume in pod["volumes"]
            }
            for engine in recipe.stages.values():
                assert str(engine.settings["weights"]).startswith("/weights/")
            assert mounts["/weights"] == "weights"


def test_ray_takes_these_flags() -> None:
    known = {flag for option in start.params for flag in option.opts}
    for _, cluster in clusters():
        for spec in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            assert {f"--{name}" for name in spec["rayStartParams"]} <= known
    [compose] = documents(DOCKER / "compose.yaml")
    for service in compose["services"].values():
        assert service["command"][:2] == ["ray", "start"]
        assert {flag.partition("=")[0] for flag in service["command"][2:]} <= known


def test_compose() -> None:
    [compose] = documents(DOCKER / "compose.yaml")
    assert [error.message for error in COMPOSE.iter_errors(compose)] == []
    services = compose["services"]
    assert {"head", "cpu", "ocr"} <= set(services)
    for name, service in services.items():
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert service["volumes"] == ["${DATA:?a folder with shards in it}:/data"]
        for other, wanted in service.get("depends_on", {}).items():
            assert other in services, name
            assert "healthcheck" in services[other] or wanted["condition"] != "service_healthy"
    assert "--block" in services["head"]["command"], "a container ends with its command"
    assert all(port.startswith("127.0.0.1:") for port in services["head"]["ports"]), "not for the whole network"
    variables = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert variables == {"RAY_AUTH_TOKEN", "DATA"}
    assert services["ocr"]["image"] == "shardloom:paddleocr"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("services.head.comand", ["ray"]),
        ("services.head.image", None),
        ("services.head.ports", "127.0.0.1:8265:8265"),
        ("services.head.healthcheck.interval", 10),
        ("services.head.healthcheck.test", ["ray", "health-check"]),
        ("services.cpu.depends_on.head.condition", "service_ready"),
        ("services.cpu.environment.RAY_ADDRESS", ["head:6379"]),
        ("volume", {}),
    ],
)
def test_the_compose_schema_finds_faults(path: str, value: object) -> None:
    [compose] = documents(DOCKER / "compose.yaml")
    *parents, name = path.split(".")
    where = compose
    for parent in parents:
        where = where[parent]
    where[name] = value
    assert not COMPOSE.is_valid(compose)
