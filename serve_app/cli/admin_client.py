"""The administration as commands reach it: ``/admin/v1`` over HTTP, with a credential of the operator's.

By ``http.client``, which follows no redirect and reads no proxy from the environment: the credential goes to
the host that was named and to no other. These few small calls need no more of a client.
"""

from __future__ import annotations

import json
import os
import re
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

import typer

from cluster.local import serve_file as launch_file
from cluster.local.failure import LaunchFailed
from serve_app.auth.config import AuthConfig
from serve_app.auth.secret import SecretError
from serve_app.cli.console import fail
from serve_app.cli.token import issue
from serve_app.serve_file import ServeFileError, load

TOKEN_VARIABLE: Final = "QWEN_SERVE_TOKEN"  # noqa: S105  (its name)
_PREFIX: Final = "/admin/v1"
_TIMEOUT_S: Final = 60.0
_OWN_SUBJECT: Final = "qwen-serve-cli"
_OWN_EXPIRES_S: Final = 120
_TOKEN_FORM: Final = re.compile(r"[\x21-\x7e]+")

UrlOption = Annotated[
    str | None, typer.Option(help="Where the application answers; default: as the configuration says.")
]
ConfigOption = Annotated[
    Path,
    typer.Option(
        help=f"The Serve configuration with the address and, where {TOKEN_VARIABLE} is not set, the secret."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

DEFAULT_CONFIG: Final = Path("serve_config.yaml")


class AdminClient:
    """Calls ``/admin/v1``. What goes wrong ends the command with what to do; never is the token shown.

    Args:
        base_url: Where the application answers, without a path of the API.
        token: An administrator's API key or JWT.
    """

    def __init__(self, base_url: str, token: str) -> None:
        if _TOKEN_FORM.fullmatch(token) is None:
            # HTTP's library would say so too, and show the token.
            fail("The token holds characters that none has; check where it was copied from.")
        self._url = _split(base_url)
        self._shown = f"{self._url.scheme}://{self._url.netloc}"
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:
        """The answer as JSON has it. Of the query and the body, what is None is left out."""
        answer = self.text(method, path, query=query, body=body)
        try:
            return json.loads(answer)
        except ValueError:
            fail(f"{self._shown} answers something else; is it the address of qwen-serve?")

    def text(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> str:
        """The answer as it comes. Of the query and the body, what is None is left out."""
        given = urlencode(_given(query))
        target = f"{self._url.path.rstrip('/')}{_PREFIX}{path}{'?' if given else ''}{given}"
        sent = None if body is None else json.dumps(_given(body)).encode()
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        assert self._url.hostname is not None
        connection = kind(self._url.hostname, self._url.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, target, sent, headers)
            response = connection.getresponse()
            status, content = response.status, response.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            fail(
                f"{self._shown} does not answer: {why}. Start it with `qwen-serve up`, "
                "or name another with --url."
            )
        finally:
            connection.close()
        if status >= 300:
            fail(self._refusal(status, content))
        return content

    def _refusal(self, status: int, content: str) -> str:
        try:
            message = str(json.loads(content)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"{self._shown} answers {status}; is it the address of qwen-serve?"
        if status in (401, 403):
            message += (
                f" The credential is that of {TOKEN_VARIABLE}, or else made with the configuration's secret."
            )
        return message


def connect(url: str | None, config: Path) -> AdminClient:
    """The client of a command; ends the command where there can be none.

    An operator on the machine needs no credential: whoever reads the signing secret may make one.

    Args:
        url: As ``--url`` has it.
        config: As ``--config`` has it; not read where the URL and a token are given.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return AdminClient(
            url or launch_file.read(config).base_url, token or _own_token(load(config).app.auth)
        )
    except (LaunchFailed, ServeFileError, SecretError) as error:
        fail(str(error))


def _own_token(auth: AuthConfig) -> str:
    """A token that is good for this command and not much longer.

    Raises:
        SecretError: The signing secret is missing or unfit.
    """
    role = next((name for name, role in auth.roles.items() if role.admin), None)
    if role is None:
        fail("auth.roles: no role has `admin: true`, so nobody may administer; give one of them that.")
    return issue(auth, _OWN_SUBJECT, [role], _OWN_EXPIRES_S)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        parts.port  # noqa: B018  (raises where it is none)
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment or not url.isprintable() or " " in url:
        fail("--url: write an address such as http://127.0.0.1:8000")
    return parts


def _given(values: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None}
