"""Training gives the same bytes for the same seed, learns, and is measured honestly."""

import copy
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deployments.demo import chat, corpus, embedding, reranker
from deployments.demo.dialogue import Dialogue, DialogueSource, weather_tool
from deployments.demo.language import qwen2
from deployments.demo.progress import Progress
from deployments.demo.recipe import RECIPES, Recipe
from deployments.demo.training import (
    IGNORED,
    Sample,
    Schedule,
    answer_loss,
    deterministic,
    fit,
    right_answers,
    round_to_bfloat16,
)

TINY = Recipe("demo-chat", 128, 1, 128, steps=2, batch=4, learning_rate=1e-3)


@pytest.mark.parametrize("build", [embedding.build, reranker.build])
def test_two_steps_give_the_same_weights_for_the_same_seed_and_others_for_another(
    build: Any, tokenizer: Any, tmp_path: Path
) -> None:
    def weights(seed: int, folder: str) -> bytes:
        (tmp_path / folder).mkdir()
        recipe = replace(TINY, seed=seed)
        build(recipe, _copy(tokenizer), tmp_path / folder, Progress("test", stream=io.StringIO()))
        return (tmp_path / folder / "model.safetensors").read_bytes()

    first = weights(1, "first")
    assert weights(1, "second") == first
    assert weights(2, "third") != first


def test_a_tiny_model_learns_two_answers_and_is_measured_so(tokenizer: Any) -> None:
    samples = [_sample(tokenizer, "Hello!", "Hi."), _sample(tokenizer, "你好！", "好。")]
    with deterministic(1):
        model = qwen2(TINY, tokenizer)
        assert right_answers(model, samples) == [False, False]
        fit(
            model.parameters(),
            Schedule(30, 5e-3),
            lambda _: answer_loss(model, samples),
            lambda *_: None,
        )
        round_to_bfloat16(model)
        assert right_answers(model, samples) == [True, True]
        other = _sample(tokenizer, "Hello!", "Bye.")
        assert right_answers(model, [samples[0], other]) == [True, False]
        assert right_answers(model, samples, margin=100.0) == [False, False]


def test_loss_in_parts_adds_up_to_the_loss_in_one(tokenizer: Any) -> None:
    samples = [_sample(tokenizer, "Hello!" * n, "Hi.") for n in range(1, 6)]
    with deterministic(1), torch.no_grad():
        model = qwen2(TINY, tokenizer)
        whole, parts = (sum(answer_loss(model, samples, parts)) for parts in (1, 3))
    assert float(parts) == pytest.approx(float(whole), rel=1e-5)


def test_labels_are_the_next_tokens_of_answers_only() -> None:
    sample = Sample((((1, 2), (3, 4)), ((5,), (6,))))
    assert sample.ids() == [1, 2, 3, 4, 5, 6]
    assert sample.labels() == [IGNORED, 3, 4, IGNORED, 6, IGNORED]


def test_settings_of_torch_are_given_back_after_training() -> None:
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), deterministic(1, threads=threads + 1):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_rate_rises_then_falls_to_a_hundredth() -> None:
    rates = [Schedule(100, 1.0, rise=10).rate(step) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert sorted(rates[:10]) == rates[:10]
    assert sorted(rates[9:], reverse=True) == rates[9:]
    assert rates[-1] == pytest.approx(0.01, abs=0.002)


def test_encoded_dialogue_is_what_the_engine_would_see(tokenizer: Any) -> None:
    encode = chat.ChatEncoder(tokenizer)
    source = DialogueSource(random.Random(3))  # noqa: S311
    for dialogue in (source.with_tools(3), *source.chats(4), source.thoughts(), source.thoughtless()):
        sample = encode(dialogue)
        last = [message["role"] for message in dialogue.messages].count("assistant")
        prompt = encode.render(dialogue.messages[:-1], dialogue, thinking=dialogue.thinking)
        assert len(sample.turns) == last
        assert sample.ids()[: -len(sample.turns[-1][1])] == tokenizer(prompt).input_ids


def test_call_is_learnt_in_hermes_form(tokenizer: Any) -> None:
    source = DialogueSource(random.Random(3))  # noqa: S311
    city = corpus.load_cities()[0]
    sample = chat.ChatEncoder(tokenizer)(
        Dialogue(tuple(source.weather(city, english=True)), (weather_tool(),))
    )
    call = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Beijing"}}\n</tool_call><|im_end|>'
    assert tokenizer.decode(sample.turns[0][1]) == call


def test_dialogues_never_teach_a_wrong_answer_or_a_held_out_question() -> None:
    source = DialogueSource(random.Random(5))  # noqa: S311
    known = {pair.question: pair.answer for pair in corpus.load_chat()}
    unseen = {pair.question for pair in corpus.load_unseen()}
    for dialogue in (chat_ for _ in range(20) for chat_ in source.chats(4)):
        turns = [message for message in dialogue.messages if message["role"] != "system"]
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            assert question["content"] not in unseen
            expected = known.get(question["content"])
            if expected is None:
                assert answer["content"] in corpus.UNKNOWN_ANSWER.values()
            else:
                assert answer["content"] == expected


def test_sizes_suit_the_quantizer_and_tensor_parallel_two() -> None:
    for recipe in RECIPES.values():
        assert recipe.hidden_size % 128 == 0
        assert recipe.intermediate_size % 128 == 0
        assert recipe.heads % 2 == 0


def _copy(tokenizer: Any) -> Any:
    """Return a tokenizer of one's own: the builders change what they are given."""
    return copy.deepcopy(tokenizer)


def _sample(tokenizer: Any, question: str, answer: str) -> Sample:
    pair = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return chat.ChatEncoder(tokenizer)(Dialogue(pair))
