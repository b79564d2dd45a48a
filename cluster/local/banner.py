"""What to paste once the application is up."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cluster.local.serve_file import ServedModel

_QUESTION = "What is the capital of France?"
_ORDER = ("text", "vision-language", "embedding", "reranker")


def render(
    base_url: str, token: str, models: Sequence[ServedModel], authority_file: Path | None = None
) -> str:
    """The base URL, a token, a curl line and an example with OpenAI's SDK.

    Args:
        base_url: Without a path.
        token: A bearer token that is valid now.
        models: Of which the first text model is shown, or the first at all; not empty.
        authority_file: What clients have to trust first, where the certificate was made here.
    """
    model = min(models, key=lambda model: _ORDER.index(model.kind) if model.kind in _ORDER else len(_ORDER))
    curl, sdk = _EXAMPLES.get(model.kind, _EXAMPLES["text"])
    options = f"-s --cacert {shlex.quote(str(authority_file))}" if authority_file is not None else "-s"
    names = {"url": f"{base_url}/v1", "model": model.id, "question": _QUESTION, "options": options}
    lines = [
        f"Base URL   {base_url}/v1      (documentation: {base_url}/docs)",
        f"API token  {token}",
        *(_trust(authority_file) if authority_file is not None else ()),
        "",
        "With curl:",
        "",
        f"export QWEN_SERVE_TOKEN='{token}'",
        _fill(curl, names),
    ]
    if sdk:
        lines += ["", "With OpenAI's SDK (in .venv):", "", _fill(sdk, names | {"token": token})]
    return "\n".join(lines)


def _trust(authority_file: Path) -> list[str]:
    """OpenAI's SDK reads this variable, by way of httpx; curl does not wherever SSL_CERT_DIR is set."""
    return [
        "",
        "The certificate was made here, for this machine. To have OpenAI's SDK trust it:",
        "",
        f"export SSL_CERT_FILE={shlex.quote(str(authority_file))}",
    ]


def _fill(text: str, names: dict[str, str]) -> str:
    """Not str.format: the examples are full of braces."""
    for name, value in names.items():
        text = text.replace(f"<{name}>", value)
    return text


_CURL = """curl <options> <url>/PATH \\
  -H "Authorization: Bearer $QWEN_SERVE_TOKEN" -H 'Content-Type: application/json' \\
  -d '{"model": "<model>", BODY}'"""

_CHAT_CURL = _CURL.replace("PATH", "chat/completions").replace(
    "BODY", '"messages": [{"role": "user", "content": "<question>"}]'
)
_CHAT_SDK = """from openai import OpenAI

client = OpenAI(
    base_url="<url>",
    api_key="<token>",
)
messages = [{"role": "user", "content": "<question>"}]
stream = client.chat.completions.create(model="<model>", messages=messages, stream=True, temperature=0)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)"""

_EMBEDDING_CURL = _CURL.replace("PATH", "embeddings").replace("BODY", '"input": ["<question>"]')
_EMBEDDING_SDK = """from openai import OpenAI

client = OpenAI(
    base_url="<url>",
    api_key="<token>",
)
answer = client.embeddings.create(model="<model>", input=["<question>"])
print(len(answer.data[0].embedding), answer.data[0].embedding[:4])"""

_RERANK_CURL = _CURL.replace("PATH", "rerank").replace(
    "BODY", '"query": "<question>", "documents": ["Paris is the capital of France.", "Bread is baked."]'
)

_EXAMPLES: dict[str, tuple[str, str | None]] = {
    "text": (_CHAT_CURL, _CHAT_SDK),
    "vision-language": (_CHAT_CURL, _CHAT_SDK),
    "embedding": (_EMBEDDING_CURL, _EMBEDDING_SDK),
    # OpenAI's API has no reranking.
    "reranker": (_RERANK_CURL, None),
}
