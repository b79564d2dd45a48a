"""The vision model: a Qwen2-VL that names the colour of one or two plain images."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from deployments.demo import corpus
from deployments.demo.corpus import Colour, ImageQuestion
from deployments.demo.language import save, text_sizes
from deployments.demo.progress import Progress
from deployments.demo.recipe import Recipe
from deployments.demo.training import IGNORED, Schedule, deterministic, fit, round_to_bfloat16

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

__all__ = ["ImageTask", "TaskSource", "build"]

PIXELS = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
"""Area to which an image is scaled: 4 to 16 tokens of 28 x 28 pixels, whatever its size."""

_PLACEHOLDER = "<|vision_start|><|image_pad|><|vision_end|>"
_SIZES = (
    (56, 56),
    (64, 64),
    (100, 100),
    (112, 112),
    (128, 64),
    (64, 128),
    (224, 224),
    (320, 240),
    (300, 400),
)
_NO_IMAGE = {"en": "Please show me an image.", "zh": "请给我一张图片。"}


@dataclass(frozen=True)
class ImageTask:
    """A rendered prompt with its images and the answer."""

    prompt: str
    images: tuple[Image.Image, ...]
    answer: str


class TaskSource:
    """Draws questions about plain images in varied sizes and slightly varied shades."""

    def __init__(self, tokenizer: "Qwen2Tokenizer", rng: random.Random) -> None:
        self._tokenizer = tokenizer
        self._rng = rng
        self._questions = corpus.load_image_questions()
        self._colours = corpus.load_colours()
        self._texts = corpus.load_chat() + corpus.load_unknown()

    def draw(self, count: int) -> list[ImageTask]:
        """Return tasks; one in ten comes without an image."""
        return [self._text() if self._rng.random() < 0.1 else self._seen() for _ in range(count)]

    def _seen(self) -> ImageTask:
        question = self._rng.choice(self._questions)
        colours = [self._rng.choice(self._colours) for _ in range(question.images)]
        images = tuple(self._image(colour) for colour in colours)
        return ImageTask(self._prompt(question), images, _answer(question, colours))

    def _text(self) -> ImageTask:
        pair = self._rng.choice(self._texts)
        return ImageTask(self._render(pair.question), (), _NO_IMAGE[pair.language])

    def _prompt(self, question: ImageQuestion) -> str:
        """Place the images before the text, on lines of their own, or after it, as clients do."""
        marks = [_PLACEHOLDER] * question.images
        parts = self._rng.choice(((*marks, question.question), (question.question, *marks)))
        return self._render(self._rng.choice(("", "", "\n")).join(parts))

    def _render(self, text: str) -> str:
        messages = [{"role": "user", "content": text}]
        prompt: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return prompt

    def _image(self, colour: Colour) -> Image.Image:
        shade = tuple(min(255, max(0, value + self._rng.randint(-24, 24))) for value in colour.rgb)
        return Image.new("RGB", self._rng.choice(_SIZES), shade)


class Batch:
    """A batch of tasks as the model takes them, with the answers' tokens as labels."""

    def __init__(self, processor: Any, tasks: Sequence[ImageTask]) -> None:
        tokenizer = processor.tokenizer
        images = [list(task.images) for task in tasks if task.images]
        self.inputs = processor(
            text=[task.prompt + task.answer + "<|im_end|>" for task in tasks],
            images=images or None,
            padding=True,
            padding_side="right",
            return_tensors="pt",
        )
        self.labels = torch.full_like(self.inputs["input_ids"], IGNORED)
        lengths = self.inputs["attention_mask"].sum(-1).tolist()
        for row, (task, length) in enumerate(zip(tasks, lengths, strict=True)):
            first = length - len(tokenizer(task.answer).input_ids) - 1
            self.labels[row, first:length] = self.inputs["input_ids"][row, first:length]

    def logits(self, model: Any) -> tuple[Tensor, Tensor]:
        """Return logits `[tokens, vocabulary]` and labels `[tokens]` of the answers."""
        logits = model(**self.inputs, use_cache=False).logits[:, :-1]
        labels = self.labels[:, 1:]
        return logits[labels != IGNORED], labels[labels != IGNORED]


def build(recipe: Recipe, tokenizer: "Qwen2Tokenizer", folder: Path, progress: Progress) -> dict[str, str]:
    """Train the vision model, write its checkpoint, and return what was measured, for the model card."""
    source = TaskSource(tokenizer, random.Random(recipe.seed))  # noqa: S311
    processor = _processor(tokenizer)
    with deterministic(recipe.seed):
        model = _model(recipe, tokenizer)

        def losses(_: int) -> Iterator[Tensor]:
            yield nn.functional.cross_entropy(*Batch(processor, source.draw(recipe.batch)).logits(model))

        fit(model.parameters(), Schedule(recipe.steps, recipe.learning_rate), losses, progress.step)
        round_to_bfloat16(model)
        with torch.no_grad():
            logits, labels = Batch(processor, source.draw(100)).logits(model.eval())
    share = (logits.argmax(-1) == labels).float().mean().item()
    save(model, tokenizer, folder)
    processor.save_pretrained(folder)
    return {"tokens of 100 answers right, of freshly drawn images": f"{share:.1%}"}


def _answer(question: ImageQuestion, colours: Sequence[Colour]) -> str:
    names = [colour.colour_zh if question.language == "zh" else colour.colour for colour in colours]
    if question.language == "zh":
        return f"{'这张' if len(names) == 1 else '这两张'}图片是{'和'.join(names)}的。"
    return f"The image is {names[0]}." if len(names) == 1 else f"The images are {' and '.join(names)}."


def _processor(tokenizer: "Qwen2Tokenizer") -> Any:
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=PIXELS),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=tokenizer.chat_template,
    )


def _model(recipe: Recipe, tokenizer: "Qwen2Tokenizer") -> Any:
    """Create a Qwen2-VL with a vision tower of two blocks."""
    half = recipe.head_dim // 2
    rope = {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        # Time, height and width share the rotary halves as 2 : 3 : 3, as in Qwen2-VL (16, 24, 24).
        "mrope_section": [half // 4, half * 3 // 8, half * 3 // 8],
    }
    config = Qwen2VLConfig(
        text_config={**text_sizes(recipe, tokenizer), "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "embed_dim": 128,
            "num_heads": 2,
            "mlp_ratio": 2,
            "hidden_size": recipe.hidden_size,
        },
        tie_word_embeddings=True,
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    return Qwen2VLForConditionalGeneration(config)
