"""``/admin/v1``: the platform as an administrator sees it."""

from serve_app.routes.admin.api import routes

__all__ = ["routes"]
