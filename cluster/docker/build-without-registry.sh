#!/bin/sh
# The image of Dockerfile.cpu where no registry of images can be reached: only a mirror of Debian and an index for pip.
# Needs root on Debian 12: apt-get install buildah mmdebstrap. From the repository's root:
#   cluster/docker/build-without-registry.sh APT_SOURCES PIP_CONF [option of `buildah bud` ...]
# APT_SOURCES is a .list or .sources file that names the mirror, for instance /etc/apt/sources.list.
# A certificate of your own for pip: -v /path/ca.crt:/path/ca.crt:ro, with `cert = /path/ca.crt` in PIP_CONF.
set -eu
if [ $# -lt 2 ] || [ ! -r "$1" ] || [ ! -r "$2" ]; then
    echo "usage: $0 APT_SOURCES PIP_CONF [option of \`buildah bud\` ...]; both files must be readable" >&2
    exit 2
fi
sources=$1 pip_conf=$2 base=localhost/qwen-serve-base:bookworm
shift 2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
# What the Dockerfile takes from the official Python image: Python with venv and its headers, called python.
# shellcheck disable=SC2016  (mmdebstrap fills $1)
mmdebstrap --variant=minbase --include=ca-certificates,python3-dev,python3-venv \
    --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"' bookworm "$folder/base.tar" "$sources"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/base.tar" / >/dev/null
buildah commit --quiet --rm "$container" "$base" >/dev/null
rm "$folder/base.tar"

buildah bud --isolation chroot --pull-never --format docker --build-arg "PYTHON_IMAGE=$base" \
    --secret "id=pip,src=$pip_conf" "$@" -f cluster/docker/Dockerfile.cpu -t localhost/qwen-serve-cpu:0.1.0 .
