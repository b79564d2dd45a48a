"""What the content filter costs: to build it, in memory, per token, per kilobyte of a prompt, and in delay.

.venv/bin/python -m bench.filtering [--phrases 50000] [--tokens 40000]

The lexicon is made up from a seed, Chinese and English by halves; the text is the prose of this repository's
pages in both languages, as frames of one token each as vLLM writes them. How often text must wait depends on
how many of its words and characters begin a phrase, so there are two lexicons: one begins with 300
characters and six consonants, the other with any. Times are of the CPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import string
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import psutil

from bench.quantile import quantile
from serve_app.filtering import Action, AnswerFilter, ContentFilter, FilteringConfig, LexiconConfig

_ROOT: Final = Path(__file__).parent.parent
_TEXTS: Final = ("README.md", "README.zh-CN.md", "docs/configuration.md", "docs/configuration.zh-CN.md")
_TOKEN: Final = re.compile(r"[\u4e00-\u9fff]{1,2}| ?[A-Za-z]{1,7}|\d| ?[^\w\s]{1,3}|\s+|.", re.DOTALL)
_HAN: Final = "".join(map(chr, range(0x4E00, 0x9F00, 4)))
"""Five thousand characters."""
_HEAD: Final = (
    'data: {"id":"chatcmpl-5f2b","object":"chat.completion.chunk","created":1764000000,"model":"qwen",'
    '"choices":[{"index":0,"delta":'
)
_ROLE: Final = f'{_HEAD}{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}]}}\n\n'
_NEUTRAL: Final = "の"
"""Parts words and begins nothing."""
_ALTERNATIVES: Final = 5


def phrases(chance: random.Random, count: int, heads: int | None) -> list[str]:
    """So many phrases, none of which is in the text.

    Args:
        chance: Makes them up.
        count: How many.
        heads: Chinese ones begin with so few characters, and English ones with six letters; None: with any.
    """
    text = _text_of_pages()
    first = _HAN if heads is None else "".join(chance.sample(_HAN, heads))
    onsets = string.ascii_lowercase if heads is None else "jkqvxz"
    made: set[str] = set()
    while len(made) < count:
        if len(made) % 2:
            phrase = chance.choice(first) + "".join(chance.choices(_HAN, k=chance.randint(1, 5)))
        else:
            phrase = " ".join(_word(chance, onsets) for _ in range(chance.randint(1, 3)))
        if phrase not in text:
            made.add(phrase)
    return sorted(made)


def _word(chance: random.Random, onsets: str) -> str:
    vowels = "aeiou"
    rest = "".join(
        chance.choice("bcdfghlmnprst") + chance.choice(vowels) for _ in range(chance.randint(1, 3))
    )
    # No English word has a q before these vowels: what is made up is not in the text.
    return chance.choice(onsets) + chance.choice(vowels) + rest + "q" + chance.choice("aeio")


def tokens(count: int) -> list[str]:
    """So many tokens of ordinary text."""
    found = _TOKEN.findall(_text_of_pages())
    return [found[place % len(found)] for place in range(count)]


def _text_of_pages() -> str:
    """The prose of the pages: no code, no tables."""
    pages = "\n".join((_ROOT / name).read_text() for name in _TEXTS)
    prose = re.sub(r"^```.*?^```", "", pages, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line for line in prose.splitlines() if not line.startswith("|"))


def frames(said: Sequence[str]) -> list[bytes]:
    """A frame for each token."""
    rest = '},"logprobs":null,"finish_reason":null}]}\n\n'
    return [f'{_HEAD}{{"content":{json.dumps(one, ensure_ascii=False)}{rest}'.encode() for one in said]


def spelled_frames(said: Sequence[str]) -> list[bytes]:
    """A frame for each token, with its log probability and those of some others."""
    made = []
    for place, token in enumerate(said):
        others = [_probable(said[(place * 7 + one) % len(said)]) for one in range(_ALTERNATIVES)]
        logprobs = {"content": [{**_probable(token), "top_logprobs": others}]}
        text = json.dumps({"content": token}, ensure_ascii=False)
        made.append(f'{_HEAD}{text},"logprobs":{json.dumps(logprobs)},"finish_reason":null}}]}}\n\n'.encode())
    return made


def _probable(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.25, "bytes": [*token.encode()]}


def us_per_frame(answer: AnswerFilter, sent: Sequence[bytes]) -> float:
    """Microseconds for each frame of an answer."""
    answer.feed(_ROLE.encode())
    return _us(lambda: [answer.feed(frame) for frame in sent]) / len(sent)


def delays(answer: AnswerFilter, said: Sequence[str]) -> list[int]:
    """How many frames later each token has come out whole."""
    answer.feed(_ROLE.encode())
    out = accumulate(len(_text(answer.feed(frame))) for frame in frames(said))
    ends = list(accumulate(map(len, said)))
    late: list[int] = []
    for frame, shown in enumerate(out):
        while len(late) <= frame and ends[len(late)] <= shown:
            late.append(frame - len(late))
    assert not any(one.action.hides for one in answer.verdict.findings), "a phrase is in the text"
    return late


def _text(sent: bytes) -> str:
    events = [json.loads(event[6:]) for event in sent.decode().split("\n\n") if event]
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


def hostile(chance: random.Random, lexicon: Sequence[str], chars: int) -> Iterator[str]:
    """Text that begins phrases all the time and seldom goes on with them, with separators and digits."""
    for _ in range(chars // 8):
        phrase = chance.choice(lexicon)
        parting = chance.choice(["", " ", ". ", "-"])
        begun = parting.join(phrase[: chance.randint(1, len(phrase))])
        yield (begun + "".join(chance.choices("1234 -@." + phrase, k=8)))[:8]


def measure(lexicon: list[str], count: int, folder: Path) -> Iterator[str]:
    """Lines of figures for one lexicon."""
    file = folder / "phrases.txt"
    file.write_text("\n".join(lexicon))
    config = FilteringConfig(lexicons=(LexiconConfig(category="made_up", files=(file,), action=Action.MASK),))
    built: list[ContentFilter] = []
    read_ms = _us(lambda: built.append(ContentFilter(config))) / 1000
    content_filter = built[0]
    build_ms = _us(lambda: content_filter.answer(())) / 1000
    reload_ms = _us(content_filter.reload) / 1000
    yield (
        f"build: {read_ms:.0f} ms to read {len(lexicon)} phrases, {build_ms:.0f} ms for the automata, "
        f"{_memory_mib(config):.0f} MiB; {reload_ms:.0f} ms to see that nothing has changed"
    )
    said = tokens(count)
    plain, spelled = frames(said), spelled_frames(said[: count // 4])
    cold = us_per_frame(content_filter.answer(()), plain)
    warm = us_per_frame(content_filter.answer(()), plain)
    yield f"answers: {cold:.1f} us per token when new, {warm:.1f} us after that"
    probable = us_per_frame(content_filter.answer(()), spelled)
    parsing = _us(lambda: [json.dumps(json.loads(one[6:])) for one in spelled]) / len(spelled)
    yield (
        f"with log probabilities of {_ALTERNATIVES} alternatives: {probable:.1f} us, "
        f"of which {parsing:.1f} us to read and write JSON"
    )
    yield _prompts(content_filter)
    for name, some in (
        ("all", said),
        ("numbers taken out", [_NEUTRAL if one.isdigit() else one for one in said]),
    ):
        late = delays(content_filter.answer(()), some)
        p50, p99 = quantile(late, 0.5), quantile(late, 0.99)
        share = sum(one > 0 for one in late) / len(late)
        yield f"delay, {name}: {p50} frames p50, {p99} p99, {max(late)} at most; {share:.1%} of tokens wait"
    worst = list(hostile(random.Random(2), lexicon, 8 * count))  # noqa: S311
    before = _mib()
    slow = us_per_frame(content_filter.answer(()), frames(worst))
    yield f"hostile text: {slow / 8:.1f} us per character, {_mib() - before:.0f} MiB more"


def _prompts(content_filter: ContentFilter) -> str:
    text = "".join((_ROOT / name).read_text() for name in _TEXTS[:2])
    body = {
        "messages": [
            {"role": "user", "content": text[place : place + 999]} for place in range(0, 20_000, 999)
        ]
    }
    kilobytes = len(json.dumps(body, ensure_ascii=False).encode()) / 1000
    cost = _us(lambda: content_filter.check_prompt(body, ())) / kilobytes
    fresh = {"messages": [{"role": "user", "content": json.dumps([*body.values()])[::-1]}]}
    cold = _us(lambda: content_filter.check_prompt(fresh, ())) / (len(str(fresh).encode()) / 1000)
    return f"prompts: {cost:.0f} us per kB, {cold:.0f} us where every character is in new surroundings"


def _us(work: Callable[[], object]) -> float:
    """CPU time, so that what else runs on the machine matters less."""
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1e6


def _memory_mib(config: FilteringConfig) -> float:
    """What the lexicon and its automata take."""
    tracemalloc.start()
    content_filter = ContentFilter(config)
    content_filter.answer(())
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / 2**20


def _mib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


def main() -> None:
    """Print a few lines for each lexicon."""
    parser = argparse.ArgumentParser(description="What the content filter costs.")
    parser.add_argument("--phrases", type=int, default=50_000)
    parser.add_argument("--tokens", type=int, default=40_000)
    options = parser.parse_args()
    for name, heads in (("that begin like few words", 300), ("that begin like any word", None)):
        lexicon = phrases(random.Random(1), options.phrases, heads)  # noqa: S311
        sys.stdout.write(f"{options.phrases} phrases {name}\n")
        with tempfile.TemporaryDirectory() as folder:
            for line in measure(lexicon, options.tokens, Path(folder)):
                sys.stdout.write(f"  {line}\n")


if __name__ == "__main__":
    main()
