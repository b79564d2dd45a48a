"""Images in chat messages: fetched, verified and inlined before the engine sees them."""

from serve_app.images.inliner import ImageInliner
from serve_app.images.policy import ImagePolicy

__all__ = ["ImageInliner", "ImagePolicy"]
