"""The chart renders, Helm finds nothing to say, and values that mean nothing are refused."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.helm import chart
from cluster.helm.chart import ChartError
from tests.cluster.objects import Object, merged, one, rendered, values_of


def test_helm_lints_it_strictly_and_finds_nothing(variant: str) -> None:
    assert chart.lint(values_of(variant)) == []


def test_lint_finds_what_is_wrong(tmp_path: Any) -> None:
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: other\nversion: one\n", encoding="utf-8")
    assert chart.lint({}, folder=tmp_path)


def test_every_object_is_of_the_release_and_its_namespace(objects: list[Object]) -> None:
    assert len(objects) > 8
    for item in objects:
        assert item["metadata"]["namespace"] == chart.NAMESPACE, item["kind"]
        assert item["metadata"]["labels"]["qwen-serve/release"] == chart.RELEASE, item["kind"]


def test_no_two_objects_have_one_name(objects: list[Object]) -> None:
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))


def test_names_follow_the_release_and_stay_short_enough_for_kuberay() -> None:
    documents = chart.render({}, release="a-release-with-a-name-that-is-much-too-long-for-it").documents
    text = documents["qwen-serve/templates/rayservice.yaml"]
    name = text.partition("\n  name: ")[2].partition("\n")[0]
    assert 0 < len(name) <= 41
    assert name.startswith("a-release")


def test_notes_name_the_next_steps(variant: str) -> None:
    notes = chart.render(values_of(variant)).notes
    assert "get rayservice qwen-serve --watch" in notes
    assert ("curl --tlsv1.3" in notes) == (variant != "own-entrance")
    assert ("delete raycluster" in notes) == (variant in ("small", "by-digest"))


def test_open_network_is_said_in_the_notes() -> None:
    assert "NetworkPolicies are off" in chart.render({"network": {"policies": False}}).notes


@pytest.mark.parametrize(
    ("over", "word"),
    [
        ({"imege": {}}, "imege"),
        ({"image": {"tag": "latest"}}, "/image/tag"),
        ({"image": {"digest": "sha256:1"}}, "/image/digest"),
        ({"secrets": {"signing": {"name": ""}}}, "/secrets/signing/name"),
        ({"secrets": {"signing": {"value": "a-secret"}}}, "value"),
        ({"entrance": {"kind": "loadbalancer"}}, "/entrance/kind"),
        ({"entrance": {"controller": "nginx"}}, "/entrance/controller"),
        ({"securityContext": {"readOnlyRootFilesystem": False}}, "readOnlyRootFilesystem"),
        ({"podSecurityContext": {"runAsUser": 0}}, "runAsUser"),
        ({"gpuGroups": {"a10": {"gpus": 0}}}, "gpus"),
        ({"gpuGroups": {"head": {"enabled": True}}}, "head"),
        ({"gpuGroups": {"a10": {"resources": {"limits": {"memory": None}}}}}, "memory"),
        ({"modelCache": {"type": "claim"}}, "claimName"),
        ({"upgrade": {"strategy": "InPlace"}}, "/upgrade/strategy"),
        ({"network": {"egress": {"all": {"components": ["gpu"], "to": [], "ports": [443]}}}}, "egress"),
        ({"upgrade": {"strategy": "NewClusterWithIncrementalUpgrade"}}, "gatewayClassName"),
        ({"gcsFaultTolerance": {"redisAddress": ""}}, "redisAddress"),
        ({"entrance": {"tls": {"certManager": {"issuerName": ""}}}}, "issuerName"),
        ({"filebeat": {"enabled": True}}, "elasticsearchUrl"),
        ({"application": None}, "application"),
    ],
)
def test_values_that_mean_nothing_are_refused(over: Object, word: str) -> None:
    with pytest.raises(ChartError, match=word):
        chart.render(over)


def test_unknown_profile_is_named() -> None:
    with pytest.raises(ChartError, match="no profile 'huge'; there are small, standard, large"):
        chart.values_of("huge")


def test_change_of_the_application_leaves_the_pods_as_they_are() -> None:
    """KubeRay hands a changed serveConfigV2 to the cluster that runs, and rolls it for anything else."""
    before = values_of("standard")
    models = [*before["application"]["models"], {**before["application"]["models"][-1], "id": "another"}]
    changes: list[Object] = [{"application": {"models": models}}, {"ingress": {"serveReplicas": 3}}]
    old = one(rendered(before), "RayService")["spec"]
    for change in changes:
        new = one(rendered(merged(before, change)), "RayService")["spec"]
        assert new["serveConfigV2"] != old["serveConfigV2"]
        assert new["rayClusterConfig"] == old["rayClusterConfig"]


def test_change_of_an_image_leaves_the_application_as_it_is() -> None:
    before = values_of("standard")
    old = one(rendered(before), "RayService")["spec"]
    new = one(rendered(merged(before, {"image": {"tag": "0.2.0"}})), "RayService")["spec"]
    assert new["serveConfigV2"] == old["serveConfigV2"]
    assert new["rayClusterConfig"] != old["rayClusterConfig"]


def test_clusters_of_an_upgrade_do_not_share_their_state_in_redis(standard: list[Object]) -> None:
    options = one(standard, "RayService")["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]
    assert options["redisAddress"] == "redis:6379"
    assert "externalStorageNamespace" not in options


def test_there_is_no_horizontal_pod_autoscaler(objects: list[Object]) -> None:
    assert not [item for item in objects if item["kind"] == "HorizontalPodAutoscaler"]
    cluster = one(objects, "RayService")["spec"]["rayClusterConfig"]
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
