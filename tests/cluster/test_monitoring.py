"""Rules, dashboards and runbooks: by the tools that will read them, and by each other."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.monitoring.__main__ import DASHBOARDS, FOLDER
from tests.cluster.expressions import Expression, everywhere, panels, rules
from tests.prometheus import ROOT, tool

MONITORING = FOLDER.parent
ALERTS = [rule for rule in rules() if "alert" in rule]
NAMES = sorted({rule["alert"] for rule in ALERTS})
SECTIONS = {
    ".md": ("## What it means", "## Look", "## Do"),
    ".zh-CN.md": ("## 含义", "## 查看", "## 处理"),
}
UNIT_TESTS = sorted((MONITORING / "tests").glob("*.yaml"))


def run(*command: str | Path) -> str:
    """What a tool says; fails with it if it complains."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_rules_and_configuration() -> None:
    said = run(tool("promtool"), "check", "config", "prometheus.yml")
    assert "2 rule files found" in said
    assert f"{len(rules()) - len(ALERTS)} rules found" in said
    assert "FAILED" not in said


def test_amtool_takes_the_example_of_alertmanager() -> None:
    run(tool("amtool"), "check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("service=qwen-serve", "severity=critical"), "on-call"),
        (("service=qwen-serve", "severity=warning"), "chat"),
        (("service=other", "severity=critical"), "chat"),
    ],
)
def test_alerts_reach_those_who_are_to_act(labels: tuple[str, ...], receiver: str) -> None:
    said = run(tool("amtool"), "config", "routes", "test", "--config.file=alertmanager.yml", *labels)
    assert said.strip() == receiver


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_and_are_silent_as_their_unit_tests_say(file: Path) -> None:
    run(tool("promtool"), "test", "rules", file)


def test_unit_tests_notice_a_bound_that_has_moved(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for file in (MONITORING / "rules").glob("*.yaml"):
        text = file.read_text(encoding="utf-8").replace("ratio5m > 0.01", "ratio5m > 0.03")
        (tmp_path / "rules" / file.name).write_text(text, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    copy = tmp_path / "tests" / "requests.yaml"
    copy.write_bytes((MONITORING / "tests" / "requests.yaml").read_bytes())
    with pytest.raises(AssertionError, match="ErrorRateHigh"):
        run(tool("promtool"), "test", "rules", copy)


@pytest.mark.parametrize("name", NAMES)
def test_alert_is_tested_firing_and_silent(name: str) -> None:
    expected = [
        check["exp_alerts"]
        for file in UNIT_TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for check in test.get("alert_rule_test", [])
        if check["alertname"] == name
    ]
    assert [alerts for alerts in expected if alerts], "never seen firing"
    # Of a certificate there are always more or fewer days left: silent is the one that lasts longest.
    assert [] in expected or name == "CertificateExpiring", "never seen silent"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", SECTIONS)
def test_alert_has_a_page_that_says_what_to_look_at_and_do(name: str, language: str) -> None:
    text = (ROOT / "docs" / "runbooks" / f"{name}{language}").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    _, look, do = SECTIONS[language]
    for section in (look, do):
        points = re.findall(r"^- ", text.partition(section)[2].partition("\n## ")[0], re.MULTILINE)
        assert len(points) >= 2, section
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / "docs" / "runbooks" / link).is_file(), link


def test_every_page_is_an_alerts() -> None:
    pages = {file.name.partition(".")[0] for file in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages == set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["labels"]["service"] == "qwen-serve"
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_is_what_the_code_builds(name: str) -> None:
    committed = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert DASHBOARDS[name]() == committed, "run python -m cluster.monitoring, and commit what it writes"


def test_no_dashboard_is_left_of_one_that_is_gone() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == DASHBOARDS.keys()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_apart_and_read_the_chosen_prometheus(name: str) -> None:
    dashboard = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
    for panel in panels(dashboard):
        assert panel["targets"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
    chosen = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)(\w+)", json.dumps([panel["targets"] for panel in panels(dashboard)])))
    assert used == chosen - {"datasource"}


def test_gpu_series_are_among_those_that_the_exporter_has_on_by_default() -> None:
    recorded = (MONITORING / "dcgm_series.txt").read_text(encoding="utf-8").splitlines()
    used = {name for each in everywhere() for name in each.names() if name.startswith("DCGM_")}
    assert len(used) >= 3
    assert used <= set(recorded)


def test_no_series_has_a_name_that_prometheus_does_not_store() -> None:
    # A colon in a scraped name becomes an underscore; with one, only our own recording rules are named.
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {name for each in everywhere() for name in each.names() if ":" in name} <= recorded


def test_names_are_found_wherever_they_stand_in_an_expression() -> None:
    expression = Expression(
        "", "(a / -b > 0) and on () max_over_time(rate(c[5m])[1h:1m]) or topk(3, d offset 5m)"
    )
    assert expression.names() == {"a", "b", "c", "d"}
