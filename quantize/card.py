"""The card of a quantized checkpoint: its README, for people."""

from __future__ import annotations

from collections.abc import Iterable

from quantize.manifest import Manifest

_GIB = 1024**3
_MIB = 1024**2


def card(name: str, manifest: Manifest) -> str:
    """The card in Markdown.

    Args:
        name: Of the result's folder.
        manifest: What is to be said.
    """
    return f"""# {name}

{manifest.source.name} ({manifest.source.architecture}) in INT4 by GPTQ, made by `qwen-serve quantize`.
vLLM loads it as it is; in qwen-serve set `quantization: gptq-int4` and
`group_size: {manifest.settings.group_size}`. All figures are in `manifest.json`.

## Loss

Measured through vLLM on {manifest.loss.tokens:,} held-out tokens and {manifest.loss.questions} questions of
`{manifest.loss.file}`.

{_table(("", "original", "INT4"), _losses(manifest))}

## Size

{_table(("", "original", "INT4"), _sizes(manifest))}

## How it was made

{_table(("", ""), _settings(manifest))}

## Layers of largest error

Squared error of the layer's output over the output's square, on the calibration data; all layers are in
`layer-error.png`.

{_table(("layer", "error"), ((f"`{e.name}`", f"{e.relative_error:.2e}") for e in manifest.worst()))}
"""


def _losses(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    loss = manifest.loss
    bound = "" if loss.kl_divergence_mean == 0 else f" (the {loss.top_tokens:,} likeliest tokens told apart)"
    yield (
        f"perplexity ({loss.perplexity_loss:+.2%})",
        f"{loss.perplexity_reference:.4f}",
        f"{loss.perplexity_candidate:.4f}",
    )
    yield "likeliest next token is the same", "", f"{loss.next_token_agreement:.2%}"
    yield f"KL divergence{bound}, mean, nats", "", f"{loss.kl_divergence_mean:.2e}"
    yield "KL divergence, 99th percentile, nats", "", f"{loss.kl_divergence_p99:.2e}"
    yield "questions answered exactly", str(loss.right_reference), str(loss.right_candidate)
    yield "answered in the same words", "", str(loss.same_answers)


def _sizes(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    sizes = manifest.sizes
    yield "all tensors", _size(sizes.source), f"{_size(sizes.result)} ({sizes.result / sizes.source:.1%})"
    yield (
        "linear layers of the blocks",
        _size(sizes.linear_before),
        f"{_size(sizes.linear_after)} ({sizes.linear_ratio:.1%})",
    )


def _settings(manifest: Manifest) -> Iterable[tuple[str, ...]]:
    settings, data, cost = manifest.settings, manifest.calibration, manifest.cost
    order = "act order" if settings.desc_act else "columns in place"
    yield "bits, group size", f"{settings.bits}, {settings.group_size}"
    yield "damping, order", f"{settings.damp_percent}, {order}"
    yield "tensor parallel", f"up to {settings.tensor_parallel_size}"
    if manifest.padding:
        yield (
            "intermediate size",
            f"padded from {manifest.padding.before} to {manifest.padding.after} by zeros",
        )
    yield (
        "calibration",
        f"{data.samples} samples, {data.tokens:,} tokens of `{data.file}`, seed {settings.seed}",
    )
    yield "time", f"{cost.seconds:,.0f} s on {cost.machine}"
    yield (
        "peak memory",
        _size(cost.peak_host_bytes)
        + (f" on the host, {_size(cost.peak_gpu_bytes)} on the GPU" if cost.peak_gpu_bytes else ""),
    )
    yield "made with", ", ".join(f"{tool} {number}" for tool, number in manifest.tools.items())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:.2f} MiB"
