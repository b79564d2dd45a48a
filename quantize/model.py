"""The model with one block in memory: what it makes of a sample before the first block, then block by block.

transformers' own classes compute, so a family's attention, position embedding and vision tower are theirs.
The model is made with a single block, which takes the weights of each block in turn.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.layout import Layout
from quantize.padding import pad

Arguments = dict[str, Any]
"""What the model calls a block with beside the hidden states: position embeddings, masks."""


class _Reached(Exception):
    """The part of interest has run; the rest of the pass is not needed."""


class StreamedModel:
    """A model whose blocks are read from the disk one at a time.

    Args:
        checkpoint: The checkpoint.
        layout: Where it keeps what.
        intermediate_size: Of the blocks, padding included.
        device: Where it computes.
    """

    def __init__(
        self, checkpoint: Checkpoint, layout: Layout, intermediate_size: int, device: torch.device
    ) -> None:
        self._checkpoint = checkpoint
        self._layout = layout
        self._intermediate_size = intermediate_size
        self._device = device
        self._model = _with_one_block(checkpoint.folder, intermediate_size, _dtype(checkpoint, layout))
        self.block: nn.Module = _language_model(self._model).layers[0]

    def embed(self, samples: Iterator[Mapping[str, Tensor]]) -> Iterator[tuple[Tensor, Arguments]]:
        """Each sample as the first block would get it: hidden states ``[1, tokens, hidden]`` and arguments.

        The embedding and the vision tower are in memory until the last sample.
        """
        model = self._model
        self._load_entry()
        model.to(self._device)
        caught: list[tuple[Tensor, Arguments]] = []

        def catch(_: nn.Module, args: tuple[Any, ...], kwargs: Arguments) -> None:
            kwargs = dict(kwargs)
            hidden = args[0] if args else kwargs.pop("hidden_states")
            caught.append((hidden, kwargs))
            raise _Reached

        with _hooked(self.block, catch), torch.inference_mode():
            for sample in samples:
                try:
                    model(**{key: value.to(self._device) for key, value in sample.items()}, use_cache=False)
                except _Reached:
                    yield caught.pop()
        _language_model(model).embed_tokens = None
        if self._layout.vision_prefix:
            model.visual = None

    def load_block(self, index: int) -> None:
        """Give the block the weights of that index, padded."""
        prefix = self._layout.block(index)
        state = {}
        for name in self._checkpoint.tensors:
            if name.startswith(prefix):
                short = name.removeprefix(prefix)
                state[short] = pad(short, self._checkpoint.read(name), self._intermediate_size)
        lost = self.block.load_state_dict(state, strict=False, assign=True)
        missing = [name for name in lost.missing_keys if "rotary" not in name]
        if missing:
            raise QuantizeError(
                f"{self._checkpoint.folder} has no tensor {prefix}{missing[0]}; copy it again"
            )
        self.block.requires_grad_(False).to(self._device)

    def run(self, hidden: Tensor, arguments: Arguments) -> Tensor:
        """The block's output ``[1, tokens, hidden]``, on the CPU."""
        with torch.inference_mode():
            output = self.block(hidden.to(self._device), **arguments)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states.cpu()

    def watch(
        self,
        name: str,
        see: Callable[[Tensor, Tensor], None],
        samples: Iterator[tuple[Tensor, Arguments]],
    ) -> None:
        """Run the samples through the block as far as one of its linear layers, and show what this reads.

        Args:
            name: The layer.
            see: Called with its input and output.
            samples: Hidden states and arguments.
        """

        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            see(args[0], output)
            raise _Reached

        handle = self.linear(name).register_forward_hook(hook)
        try:
            for hidden, arguments in samples:
                with contextlib.suppress(_Reached):
                    self.run(hidden, arguments)
        finally:
            handle.remove()

    def linear(self, name: str) -> nn.Linear:
        """A linear layer of the block."""
        layer = self.block.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        return layer

    def _load_entry(self) -> None:
        """The embedding's weights and the vision tower's."""
        language = _language_model(self._model)
        language.embed_tokens.weight = nn.Parameter(
            self._checkpoint.read(self._layout.embedding), requires_grad=False
        )
        prefix = self._layout.vision_prefix
        if prefix is None:
            return
        names = [name for name in self._checkpoint.tensors if name.startswith(prefix)]
        state = {name.removeprefix(prefix): self._checkpoint.read(name) for name in names}
        self._model.visual.load_state_dict(state, assign=True)


def _with_one_block(folder: Path, intermediate_size: int, dtype: torch.dtype) -> Any:
    """The model without its output matrix, its weights yet to come."""
    from transformers import AutoConfig, AutoModel
    from transformers.initialization import no_init_weights

    try:
        config = copy.deepcopy(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise QuantizeError(f"{folder}: config.json is not understood ({_line(error)})") from error
    text = config.get_text_config()
    text.num_hidden_layers, text.intermediate_size = 1, intermediate_size
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    with no_init_weights():
        return AutoModel.from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


def _language_model(model: Any) -> Any:
    return getattr(model, "language_model", model)


def _dtype(checkpoint: Checkpoint, layout: Layout) -> torch.dtype:
    stored = checkpoint.tensors[f"{layout.linear(0, 'mlp.down_proj')}.weight"].dtype
    known = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}
    if stored not in known:
        raise QuantizeError(f"weights of type {stored} are not known; use a checkpoint in bfloat16")
    return known[stored]


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
