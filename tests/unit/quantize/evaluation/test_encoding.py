"""Token ids: what counts, what is cut, and what the model cannot take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantize.checkpoint import Checkpoint
from quantize.errors import QuantizeError
from quantize.evaluation import read_set
from quantize.evaluation.encoding import encode
from quantize.evaluation.job import Job
from tests.unit.quantize.tiny import write_checkpoint
from tests.unit.quantize.tokenizers import write_tokenizer

_ASKED = {"role": "user", "content": "Which fox jumps?"}
_ANSWERED = {"role": "assistant", "content": "The quick brown fox."}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a context of 128 tokens."""
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder, vocab_size=320, max_position_embeddings=128)
    return write_tokenizer(folder)


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


def _encode(model: Path, folder: Path, *rows: dict[str, Any]) -> Job:
    path = folder / "evaluation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return encode(read_set(path), Checkpoint(model), 1, folder)


def test_all_tokens_of_a_text_count_but_the_first(model: Path, tokenizer: Any, tmp_path: Path) -> None:
    (sequence,) = _encode(model, tmp_path, {"text": "The quick brown fox."}).sequences
    assert list(sequence.token_ids) == tokenizer("The quick brown fox.").input_ids
    assert sequence.counted == len(sequence.token_ids) - 1


def test_long_text_is_scored_in_parts_that_fit_the_context(
    model: Path, tokenizer: Any, tmp_path: Path
) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 40
    job = _encode(model, tmp_path, {"text": text})
    assert len(job.sequences) > 2
    assert [token for part in job.sequences for token in part.token_ids] == tokenizer(text).input_ids
    assert max(len(part.token_ids) for part in job.sequences) < job.max_model_len <= 128


def test_last_answer_counts_to_its_end_and_no_further(model: Path, tokenizer: Any, tmp_path: Path) -> None:
    messages = [_ASKED, {"role": "assistant", "content": "A dog."}, _ASKED, _ANSWERED]
    (sequence,) = _encode(model, tmp_path, {"messages": messages}).sequences
    counted = tokenizer.decode(sequence.token_ids[-sequence.counted :])
    assert counted == "The quick brown fox.<|im_end|>"
    before = tokenizer.decode(sequence.token_ids[: -sequence.counted])
    assert before == tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)


def test_question_is_what_the_engine_makes_of_a_chat(model: Path, tokenizer: Any, tmp_path: Path) -> None:
    job = _encode(model, tmp_path, {"text": "The fox."}, {"messages": [_ASKED], "answer": "The fox."})
    (prompt,) = job.prompts
    rendered = tokenizer.apply_chat_template([_ASKED], tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(prompt.token_ids) == rendered
    assert prompt.line == 2
    assert len(prompt.token_ids) + prompt.max_tokens == job.max_model_len


def test_answer_that_opens_otherwise_than_a_given_one_counts_from_there(
    tmp_path: Path, tokenizer: Any
) -> None:
    """As in models that always think: the prompt opens a thought, a given answer has an empty one."""
    folder = write_tokenizer(write_checkpoint(tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}<think></think>{% endif %}"
        "{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]<think>\n{% endif %}",
        encoding="utf-8",
    )
    (sequence,) = _encode(folder, tmp_path, {"messages": [_ASKED, _ANSWERED]}).sequences
    assert tokenizer.decode(sequence.token_ids[-sequence.counted :]) == "</think>The quick brown fox."


def test_template_that_drops_the_answer_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(write_checkpoint(tmp_path / "model"))
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    with pytest.raises(QuantizeError, match="line 1: the chat template leaves the last answer out"):
        _encode(folder, tmp_path, {"messages": [_ASKED, _ANSWERED]})


@pytest.mark.parametrize("row", [{"messages": [_ASKED, _ANSWERED]}, {"messages": [_ASKED], "answer": "x"}])
def test_chat_longer_than_the_context_is_named(model: Path, tmp_path: Path, row: dict[str, Any]) -> None:
    system = {"role": "system", "content": "The lazy dog. " * 60}
    with pytest.raises(
        QuantizeError, match=r"line 2: \d+ tokens and \d+ to generate; the model.s context has 128"
    ):
        _encode(model, tmp_path, {"text": "The fox."}, {**row, "messages": [system, *row["messages"]]})


def test_images_need_a_model_that_sees(model: Path, tmp_path: Path) -> None:
    from tests.integration.pictures import ask, picture

    row = {"messages": ask("Which colour?", picture((255, 0, 0))), "answer": "red"}
    with pytest.raises(QuantizeError, match="line 2: it has images and the model sees none"):
        _encode(model, tmp_path, {"text": "The fox."}, row)


def test_unreadable_image_is_named(model: Path, tmp_path: Path) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "none.png"}}]
    row = {"messages": [{"role": "user", "content": parts}], "answer": "red"}
    with pytest.raises(QuantizeError, match=r"line 2: image none\.png cannot be read"):
        _encode(model, tmp_path, {"text": "The fox."}, row)


def test_single_tokens_leave_nothing_to_score(model: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="no two tokens in a row"):
        _encode(model, tmp_path, {"text": "T"})


@pytest.mark.parametrize(("vocabulary", "likeliest"), [(320, -1), (8192, 256)])
def test_large_vocabularies_are_compared_by_their_likeliest_tokens(
    tmp_path: Path, vocabulary: int, likeliest: int
) -> None:
    folder = write_tokenizer(write_checkpoint(tmp_path / "model", vocab_size=vocabulary))
    assert _encode(folder, tmp_path, {"text": "The fox."}).likeliest == likeliest


def test_checkpoint_without_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    with pytest.raises(QuantizeError, match="no tokenizer that can be read"):
        _encode(folder, tmp_path, {"text": "The fox."})
