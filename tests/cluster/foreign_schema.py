"""What we use of kinds that are neither Kubernetes' nor KubeRay's, from their projects' references.

No package carries these CRDs in a form that installs here, so these are our own, closed: a misspelt key, a
value out of the range, a wrong type fails. A key that the chart begins to use must be added here, from the
reference.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

_TEXT = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_HOST = {"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
_DURATION = {"type": "string", "pattern": r"^([0-9]+(h|m|s|ms))+$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_LABELS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}}


def _map(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others; a trailing underscore keeps Python's own words apart."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {name.rstrip("_"): schema for name, schema in properties.items()},
    }


def _list(items: dict[str, Any], least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


def _enum(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


_CERTIFICATE = _map(
    ("secretName", "dnsNames", "issuerRef"),
    secretName=_NAME,
    dnsNames=_list(_HOST),
    duration=_DURATION,
    renewBefore=_DURATION,
    privateKey=_map(
        algorithm=_enum("RSA", "ECDSA", "Ed25519"),
        size={"enum": [256, 384, 521, 2048, 3072, 4096, 8192]},
        rotationPolicy=_enum("Never", "Always"),
    ),
    usages=_list(_enum("digital signature", "key encipherment", "server auth", "client auth")),
    issuerRef=_map(
        ("name",), group=_enum("cert-manager.io"), kind=_enum("Issuer", "ClusterIssuer"), name=_NAME
    ),
)

_POD_MONITOR = _map(
    ("selector", "podMetricsEndpoints"),
    jobLabel=_TEXT,
    selector=_map(("matchLabels",), matchLabels=_LABELS),
    namespaceSelector=_map(("matchNames",), matchNames=_list(_NAME)),
    podTargetLabels=_list(_TEXT),
    podMetricsEndpoints=_list(
        _map(("port",), port=_NAME, interval=_DURATION, path=_TEXT, scheme=_enum("http", "https"))
    ),
)

_RULE: dict[str, Any] = {
    **_map(
        ("expr",),
        alert=_TEXT,
        record={"type": "string", "pattern": r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"},
        expr={"type": ["string", "integer"]},
        for_=_DURATION,
        keep_firing_for=_DURATION,
        labels=_LABELS,
        annotations=_LABELS,
    ),
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
}

_PROMETHEUS_RULE = _map(
    ("groups",),
    groups=_list(
        _map(("name", "rules"), name=_TEXT, interval=_DURATION, limit={"type": "integer"}, rules=_list(_RULE))
    ),
)

_GATEWAY = _map(
    ("gatewayClassName", "listeners"),
    gatewayClassName=_NAME,
    listeners=_list(
        _map(
            ("name", "port", "protocol"),
            name=_NAME,
            hostname=_HOST,
            port=_PORT,
            protocol=_enum("HTTP", "HTTPS", "TLS", "TCP", "UDP"),
            tls=_map(
                mode=_enum("Terminate", "Passthrough"),
                certificateRefs=_list(_map(("name",), kind=_enum("Secret"), name=_NAME)),
            ),
            allowedRoutes=_map(namespaces=_map(from_=_enum("All", "Same", "Selector"))),
        )
    ),
)

_HTTP_ROUTE = _map(
    ("parentRefs", "rules"),
    hostnames=_list(_HOST),
    parentRefs=_list(_map(("name",), name=_NAME, sectionName=_NAME)),
    rules=_list(
        _map(
            matches=_list(
                _map(
                    path=_map(
                        ("type", "value"),
                        type=_enum("Exact", "PathPrefix", "RegularExpression"),
                        value={"type": "string", "pattern": "^/"},
                    )
                )
            ),
            backendRefs=_list(_map(("name", "port"), name=_NAME, port=_PORT)),
            timeouts=_map(request=_DURATION, backendRequest=_DURATION),
        )
    ),
)

_CLIENT_TRAFFIC_POLICY = _map(
    ("targetRefs",),
    targetRefs=_list(
        _map(
            ("group", "kind", "name"),
            group=_enum("gateway.networking.k8s.io"),
            kind=_enum("Gateway"),
            name=_NAME,
            sectionName=_NAME,
        )
    ),
    tls=_map(
        minVersion=_enum("Auto", "1.0", "1.1", "1.2", "1.3"),
        maxVersion=_enum("Auto", "1.0", "1.1", "1.2", "1.3"),
        alpnProtocols=_list(_enum("h2", "http/1.1", "http/1.0")),
    ),
)

_TLS_OPTION = _map(
    minVersion=_enum("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"),
    maxVersion=_enum("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"),
    sniStrict={"type": "boolean"},
    alpnProtocols=_list(_TEXT),
)

_SPECS = {
    "cert-manager.io/v1/Certificate": _CERTIFICATE,
    "monitoring.coreos.com/v1/PodMonitor": _POD_MONITOR,
    "monitoring.coreos.com/v1/PrometheusRule": _PROMETHEUS_RULE,
    "gateway.networking.k8s.io/v1/Gateway": _GATEWAY,
    "gateway.networking.k8s.io/v1/HTTPRoute": _HTTP_ROUTE,
    "gateway.envoyproxy.io/v1alpha1/ClientTrafficPolicy": _CLIENT_TRAFFIC_POLICY,
    "traefik.io/v1alpha1/TLSOption": _TLS_OPTION,
}


def knows(item: dict[str, Any]) -> bool:
    return f"{item['apiVersion']}/{item['kind']}" in _SPECS


def problems(item: dict[str, Any]) -> list[str]:
    """What does not fit, with its path."""
    schema = _map(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion=_TEXT,
        kind=_TEXT,
        metadata=_map(("name",), name=_NAME, namespace=_NAME, labels=_LABELS, annotations=_LABELS),
        spec=_SPECS[f"{item['apiVersion']}/{item['kind']}"],
    )
    errors = Draft202012Validator(schema).iter_errors(item)
    return [f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in errors]
