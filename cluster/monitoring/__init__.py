"""Prometheus' rules, and Grafana's dashboards as code: ``python -m cluster.monitoring`` writes their JSON."""
