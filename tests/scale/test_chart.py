"""The Helm chart: what it renders is valid for Kubernetes, and its settings are some that the proxy has."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from argoproxy.config.values.settings import BY_KEY
from tests.scale.engines import find_program
from tests.support.processes import ROOT

CHART = ROOT / "deploy" / "helm" / "argoproxy"
#: The oldest that the chart says it is for.
KUBERNETES = "1.27"
#: Beside the settings: of Gunicorn's number of workers, and where the config file is.
OTHER_VARIABLES = {"WORKERS", "CONFIG_PATH"}
EVERYTHING = {
    "redis": {"url": "redis://:secret-of-redis@redis:6379/0"},
    "database": {"url": "postgresql://argoproxy:secret-of-postgres@postgres:5432/argoproxy"},
    "existingSecret": "keys",
    "autoscaling": {"enabled": True},
    "ingress": {"enabled": True, "tlsSecret": "tls"},
    "serviceMonitor": {"enabled": True, "keySecret": {"name": "keys", "key": "metrics"}},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"example.org/owner": "llm"},
    "env": [{"name": "DEBUG", "value": "true"}],
    "config": {"target_base_url": "http://vllm:8000/v1", "models": {"m": {"rpm": 10}}},
}


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{ROOT}/.venv-helm/bin{os.pathsep}{os.environ['PATH']}")


def render(folder: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the chart renders with these values, by kind, once it is checked against Kubernetes' schemas."""
    file, rendered = folder / "values.json", folder / "rendered.yaml"
    file.write_text(json.dumps(values))
    command = [find_program("helm"), "template", "llm", str(CHART), "--values", str(file), "--kube-version", KUBERNETES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered.write_text(done.stdout)
    check = [find_program("kubernetes-validate"), "--strict", "--quiet", "--kubernetes-version", KUBERNETES]
    checked = subprocess.run([*check, str(rendered)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout) if document}


def pod_of(rendered: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what a pod of the deployment is."""
    pod: dict[str, Any] = rendered["Deployment"]["spec"]["template"]["spec"]
    return pod


def test_it_is_well_formed() -> None:
    done = subprocess.run([find_program("helm"), "lint", "--strict", str(CHART)], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_by_default_there_is_what_serves_and_nothing_else(tmp_path: Path) -> None:
    assert set(render(tmp_path, {})) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}


def test_everything_at_once(tmp_path: Path) -> None:
    rendered = render(tmp_path, EVERYTHING)
    kinds = {"Secret", "HorizontalPodAutoscaler", "Ingress", "ServiceMonitor"}
    assert set(rendered) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"} | kinds
    urls = {name: EVERYTHING[name]["url"] for name in ("redis", "database")}  # type: ignore[index]
    assert rendered["Secret"]["stringData"] == {f"{name.upper()}_URL": url for name, url in urls.items()}
    assert yaml.safe_load(rendered["ConfigMap"]["data"]["config.yaml"]) == EVERYTHING["config"]
    assert "secret-of" not in json.dumps({kind: one for kind, one in rendered.items() if kind != "Secret"})
    (metric,) = rendered["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "argoproxy_requests_in_flight"
    assert "replicas" not in rendered["Deployment"]["spec"], "the autoscaler decides"


def test_one_replica_may_be_evicted(tmp_path: Path) -> None:
    assert "PodDisruptionBudget" not in render(tmp_path, {"replicaCount": 1})


def test_a_pod_may_do_nothing_that_it_need_not(tmp_path: Path) -> None:
    pod = pod_of(render(tmp_path, {}))
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]


def test_the_variables_are_settings(tmp_path: Path) -> None:
    (container,) = pod_of(render(tmp_path, EVERYTHING))["containers"]
    named = {variable["name"] for variable in container["env"]}
    assert named - OTHER_VARIABLES <= {key.upper() for key in BY_KEY}


def test_a_stop_is_given_the_time_that_it_takes(tmp_path: Path) -> None:
    pod = pod_of(render(tmp_path, {"drainDelay": 20, "gracefulTimeout": 600}))
    assert pod["terminationGracePeriodSeconds"] > 20 + 600
    (container,) = pod["containers"]
    environ = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (environ["DRAIN_DELAY"], environ["GRACEFUL_TIMEOUT"]) == ("20", "600")
    probe = container["readinessProbe"]
    assert probe["httpGet"]["path"] == "/health/ready"
    default_delay = yaml.safe_load((CHART / "values.yaml").read_text())["drainDelay"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < default_delay


def test_a_change_of_the_settings_starts_new_pods(tmp_path: Path) -> None:
    changed = {"config": {"target_base_url": "http://other/v1"}}, {"secret": {"API_KEY_SECRET": "k"}}
    annotations = [
        json.dumps(render(tmp_path, values)["Deployment"]["spec"]["template"]["metadata"]["annotations"])
        for values in ({}, *changed)
    ]
    assert len(set(annotations)) == 3


@pytest.mark.parametrize(
    "values",
    [{"replicas": 3}, {"redis": {"url": "localhost"}}, {"database": {"url": "mysql://db"}}, {"drainDelay": "10s"}],
)
def test_a_mistake_in_the_values_is_an_error(tmp_path: Path, values: dict[str, Any]) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    command = [find_program("helm"), "template", "llm", str(CHART), "--values", str(file)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
