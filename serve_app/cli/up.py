"""``qwen-serve up`` and ``qwen-serve stop``: the whole application on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cluster.local import banner, session
from cluster.local import serve_file as launch_file
from cluster.local.apply import apply as apply_config
from cluster.local.failure import LaunchFailed
from cluster.local.haproxy import HaProxy
from cluster.local.launch import Plan, launch
from cluster.local.progress import Progress
from cluster.local.ray_node import free_ports
from cluster.local.serve_file import Overrides, ServeFile
from cluster.local.tls import Tls, secure
from deployments.checkpoint import CheckpointError
from serve_app import proxy
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig
from serve_app.cli.configure import configure
from serve_app.cli.console import errors, fail, warn
from serve_app.cli.token import issue
from serve_app.config import AppConfig
from serve_app.serve_file import ServeFileError, load
from serve_app.tls import TlsConfig

_TOKEN_SUBJECT = "local"  # noqa: S105  (whom the token names)
_TOKEN_ROLES = ["user"]
_TOKEN_EXPIRES_S = 30 * 24 * 3600
_FAILED_EXIT = 1

_STATE = Path(".qwen-serve")
_StateOption = Annotated[Path, typer.Option(help="Folder for logs, secrets and derived configurations.")]


def up(  # noqa: PLR0913, PLR0917  (its options)
    config: Annotated[Path, typer.Option(help="A Serve configuration.")] = Path("serve_config.yaml"),
    model: Annotated[
        str | None, typer.Option(help="Serve this model alone: a checkpoint folder or a hub id.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For clients, in place of the configuration's.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds until the application must be ready.")
    ] = 1800,
    state: _StateOption = _STATE,
    haproxy: Annotated[
        bool,
        typer.Option(
            envvar="RAY_SERVE_ENABLE_HA_PROXY", help="HAProxy in front of the ingress, or Ray's Python proxy."
        ),
    ] = True,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="HTTPS; with a certificate made here, unless the configuration has one."),
    ] = False,
) -> None:
    """Start Ray and the application, print how to use it, and stop everything with Ctrl-C."""
    progress = Progress(sys.stdout)
    progress.now("checking the configuration")
    try:
        path = configure(model, config, state / "model.yaml") if model else config
        loaded = load(path)
        for problem in loaded.warnings:
            warn(f"{path}: {problem.path}: {problem.message}")
        auth = loaded.app.auth
        secret.ensure(auth.secret_file)
        file, secured = _endpoint(launch_file.read(path), loaded.app, port, state, tls=tls)
        if secured is not None and not haproxy:
            raise LaunchFailed("TLS needs HAProxy; start without --no-haproxy")
        steering = {proxy.IMPORT_PATH_VARIABLE: proxy.IMPORT_PATH}
        front = HaProxy(proxy.no_replica(), secured) if haproxy else None
        gpus = loaded.app.simulated_gpus
        plan = Plan(file, state, timeout, lambda: _greeting(file, auth, secured), steering, front, gpus)
        launch(plan, progress)
    except (ServeFileError, CheckpointError, secret.SecretError) as error:
        progress.say("")
        fail(str(error))
    except LaunchFailed as error:
        _fail(error)


def apply(
    config: Annotated[Path, typer.Option(help="A Serve configuration.")] = Path("serve_config.yaml"),
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until it must be in force.")] = 900,
    state: _StateOption = _STATE,
) -> None:
    """Hand a changed configuration to the application that runs. What has not changed goes on."""
    try:
        loaded = load(config)
        for problem in loaded.warnings:
            warn(f"{config}: {problem.path}: {problem.message}")
        apply_config(config, state, timeout)
        typer.echo(f"{config} is in force: {len(loaded.app.models)} models")
    except ServeFileError as error:
        fail(str(error))
    except LaunchFailed as error:
        _fail(error)


def stop(state: _StateOption = _STATE) -> None:
    """Stop the application of this folder, or clear what a killed one has left."""
    try:
        typer.echo(session.stop(state))
    except LaunchFailed as error:
        _fail(error)


def _endpoint(
    file: ServeFile, app: AppConfig, port: int | None, state: Path, *, tls: bool
) -> tuple[ServeFile, Tls | None]:
    """The file to serve, and how HTTPS is served in front of it."""
    target = state / "serve_config.yaml"
    config = app.tls or (TlsConfig() if tls else None)
    if config is None:
        if port is None or port == file.port:
            return file, None
        return file.derived(Overrides(port), target), None
    secured = secure(config.model_dump(), file.host, state / "tls", port)
    _, plain = free_ports(secured.port, file.port)
    return file.derived(Overrides(plain, secured.as_config()), target), secured


def _greeting(file: ServeFile, auth: AuthConfig, secured: Tls | None) -> str:
    token = issue(auth, _TOKEN_SUBJECT, _TOKEN_ROLES, _TOKEN_EXPIRES_S)
    if secured is None:
        return banner.render(file.base_url, token, file.models)
    return banner.render(secured.url, token, file.models, secured.authority_file)


def _fail(error: LaunchFailed) -> NoReturn:
    """One line, and below it what an engine or Ray has said."""
    errors.print(f"[bold red]error:[/] {error}", markup=True)
    for line in error.details:
        errors.print(f"       {line}", markup=False)
    raise typer.Exit(_FAILED_EXIT) from error
