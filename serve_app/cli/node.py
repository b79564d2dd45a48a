"""``qwen-serve node``: a bare machine of a cluster that `ray start` joins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.local import serve_file as launch_file
from cluster.local.failure import LaunchFailed
from cluster.local.haproxy import HaProxy
from cluster.local.tls import secure
from cluster.ray.node import prepare, watch_certificates
from serve_app import proxy
from serve_app.cli.console import fail
from serve_app.serve_file import ServeFileError, load

app = typer.Typer(help="A machine of a cluster that `ray start` joins.", no_args_is_help=True)

_Config = Annotated[Path, typer.Option(help="The cluster's Serve configuration.")]
_Folder = Annotated[Path, typer.Option(help="For HAProxy's files; for its owner only.")]
_FOLDER = Path("/var/lib/qwen-serve/haproxy")


@app.command("prepare")
def prepare_command(config: _Config, folder: _Folder = _FOLDER) -> None:
    """Write what Ray needs to serve by HAProxy, and print the file with the variables for `ray start`."""
    try:
        variables = {proxy.IMPORT_PATH_VARIABLE: proxy.IMPORT_PATH}
        typer.echo(prepare(launch_file.read(config), _front(config), folder, variables))
    except (ServeFileError, LaunchFailed) as error:
        fail(str(error))


@app.command()
def certificates(config: _Config, folder: _Folder = _FOLDER) -> None:
    """Hand changed certificates to HAProxy, as long as this runs."""
    try:
        watch_certificates(_front(config), folder, typer.echo)
    except (ServeFileError, LaunchFailed) as error:
        fail(str(error))


def _front(config: Path) -> HaProxy:
    app_config = load(config).app
    if app_config.tls is None:
        return HaProxy(proxy.no_replica())
    if app_config.tls.certificate_file is None:
        raise LaunchFailed(f"{config}: tls.certificate_file: a cluster needs one; set it and key_file")
    host = launch_file.read(config).host
    return HaProxy(proxy.no_replica(), secure(app_config.tls.model_dump(), host, Path()))
