# What the units have from EnvironmentFile, for a shell: `. environment.sh`.
set -a
. /etc/qwen-serve/ray.env
. "$(/opt/qwen-serve/.venv/bin/qwen-serve node prepare --config /etc/qwen-serve/serve_config.yaml)"
set +a
PATH=/opt/qwen-serve/.venv/bin:$PATH
