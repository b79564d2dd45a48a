"""The audit: one record for each request, in chains of lines that nobody can change unseen."""

from serve_app.audit.config import AuditConfig
from serve_app.audit.log import Audit, AuditUnavailable
from serve_app.audit.record import AuditRecord, Outcome

__all__ = ["Audit", "AuditConfig", "AuditRecord", "AuditUnavailable", "Outcome"]
