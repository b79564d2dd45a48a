"""``qwen-serve plan``: what hardware models take, what it gives, what it costs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console

from cluster.plan import catalogue, listing, plan, plot, recommendation, report, requirements
from cluster.plan import tables as plan_tables
from cluster.plan.failure import PlanFailed
from cluster.plan.plan import Plan
from cluster.plan.requirements import Assumptions, ModelRequirement, Requirements
from cluster.plan.roofline import Efficiency
from cluster.plan.subject import QUANTIZATIONS
from serve_app.cli import table
from serve_app.cli.console import fail, warn
from serve_app.serve_file import ServeFileError, load

_PIPE_WIDTH = 240
_OPTIONS = {
    "context_tokens": "context",
    "first_token_s": "first-token",
    "gpus_per_machine": "machine-gpus",
    "bandwidth": "bandwidth-efficiency",
    "compute": "compute-efficiency",
}
"""Options whose name is not their key's."""


def plan_command(  # noqa: PLR0913, PLR0917  (its options)
    file: Annotated[
        Path | None, typer.Argument(help="A Serve configuration: what do its models get of their GPUs?")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model: qwen2.5-72b, or a checkpoint folder.")] = None,
    requirements_file: Annotated[
        Path | None, typer.Option("--requirements", help="A file with models, loads and the objective.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="none or gptq-int4; default: whichever costs less.")
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="On this GPU; default: the cheapest.")] = None,
    context: Annotated[int | None, typer.Option(help="Longest request, tokens; default: 8192.")] = None,
    concurrent: Annotated[
        int | None, typer.Option(help="Requests of that length with room at the same time.")
    ] = None,
    requests_per_second: Annotated[float | None, typer.Option(help="Arrivals at the peak.")] = None,
    prompt_tokens: Annotated[int, typer.Option(help="Mean prompt.")] = requirements.DEFAULT_PROMPT_TOKENS,
    output_tokens: Annotated[int, typer.Option(help="Mean answer.")] = requirements.DEFAULT_OUTPUT_TOKENS,
    first_token: Annotated[
        float, typer.Option(help="95% of the first tokens come within so many seconds.")
    ] = 2.0,
    machine_gpus: Annotated[
        int | None, typer.Option(help="GPUs of a machine; default: 4 of PCIe, 8 of SXM.")
    ] = None,
    bandwidth_efficiency: Annotated[
        float, typer.Option(help="Part of the memory's bandwidth that decoding reaches.")
    ] = Efficiency().bandwidth,
    compute_efficiency: Annotated[
        float, typer.Option(help="Part of the dense peak that prefill reaches.")
    ] = Efficiency().compute,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown.")] = False,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", help="Draw cost against load into this PNG.")
    ] = None,
    models_yaml: Annotated[
        Path | None, typer.Option(help="Write the models: section there, rather than show it.")
    ] = None,
    tables: Annotated[
        bool, typer.Option("--tables", help="Show the tables of GPUs, models and prices instead.")
    ] = False,
) -> None:
    """Work out what hardware models take: GPUs, replicas, speed, waiting, cost."""
    output = _Output(as_json, as_markdown, plot_file, models_yaml)
    if sum((file is not None, model is not None, requirements_file is not None, tables)) != 1:
        fail("give one of: a Serve configuration, --model, --requirements, --tables")
    try:
        if tables:
            output.show_sections(listing.sections())
        elif file is not None:
            output.show_review(file)
        elif requirements_file is not None:
            output.show(plan.make(requirements.load(requirements_file)))
        else:
            wanted = {
                "name": model,
                "quantization": _quantization(quantization),
                "gpu": gpu and plan_tables.gpu(gpu).name,
                "context_tokens": context,
                "concurrent": concurrent or (None if requests_per_second else 1),
                "requests_per_second": requests_per_second,
                "prompt_tokens": prompt_tokens,
                "output_tokens": output_tokens,
            }
            efficiency = {"bandwidth": bandwidth_efficiency, "compute": compute_efficiency}
            output.show(plan.make(_requirements(wanted, first_token, machine_gpus, efficiency)))
    except PlanFailed as error:
        fail(str(error))


def _quantization(given: str | None) -> str | None:
    if given is not None and given not in QUANTIZATIONS:
        fail(f"no quantization {given!r}; use {' or '.join(QUANTIZATIONS)}")
    return given


def _requirements(
    wanted: dict[str, Any], first_token_s: float, machine_gpus: int | None, efficiency: dict[str, float]
) -> Requirements:
    names = plan_tables.gpus() if machine_gpus is not None else ()
    try:
        return Requirements(
            models=(ModelRequirement.model_validate(wanted),),
            objective=requirements.Objective(first_token_s=first_token_s),
            gpus_per_machine=dict.fromkeys(names, machine_gpus or 0),
            efficiency=Efficiency(**efficiency),
        )
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = str(detail["loc"][0]) if detail["loc"] else "options"
        option = "--" + _OPTIONS.get(key, key.replace("_", "-"))
        fail(f"{option}: {detail['msg'].removeprefix('Value error, ')}, not {detail['input']!r}")


@dataclass(frozen=True)
class _Output:
    """Where results go."""

    as_json: bool
    as_markdown: bool
    plot_file: Path | None
    models_yaml: Path | None

    def show(self, made: Plan) -> None:
        remarks = list(report.notes(made))
        if self.plot_file is not None:
            plot.draw(made, self.plot_file)
        section = recommendation.text(made)
        if self.models_yaml is not None:
            _write(self.models_yaml, section)
        if self.as_json:
            table.show_json({**report.as_json(made), "configuration": recommendation.section(made)})
            return
        self._print(report.sections(made), remarks)
        if self.models_yaml is None:
            typer.echo(f"```yaml\n{section}```" if self.as_markdown else section)

    def show_review(self, file: Path) -> None:
        """What the models of a configuration get."""
        try:
            app = load(file).app
        except ServeFileError as error:
            fail(str(error))
        if self.models_yaml is not None:
            fail("the file has its models already; --models-yaml goes with --model and --requirements")
        found = catalogue.review(app.models, app.accelerators, Assumptions())
        if self.plot_file is not None:
            fail("a configuration says no load; --plot goes with --model and --requirements")
        for line in found.outside:
            warn(f"left out: {line}")
        if self.as_json:
            table.show_json({**report.as_json(found.plan), "left_out": list(found.outside)})
            return
        self._print(report.sections(found.plan), list(report.notes(found.plan)))

    def show_sections(self, sections: Sequence[report.Section]) -> None:
        if self.as_json:
            table.show_json(
                {
                    one.title: [dict(zip(one.columns, row, strict=True)) for row in one.rows]
                    for one in sections
                }
            )
            return
        self._print(sections, ())

    def _print(self, sections: Sequence[report.Section], remarks: Sequence[str]) -> None:
        if self.as_markdown:
            typer.echo(report.markdown(sections, remarks))
            return
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
        report.print_rich(sections, remarks, Console(width=width, highlight=False))


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")
