"""The command line ``qwen-serve``."""

from __future__ import annotations

import typer

from quantize.cli import quantize
from serve_app.cli import key, limits, node
from serve_app.cli.audit import audit
from serve_app.cli.check import check
from serve_app.cli.configure import configure_command
from serve_app.cli.plan import plan_command
from serve_app.cli.secret import secret_command
from serve_app.cli.token import token
from serve_app.cli.up import apply, stop, up
from serve_app.cli.usage import usage_command

app = typer.Typer(
    name="qwen-serve",
    help="Serve Qwen models on your own hardware, behind an OpenAI-compatible API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(apply)
app.command()(stop)
app.command()(check)
app.command()(quantize)
app.command("plan")(plan_command)
app.command()(token)
app.command("secret")(secret_command)
app.command("configure")(configure_command)
app.add_typer(key.app, name="key")
app.add_typer(limits.app, name="limits")
app.add_typer(node.app, name="node")
app.command("usage")(usage_command)
app.add_typer(audit, name="audit")

__all__ = ["app"]
