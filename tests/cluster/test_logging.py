"""Filebeat's configuration of the logs, against the schema that real lines are held to.

Filebeat itself is no package of Debian, PyPI or npm: it does not run here, and the configuration says so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

LOGGING = Path(__file__).resolve().parents[2] / "cluster" / "logging"
LINE = "2026-11-26 01:40:36,154"


def inputs() -> dict[str, dict[str, Any]]:
    config = yaml.safe_load((LOGGING / "filebeat.yml").read_text(encoding="utf-8"))
    return {each["id"]: each for each in config["filebeat.inputs"]}


def test_every_field_of_a_line_that_filebeat_names_is_one_of_the_schemas() -> None:
    schema = json.loads((LOGGING / "log-line.schema.json").read_text(encoding="utf-8"))
    text = json.dumps(inputs()["qwen-serve-serve"])
    named = set(re.findall(r"qwen_serve\.log\.(\w+)", text))
    # Ray's own, dropped where they are.
    assert named - {"timestamp_ns", "task_name", "task_func_name"} <= schema["properties"].keys()
    assert {"request_id", "engine_request_id"} - named == {"engine_request_id"}


def test_json_and_plain_lines_are_told_apart_and_tracebacks_kept_together() -> None:
    parser = inputs()["qwen-serve-serve"]["parsers"][0]["multiline"]
    begins = re.compile(parser["pattern"])
    assert begins.match('{"asctime": "' + LINE)
    assert begins.match(f"WARNING {LINE} controller 23832 -- Deployment")
    assert not begins.match("This may be caused by a slow __init__ or reconfigure method.")
    assert parser["negate"]
    assert parser["match"] == "after"


def test_engines_words_are_kept_and_serves_repetitions_are_not() -> None:
    excluded = [re.compile(each) for each in inputs()["qwen-serve-engines"]["exclude_lines"]]

    def dropped(line: str) -> bool:
        return any(each.search(line) for each in excluded)

    assert dropped(":actor_name:ServeReplica:qwen-serve:Registry")
    assert dropped(f"INFO {LINE} qwen-serve_Ingress sote8360 33bca80d -- request")
    assert not dropped("torch.OutOfMemoryError: CUDA out of memory.")
    assert not dropped("(EngineCore pid=24514) ERROR 11-26 00:30:09 [core.py:1] EngineCore failed to start.")
