"""Weights by hand: `python -m deployments.weights manifest|publish|verify|fetch ...`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.weights.config import S3Config, WeightsConfig
from deployments.weights.errors import WeightsError
from deployments.weights.manifest import MANIFEST_FILE, Manifest, parse_manifest
from deployments.weights.store import ModelStore


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, or 1 with one line that says what is wrong.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return int(options.run(options))
    except WeightsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _manifest(options: argparse.Namespace) -> int:
    content = Manifest.of_folder(options.folder).to_bytes()
    (options.folder / MANIFEST_FILE).write_bytes(content)
    sys.stdout.write(f"{options.folder / MANIFEST_FILE}\n")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from deployments.weights.publish import publish

    manifest = publish(options.folder, options.destination, _config(options), replace=options.replace)
    sys.stdout.write(f"{options.destination}: {len(manifest.files)} files\n")
    return 0


def _verify(options: argparse.Namespace) -> int:
    path = options.folder / MANIFEST_FILE
    if not path.is_file():
        sys.stderr.write(f"error: {path}: no manifest; make it with python -m deployments.weights manifest\n")
        return 1
    faults = list(parse_manifest(path.read_bytes(), str(path)).faults(options.folder))
    sys.stdout.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def _fetch(options: argparse.Namespace) -> int:
    with ModelStore(_config(options)).ensure(options.source) as folder:
        sys.stdout.write(f"{folder}\n")
    return 0


def _config(options: argparse.Namespace) -> WeightsConfig:
    given = {"cache_dir": options.cache_dir} if options.cache_dir else {}
    s3 = S3Config(
        endpoint_url=options.endpoint_url,
        region=options.region,
        credentials_file=options.credentials_file,
    )
    return WeightsConfig(s3=s3, **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deployments.weights", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    s3 = argparse.ArgumentParser(add_help=False)
    s3.add_argument(
        "--endpoint-url", help="address of the S3 service; default: AWS_ENDPOINT_URL, or Amazon's"
    )
    s3.add_argument("--region", help="region of the bucket")
    s3.add_argument(
        "--credentials-file", type=Path, help="credentials in the AWS form; default: the environment"
    )
    s3.add_argument("--cache-dir", type=Path, help="folder of the cache")

    made = commands.add_parser("manifest", help=f"write {MANIFEST_FILE} into a checkpoint folder")
    made.add_argument("folder", type=Path)
    made.set_defaults(run=_manifest)
    published = commands.add_parser(
        "publish", parents=[s3], help="upload a checkpoint folder with its manifest"
    )
    published.add_argument("folder", type=Path)
    published.add_argument("destination", help="s3://bucket/model")
    published.add_argument("--replace", action="store_true", help="replace another model that is there")
    published.set_defaults(run=_publish)
    verified = commands.add_parser("verify", help="compare a folder with its manifest, every byte")
    verified.add_argument("folder", type=Path)
    verified.set_defaults(run=_verify)
    fetched = commands.add_parser("fetch", parents=[s3], help="bring a model into this machine's cache")
    fetched.add_argument("source", help="s3://bucket/model, hf://owner/name, modelscope://owner/name")
    fetched.set_defaults(run=_fetch)
    return parser


if __name__ == "__main__":
    sys.exit(main())
