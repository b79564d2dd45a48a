"""``python -m quantize``."""

from quantize.cli import app

if __name__ == "__main__":
    app()
