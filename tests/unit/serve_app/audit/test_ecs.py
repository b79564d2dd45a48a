"""The documents, the index template and Filebeat's configuration say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import yaml

from serve_app.audit.chain import Chain, Kind, Link, parse
from serve_app.audit.ecs import DATASET, FIELDS, document, index_of
from serve_app.audit.record import Outcome, UsageMark
from serve_app.audit_entry import record_of
from serve_app.filtering import Action, Finding, Scanned, Verdict
from serve_app.observation import Observation
from tests.unit.serve_app.audit.conftest import NOON, RECORD

FOLDER = files("serve_app.audit").joinpath("elasticsearch")
VERDICT = Verdict((Finding("phone", Action.MASK, 2),), "v1", Scanned.PART, ("images",))
FULL = replace(
    RECORD,
    error_code="content_filter",
    ledger_away=True,
    verdicts=record_of(Observation("r", "r-1", "POST", "/", prompt_verdict=VERDICT), "").verdicts,
    count=2,
    until=NOON,
    content_left_out=True,
)


def leaves(tree: dict[str, Any], path: str = "") -> set[str]:
    """Paths of what a document holds; of a list of objects those inside."""
    found = set()
    for name, value in tree.items():
        inner = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        found |= leaves(inner, f"{path}{name}.") if isinstance(inner, dict) else {path + name}
    return found


def mapped(properties: dict[str, Any], path: str = "") -> set[str]:
    """Paths that the index template maps."""
    found = set()
    for name, field in properties.items():
        below = field.get("properties")
        found |= mapped(below, f"{path}{name}.") if below else {path + name}
    return found


def made(kind: Kind, fields: dict[str, object]) -> dict[str, Any]:
    line = Chain("c0ffee", Link()).line(kind, fields)[:-1]
    return document(parse(line), line)


def test_template_maps_every_field_of_a_record() -> None:
    template = json.loads(FOLDER.joinpath("index-template.json").read_text(encoding="utf-8"))
    known = mapped(template["template"]["mappings"]["properties"])
    for kind, fields in (
        (Kind.RECORD, FULL.to_fields()),
        (Kind.USAGE, UsageMark(NOON, "f1").to_fields()),
        (Kind.GAP, {"timestamp": "2026-11-24T12:00:00.000Z", "refused": 1, "dropped": 1}),
        (Kind.RECOVERED, {"timestamp": "2026-11-24T12:00:00.000Z", "cut_bytes": 1}),
        (Kind.CLOSE, {"timestamp": "2026-11-24T12:00:00.000Z", "end": True, "key": "abc"}),
    ):
        assert leaves(made(kind, fields)) <= known


def test_filebeat_moves_the_same_fields_to_the_same_places() -> None:
    filebeat = yaml.safe_load(FOLDER.joinpath("filebeat.yml").read_text(encoding="utf-8"))
    (rename,) = (each["rename"]["fields"] for each in filebeat["processors"] if "rename" in each)
    moved = {each["from"]: each["to"] for each in rename}
    assert moved.pop("message") == "event.original"
    # These two are not moved: one sets @timestamp, and one becomes the document's id.
    ours = {f"{DATASET}.{name}": to for name, to in FIELDS.items() if name not in ("timestamp", "id")}
    assert moved == ours


def test_outcomes_are_those_of_ecs() -> None:
    outcomes = {
        outcome: made(Kind.RECORD, replace(RECORD, outcome=outcome).to_fields())["event"]
        for outcome in Outcome
    }
    assert outcomes[Outcome.DONE]["outcome"] == "success"
    assert outcomes[Outcome.DISCONNECTED]["outcome"] == "unknown"
    assert outcomes[Outcome.FAILED]["outcome"] == "failure"
    assert outcomes[Outcome.BLOCKED]["type"] == ["access", "denied"]


def test_index_depends_on_nothing_but_the_line() -> None:
    assert index_of("audit", {"timestamp": "2026-11-24T12:00:00.000Z"}) == "audit-2026.11"


def test_opening_line_is_a_document_too() -> None:
    told = made(Kind.OPEN, {"timestamp": "2026-11-24T12:00:00.000Z", "format": 1, "key": "abc"})
    assert told["qwen_serve"]["audit"] == {"kind": "open", "format": 1, "key": "abc"}
    assert told["event"]["id"] == "c0ffee-0"
