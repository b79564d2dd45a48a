"""What a request asks of a simulated engine: prompts, lengths, how it ends; or vLLM's complaint about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ray.llm._internal.serve.core.configs.openai_api_models import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    ScoreRequest,
)
from vllm.entrypoints.serve.engine.protocol import PromptTokenUsageInfo, UsageInfo
from vllm.exceptions import VLLMValidationError

from deployments.simulated import prompt
from deployments.simulated.frames import Ending
from deployments.simulated.prompt import Prompt


def usage(
    prompt_tokens: int, output_tokens: int = 0, details: PromptTokenUsageInfo | None = None
) -> UsageInfo:
    """What a request uses, in vLLM's form."""
    return UsageInfo(
        prompt_tokens=prompt_tokens,
        completion_tokens=output_tokens,
        total_tokens=prompt_tokens + output_tokens,
        prompt_tokens_details=details,
    )


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer.

    Attributes:
        index: Its place among the answers of the request.
        prompt: What it answers.
        output_tokens: Its length.
    """

    index: int
    prompt: Prompt
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All answers of a request.

    Attributes:
        prompt_tokens: Of all its prompts, each counted once.
        choices: The answers, prompt by prompt.
        ending: How each of them ends, and their stream.
        seed: The request's own.
        details: Of the usage.
    """

    prompt_tokens: int
    choices: tuple[Choice, ...]
    ending: Ending
    seed: int | None
    details: PromptTokenUsageInfo

    @property
    def lengths(self) -> tuple[tuple[int, int], ...]:
        """Tokens of prompt and answer, for each answer."""
        return tuple((choice.prompt.tokens, choice.output_tokens) for choice in self.choices)

    @property
    def usage(self) -> UsageInfo:
        """What the whole of it uses."""
        output_tokens = sum(choice.output_tokens for choice in self.choices)
        return usage(self.prompt_tokens, output_tokens, self.details)


class Planner:
    """Turns requests into plans.

    Args:
        context_tokens: Prompt and answer together at most.
        default_output_tokens: Length of an answer where the request does not say.
    """

    def __init__(self, context_tokens: int, default_output_tokens: int) -> None:
        self._context_tokens = context_tokens
        self._default_output_tokens = default_output_tokens

    def chat(self, request: ChatCompletionRequest) -> Plan:
        """Plan a chat.

        Raises:
            ValueError: vLLM would refuse the request; its own VLLMValidationError where it names a field.
            NotImplementedError: vLLM would do it, the simulation cannot.
        """
        asked = request.max_completion_tokens
        if request.tool_choice not in (None, "none", "auto"):
            raise NotImplementedError("The simulated engine calls no tools; leave tool_choice at auto.")
        if request.logprobs:
            raise NotImplementedError("The simulated engine has no logprobs; leave them out.")
        prompts = [prompt.of_messages(request.messages)]
        asked = request.max_tokens if asked is None else asked
        return self._plan(
            request, prompts, asked, PromptTokenUsageInfo(cached_tokens=0, created_cache_tokens=0)
        )

    def completion(self, request: CompletionRequest) -> Plan:
        """Plan a completion; raises as ``chat`` does."""
        if request.prompt is None:
            raise NotImplementedError("The simulated engine takes no prompt_embeds; send a prompt.")
        if request.logprobs is not None:
            raise NotImplementedError("The simulated engine has no logprobs; leave them out.")
        details = PromptTokenUsageInfo(cached_tokens=0)
        return self._plan(request, prompt.of_input(request.prompt), request.max_tokens, details)

    def embedding(self, request: EmbeddingRequest) -> list[Prompt]:
        """The texts of an embeddings request; raises as ``chat`` does."""
        if request.encoding_format not in ("float", "base64"):
            raise NotImplementedError("The simulated engine encodes embeddings as float or base64.")
        prompts = prompt.of_input(request.input)
        self._check_context(prompts, 0)
        return prompts

    def pairs(self, request: ScoreRequest) -> list[tuple[Prompt, Prompt]]:
        """The pairs of a score request, one against many or each with its own; raises as ``chat`` does."""
        ones, others = prompt.of_documents(request.data_1), prompt.of_documents(request.data_2)
        if len(ones) == 1:
            ones *= len(others)
        if not others or len(ones) != len(others):
            raise VLLMValidationError("Score one text against many, or as many against as many.")
        pairs = list(zip(ones, others, strict=True))
        self._check_context([Prompt(one.tokens + other.tokens, 0) for one, other in pairs], 0)
        return pairs

    def _plan(
        self,
        request: ChatCompletionRequest | CompletionRequest,
        prompts: list[Prompt],
        asked: int | None,
        details: PromptTokenUsageInfo,
    ) -> Plan:
        options = request.stream_options
        if request.echo:
            raise NotImplementedError("The simulated engine does not echo prompts; leave echo out.")
        if options and options.continuous_usage_stats:
            raise NotImplementedError("The simulated engine reports usage at the end only.")
        self._check_context(prompts, 1 if asked is None else asked)
        room = self._context_tokens - max(each.tokens for each in prompts)
        output_tokens = min(self._default_output_tokens, room) if asked is None else asked
        # vLLM's own checks of temperature, n, stop, min_tokens, ...; none of them changes the answer here.
        params = request.to_sampling_params(output_tokens, {})
        if params.structured_outputs is not None:
            raise NotImplementedError("The simulated engine follows no schema; leave response_format out.")
        choices = [each for each in prompts for _ in range(params.n)]
        return Plan(
            prompt_tokens=sum(each.tokens for each in prompts),
            choices=tuple(Choice(i, each, output_tokens) for i, each in enumerate(choices)),
            ending=Ending("stop" if asked is None else "length", bool(options and options.include_usage)),
            seed=request.seed,
            details=details,
        )

    def _check_context(self, prompts: Sequence[Prompt], output_tokens: int) -> None:
        # The ingress knows the refusal by the words "maximum context length", which are vLLM's too.
        longest = max(each.tokens for each in prompts)
        if longest + output_tokens > self._context_tokens:
            raise VLLMValidationError(
                f"The maximum context length is {self._context_tokens} tokens; this request has {longest} in "
                f"a prompt and asks for {output_tokens}. Shorten either.",
                parameter="input_tokens",
                value=longest,
            )
