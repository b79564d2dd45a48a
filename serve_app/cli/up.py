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
from cluster.local.serve_file import ServeFile
from deployments.checkpoint import CheckpointError
from serve_app import proxy
from serve_app.auth import secret
from serve_app.auth.config import AuthConfig
from serve_app.cli.configure import configure
from serve_app.cli.console import errors, fail, warn
from serve_app.cli.token import issue
from serve_app.serve_file import ServeFileError, load

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
        int | None, typer.Option(min=1, max=65535, help="In place of the configuration's.")
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
        file = launch_file.read(path)
        if port is not None and port != file.port:
            file = file.with_port(port, state / "serve_config.yaml")
        steering = {proxy.IMPORT_PATH_VARIABLE: proxy.IMPORT_PATH}
        front = HaProxy(proxy.no_replica()) if haproxy else None
        gpus = loaded.app.simulated_gpus
        launch(Plan(file, state, timeout, lambda: _greeting(file, auth), steering, front, gpus), progress)
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


def _greeting(file: ServeFile, auth: AuthConfig) -> str:
    token = issue(auth, _TOKEN_SUBJECT, _TOKEN_ROLES, _TOKEN_EXPIRES_S)
    return banner.render(file.base_url, token, file.models)


def _fail(error: LaunchFailed) -> NoReturn:
    """One line, and below it what an engine or Ray has said."""
    errors.print(f"[bold red]error:[/] {error}", markup=True)
    for line in error.details:
        errors.print(f"       {line}", markup=False)
    raise typer.Exit(_FAILED_EXIT) from error
