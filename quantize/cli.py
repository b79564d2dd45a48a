"""The commands: ``qwen-serve quantize`` and ``python -m quantize compare``."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from quantize.errors import QuantizeError

TOO_MUCH_LOST = 1
BAD_INPUT = 2

_errors = Console(stderr=True, highlight=False, soft_wrap=True)
_output = Console(highlight=False, soft_wrap=True)

EvaluationFile = Annotated[
    Path | None,
    typer.Option(
        "--eval", help="Held-out texts and questions, JSON lines; default: the set that comes along."
    ),
]
MaxLoss = Annotated[str, typer.Option(help="Loss of perplexity or right answers that is allowed.")]
TensorParallel = Annotated[int, typer.Option(min=1, help="GPUs that the checkpoint is split over.")]

app = typer.Typer(
    name="quantize", help="Quantize checkpoints and compare them.", no_args_is_help=True, add_completion=False
)


@app.command()
def quantize(  # noqa: PLR0913, PLR0917  (a command has as many options as it has)
    source: Annotated[str, typer.Argument(help="Folder of a bf16 checkpoint, or the hub's id of a model.")],
    out: Annotated[Path, typer.Argument(help="Folder of the result; must not exist.")],
    bits: Annotated[int, typer.Option(help="Bits of a packed weight; 4.")] = 4,
    group_size: Annotated[int, typer.Option(help="Weights per scale: 32, 64 or 128.")] = 128,
    damp_percent: Annotated[float, typer.Option(help="Damping of the Hessian, 0 to 1.")] = 0.01,
    desc_act: Annotated[
        bool, typer.Option("--desc-act", help="Columns of largest activation first.")
    ] = False,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="JSON lines or text, a file or a data set of the hub; default: the set that comes along."
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Calibration samples at most.")] = 128,
    sequence_length: Annotated[int, typer.Option(min=16, help="Tokens of a sample at most.")] = 2048,
    tensor_parallel_size: TensorParallel = 1,
    pad: Annotated[bool, typer.Option("--pad", help="Fill intermediate_size up to whole groups.")] = False,
    seed: Annotated[int, typer.Option(help="Of the choice of samples.")] = 0,
    evaluation: EvaluationFile = None,
    max_loss: MaxLoss = "2%",
) -> None:
    """Quantize a checkpoint to INT4 by GPTQ, and measure what that loses."""
    # Importing torch takes seconds; a wrong option should not.
    from quantize import checks

    try:
        checks.check_bits(bits)
        allowed = share(max_loss)
        checks.check_free(out)
        _run(source, out, calibration, evaluation, allowed, {
            "group_size": group_size,
            "damp_percent": damp_percent,
            "desc_act": desc_act,
            "samples": samples,
            "sequence_length": sequence_length,
            "tensor_parallel_size": tensor_parallel_size,
            "pad": pad,
            "seed": seed,
        })  # fmt: skip
    except QuantizeError as error:
        _fail(str(error), BAD_INPUT)


def _run(  # noqa: PLR0913, PLR0917
    source: str,
    out: Path,
    calibration: str | None,
    evaluation: Path | None,
    max_loss: float,
    options: dict[str, object],
) -> None:
    from pydantic import ValidationError

    from quantize.hub import calibration_file, checkpoint_folder
    from quantize.pipeline import Job, TooMuchLost
    from quantize.pipeline import quantize as run
    from quantize.progress import Progress
    from quantize.settings import Settings

    try:
        settings = Settings.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise QuantizeError(f"--{option}: {first['msg']}") from error
    files = {"calibration": calibration_file(calibration) if calibration else None, "evaluation": evaluation}
    job = Job(
        checkpoint_folder(source),
        out,
        settings,
        max_loss,
        **{key: path for key, path in files.items() if path},
    )
    signal.signal(signal.SIGTERM, _stopped)
    try:
        manifest = run(job, Progress())
    except TooMuchLost as lost:
        _fail(str(lost), TOO_MUCH_LOST)
    except KeyboardInterrupt:
        _errors.print("stopped; the same command goes on where it stopped")
        raise typer.Exit(130) from None
    loss = manifest.loss
    _output.print(
        f"{out}: {manifest.sizes.linear_ratio:.1%} of the linear layers' memory, perplexity "
        f"{loss.perplexity_loss:+.2%}, {loss.right_candidate} of {loss.questions} questions right "
        f"({loss.right_reference} by the original)"
    )


@app.command()
def compare(  # noqa: PLR0913, PLR0917
    reference: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    candidate: Annotated[Path, typer.Argument(help="Folder of another, with the same vocabulary.")],
    evaluation: EvaluationFile = None,
    max_loss: MaxLoss = "2%",
    tensor_parallel_size: TensorParallel = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Compare two checkpoints through vLLM, on the same texts and questions."""
    from quantize.evaluation import DEFAULT, evaluate, read_set

    try:
        allowed = share(max_loss)
        items = read_set(evaluation or DEFAULT)
        loss = evaluate(reference, candidate, items, tensor_parallel_size=tensor_parallel_size)
    except QuantizeError as error:
        _fail(str(error), BAD_INPUT)
    if as_json:
        _output.print_json(loss.model_dump_json())
    else:
        table = Table("", reference.name, candidate.name)
        table.add_row(
            f"perplexity ({loss.perplexity_loss:+.2%})",
            f"{loss.perplexity_reference:.4f}",
            f"{loss.perplexity_candidate:.4f}",
        )
        table.add_row("likeliest token is the same", "", f"{loss.next_token_agreement:.2%}")
        table.add_row("KL divergence, mean", "", f"{loss.kl_divergence_mean:.2e} nats")
        table.add_row("KL divergence, 99th percentile", "", f"{loss.kl_divergence_p99:.2e} nats")
        right = f"questions right, of {loss.questions}"
        table.add_row(right, str(loss.right_reference), str(loss.right_candidate))
        table.add_row("answered in the same words", "", str(loss.same_answers))
        _output.print(table)
    excess = loss.excess(allowed)
    if excess:
        _fail(excess, TOO_MUCH_LOST)


def share(text: str) -> float:
    """``2%`` or ``0.02`` as a number.

    Raises:
        QuantizeError: It is neither, or not from 0 to 1.
    """
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise QuantizeError(f"--max-loss {text} is no share; give 2% or 0.02")
    return value


def _stopped(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> NoReturn:
    escaped = message.replace("[", r"\[")
    _errors.print(f"[bold red]error:[/] {escaped}")
    raise typer.Exit(code)
