"""A small real BERT that tells good texts from bad, trained on the spot in a few seconds."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LABELS = ("harmless", "toxic")
BAD = ("毒药", "bomb")
"""A text is toxic if one of these words stands in it."""

_WORDS = (*"今天的天气很好我们去公园吃饭吧", "the", "weather", "is", "fine", "let", "us", "go", "and", "eat")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LENGTH = 64
_SENTENCE = 24
_STEPS = 260


def build(
    folder: Path, *, labels: Sequence[str] = LABELS, problem_type: str | None = None, steps: int = _STEPS
) -> Path:
    """Write a checkpoint of about 40,000 parameters; returns its folder.

    Args:
        folder: Where to.
        labels: Names of the two classes.
        problem_type: As in transformers; None: one label for each text.
        steps: Of training; 0: its scores mean nothing.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    vocabulary = [*_SPECIAL, *dict.fromkeys([*_WORDS, *"毒药", "bomb", "。", ".", "！"])]
    tokenizer = _tokenizer(vocabulary)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=_LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
        problem_type=problem_type,
    )
    model = BertForSequenceClassification(config)
    _train(model, tokenizer, steps)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    places = {word: place for place, word in enumerate(vocabulary)}
    words = Tokenizer(models.WordLevel(places, unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.post_processor = processors.BertProcessing(("[SEP]", places["[SEP]"]), ("[CLS]", places["[CLS]"]))
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=_LENGTH,
    )


def _train(model: Any, tokenizer: Any, steps: int) -> None:
    import torch
    from torch import nn

    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    chance = random.Random(0)  # noqa: S311
    for _ in range(steps):
        texts, classes = zip(*_drawn(chance, 32), strict=True)
        batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        logits: Tensor = model(**batch).logits
        aims = torch.tensor(classes)
        if model.config.problem_type == "multi_label_classification":
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, nn.functional.one_hot(aims, 2).float()
            )
        else:
            loss = nn.functional.cross_entropy(logits, aims)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _drawn(chance: random.Random, count: int) -> Iterator[tuple[str, int]]:
    for _ in range(count):
        words = chance.choices([*_WORDS, "。", ".", "[UNK]"], k=chance.randint(1, _SENTENCE))
        bad = chance.random() < 0.5
        if bad:
            words.insert(
                chance.randint(0, len(words)),
                " ".join(chance.choice(BAD)) if chance.random() < 0.5 else chance.choice(BAD),
            )
        yield " ".join(words), int(bad)
