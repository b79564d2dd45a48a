"""``python -m serve_app.cli`` is ``qwen-serve``."""

from serve_app.cli import app

app()
