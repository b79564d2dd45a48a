"""What is made from something else is up to date, and a test sees when it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cluster.helm import chart, sync
from cluster.kuberay import __main__ as command
from cluster.kuberay import manifests
from serve_app.proxy import no_replica
from tests.cluster.objects import objects_of, parsed

AGAIN = "run `make manifests`"


@pytest.mark.parametrize("profile", chart.PROFILES)
def test_plain_manifests_are_what_the_chart_renders(profile: str) -> None:
    assert manifests.path_of(profile).read_text(encoding="utf-8") == manifests.manifest(profile), AGAIN


@pytest.mark.parametrize("profile", chart.PROFILES)
def test_plain_manifests_say_nothing_of_helm_and_lose_nothing_else(profile: str) -> None:
    found = parsed([manifests.manifest(profile)])
    wanted = objects_of(profile)
    for item in wanted:
        for part in ("labels", "annotations"):
            notes = item["metadata"].get(part, {})
            notes = {key: value for key, value in notes.items() if "helm.sh" not in key and value != "Helm"}
            item["metadata"][part] = notes
            if not notes:
                item["metadata"].pop(part)
    assert found == wanted
    assert "helm.sh" not in manifests.manifest(profile)


def test_chart_carries_what_it_cannot_read() -> None:
    assert sync.stale() == [], AGAIN


def test_stale_copy_is_seen_and_mended(tmp_path: Path) -> None:
    root, copies = tmp_path / "root", tmp_path / "chart"
    for folder in ("rules", "dashboards"):
        (root / "cluster" / "monitoring" / folder).mkdir(parents=True)
    rules = root / "cluster" / "monitoring" / "rules"
    (rules / "api.yaml").write_text("groups: []\n", encoding="utf-8")
    (rules / "api_test.yaml").write_text("tests: []\n", encoding="utf-8")
    source = root / "serve_app" / "audit" / "elasticsearch" / "filebeat.yml"
    source.parent.mkdir(parents=True)
    shutil.copy(sync.ROOT / "serve_app" / "audit" / "elasticsearch" / "filebeat.yml", source)

    assert sync.sync(root, copies) == ["filebeat.yml", "rules/api.yaml"]
    assert sync.stale(root, copies) == []

    (rules / "api.yaml").write_text("groups: [1]\n", encoding="utf-8")
    assert sync.stale(root, copies) == ["rules/api.yaml"]
    (rules / "api.yaml").unlink()
    assert sync.sync(root, copies) == ["rules/api.yaml"]
    assert not (copies / "files" / "rules" / "api.yaml").exists()


def test_rules_and_dashboards_reach_the_cluster(tmp_path: Path) -> None:
    copy = tmp_path / "qwen-serve"
    shutil.copytree(chart.FOLDER, copy)
    for folder in ("rules", "dashboards"):
        shutil.rmtree(copy / "files" / folder, ignore_errors=True)
        (copy / "files" / folder).mkdir()
    rule = (
        'groups:\n  - name: api\n    rules:\n      - {alert: A, expr: up == 0, labels: {a: "{{ $value }}"}}\n'
    )
    (copy / "files" / "rules" / "api.yaml").write_text(rule, encoding="utf-8")
    (copy / "files" / "dashboards" / "overview.json").write_text('{"title": "{{x}}"}\n', encoding="utf-8")

    documents = chart.render({}, folder=copy).documents["qwen-serve/templates/monitoring.yaml"]
    monitor, rules, dashboard = parsed([documents])

    assert monitor["kind"] == "PodMonitor"
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    assert rules["spec"]["groups"][0]["rules"][0]["labels"] == {"a": "{{ $value }}"}
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"] == {"overview.json": '{"title": "{{x}}"}\n'}


def test_answer_without_a_replica_is_that_of_the_api() -> None:
    page = (chart.FOLDER / "files" / "503.http").read_bytes().rstrip(b"\n")
    head, _, body = page.partition(b"\n\n")
    assert body == no_replica()
    assert f"Content-Length: {len(body)}".encode() in head


def test_command_writes_every_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(manifests, "FOLDER", tmp_path)
    monkeypatch.setattr(sync, "ROOT", tmp_path)
    monkeypatch.setattr(sync, "sync", list)
    assert command.main() == 0
    assert capsys.readouterr().out.split() == [f"{profile}.yaml" for profile in chart.PROFILES]
    for profile in chart.PROFILES:
        assert (tmp_path / f"{profile}.yaml").read_text(encoding="utf-8") == manifests.manifest(profile)
