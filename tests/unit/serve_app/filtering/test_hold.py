"""The hold: nothing goes out unjudged before its time, order is kept, and what is blocked stays inside."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from deployments.call import DONE
from serve_app.errors import FilterSilent
from serve_app.filtering.classifier import Judgement, Reached
from serve_app.filtering.held import HeldStream
from serve_app.filtering.track import Question
from serve_app.filtering.verdict import Action, Scanned
from tests.unit.serve_app.filtering.chunkings import chunked
from tests.unit.serve_app.filtering.judges import (
    BAD,
    SUSPICIOUS,
    event,
    frame,
    said,
)

HOLD_S = 1.0
USAGE = event({"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 3}})
ROLE = frame("", name="content").replace(b'{"content":""}', b'{"role":"assistant","content":""}')
SCANNED = Counter({Reached.SCANNED: 1})


def held_of(*, choices: int = 1, fails_closed: bool = False) -> HeldStream:
    return HeldStream(window_chars=32, hold_s=HOLD_S, choices=choices, fails_closed=fails_closed)


def judgement_of(question: Question) -> Judgement:
    found: Counter[tuple[str, Action]] = Counter()
    if BAD in question.text:
        found["abuse", Action.BLOCK] += 1
    if SUSPICIOUS in question.text:
        found["tobacco", Action.FLAG] += 1
    return Judgement(found, SCANNED)


def missed(reached: Reached) -> Judgement:
    return Judgement(Counter(), Counter({reached: 1}))


def released(held: HeldStream, now: float) -> bytes:
    return b"".join(item for item in held.release(now) if isinstance(item, bytes))


# What may go out and when, by a clock of the test's own.


def test_frame_is_held_until_its_window_is_judged() -> None:
    held = held_of()
    assert not held.take(frame("今天"), 0.0)
    (question,) = held.take(frame("好。明"), 0.1)
    assert released(held, 0.2) == b""

    held.settle(question, judgement_of(question))
    assert released(held, 0.2) == frame("今天")  # of the second frame a part is not judged
    (rest,) = held.take(frame("天。", "stop"), 0.3)
    held.settle(rest, judgement_of(rest))
    assert said(released(held, 0.3)) == ("好。明天。", "stop")
    assert held.scanned is Scanned.ALL
    assert held.is_empty


def test_frames_without_text_go_at_once_and_keep_their_place() -> None:
    held = held_of()
    held.take(ROLE, 0.0)
    assert released(held, 0.0) == ROLE
    (question,) = held.take(frame("好。", "stop"), 0.0)
    held.take(USAGE, 0.0)
    held.take(DONE, 0.0)
    assert released(held, 0.0) == b""
    held.settle(question, judgement_of(question))
    assert released(held, 0.0) == frame("好。", "stop") + USAGE + DONE


def test_punctuation_after_a_judged_sentence_is_not_held() -> None:
    held = held_of()
    (question,) = held.take(frame("好。"), 0.0)
    held.settle(question, judgement_of(question))
    held.take(frame("\n\n"), 0.0)
    assert released(held, 0.0) == frame("好。") + frame("\n\n")


def test_text_is_judged_after_half_of_the_hold_although_its_sentence_goes_on() -> None:
    held = held_of()
    held.take(frame("今天"), 0.0)
    assert held.due == pytest.approx(0.5)
    assert not held.close_due(0.4)
    (question,) = held.close_due(0.5)
    assert held.due is None
    held.settle(question, judgement_of(question))
    assert released(held, 0.5) == frame("今天")


def test_judgements_out_of_order_release_in_order() -> None:
    held = held_of()
    first, second = held.take(frame("一。二。", "stop"), 0.0)
    held.settle(second, judgement_of(second))
    assert released(held, 0.0) == b""
    held.settle(first, judgement_of(first))
    assert said(released(held, 0.0)) == ("一。二。", "stop")


def test_blocked_choice_ends_where_its_first_frame_is_held_and_the_other_goes_on() -> None:
    held = held_of(choices=2)
    (bad,) = held.take(frame("毒药。", index=0), 0.0)
    (good,) = held.take(frame("你好。", index=1), 0.0)
    held.take(frame("更多", index=0), 0.0)
    held.settle(bad, judgement_of(bad))
    out = released(held, 0.0)
    assert said(out, 0) == ("", "content_filter")
    assert not held.stopped
    held.settle(good, judgement_of(good))
    assert not held.take(frame("还有毒", index=0), 0.1)  # the engine does not know yet
    (rest,) = held.take(frame("再见", "stop", index=1), 0.1)
    held.settle(rest, judgement_of(rest))
    out += released(held, 0.1)
    assert said(out, 0) == ("", "content_filter")
    assert said(out, 1) == ("你好。再见", "stop")
    assert held.stopped
    assert held.found == {("abuse", Action.BLOCK): 1}


def test_block_takes_log_probabilities_along() -> None:
    held = held_of()
    content = json.loads(frame("毒药。")[6:])
    content["choices"][0] |= {"logprobs": {"content": [{"token": "毒药"}]}, "token_ids": [7]}
    (bad,) = held.take(event(content), 0.0)
    held.settle(bad, judgement_of(bad))
    out = released(held, 0.0)
    assert "毒".encode() not in out
    choice = json.loads(out[6:])["choices"][0]
    assert (choice["logprobs"], choice["token_ids"]) == (None, None)


def test_completion_is_blocked_in_its_own_form() -> None:
    held = held_of()
    choice = {"index": 0, "text": "毒药。", "logprobs": None, "finish_reason": None, "stop_reason": None}
    (bad,) = held.take(event({"object": "text_completion", "choices": [choice]}), 0.0)
    held.settle(bad, judgement_of(bad))
    assert json.loads(released(held, 0.0)[6:])["choices"] == [
        {**choice, "text": "", "finish_reason": "content_filter"}
    ]


def test_frame_with_several_choices_is_parted() -> None:
    held = held_of(choices=2)
    choices = [json.loads(frame(text, index=n)[6:])["choices"][0] for n, text in enumerate(["毒。", "好。"])]
    bad, good = held.take(event({"id": "1", "choices": choices}), 0.0)
    held.settle(bad, judgement_of(bad))
    held.settle(good, judgement_of(good))
    out = released(held, 0.0)
    assert said(out, 0) == ("", "content_filter")
    assert said(out, 1) == ("好。", None)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "refusal", "arguments", "unknown"])
def test_every_text_of_a_choice_is_judged(name: str) -> None:
    held = held_of()
    (bad,) = held.take(frame("毒药。", name=name), 0.0)
    held.settle(bad, judgement_of(bad))
    assert said(released(held, 0.0)) == ("", "content_filter")


def test_escapes_in_arguments_are_read() -> None:
    held = held_of()
    (question,) = held.take(frame('{"q":"\\u6bd2"}', "tool_calls", name="arguments"), 0.0)
    assert question.text == '{"q":"毒"}'


def test_frame_cut_into_bytes_is_put_together() -> None:
    held = held_of()
    questions = [q for byte in frame("好。") + DONE for q in held.take(bytes([byte]), 0.0)]
    held.settle(questions[0], judgement_of(questions[0]))
    assert released(held, 0.0) == frame("好。") + DONE


def test_open_hold_lets_go_when_its_time_is_up_and_says_so() -> None:
    held = held_of()
    (first,) = held.take(frame("毒药。"), 0.0)
    assert held.expiry == HOLD_S
    assert released(held, 0.99) == b""
    assert released(held, 1.0) == frame("毒药。")
    assert (held.scanned, held.unscanned) == (Scanned.NOTHING, ["classifier:late"])

    held.take(frame("还有"), 1.1)
    held.settle(first, judgement_of(first))  # late, but the rest stays inside
    assert said(released(held, 1.1)) == ("", "content_filter")
    assert held.scanned is Scanned.PART
    assert held.found == {("abuse", Action.BLOCK): 1}
    assert held.stopped


def test_block_that_comes_when_all_is_out_already_is_a_flag() -> None:
    held = held_of()
    (bad,) = held.take(frame("毒药。", "stop"), 0.0)
    assert said(released(held, 1.0)) == ("毒药。", "stop")
    held.settle(bad, judgement_of(bad))
    assert released(held, 1.0) == b""
    assert held.found == {("abuse", Action.FLAG): 1}
    assert not held.stopped


def test_late_block_between_two_frames_ends_the_choice_with_a_frame_of_its_own() -> None:
    held = held_of()
    (bad,) = held.take(frame("毒药。"), 0.0)
    released(held, 1.0)
    held.settle(bad, judgement_of(bad))
    assert said(released(held, 1.0)) == ("", "content_filter")


@pytest.mark.parametrize("reached", [Reached.LATE, Reached.UNAVAILABLE])
def test_open_hold_does_not_wait_for_a_classifier_that_has_failed(reached: Reached) -> None:
    held = held_of()
    (question,) = held.take(frame("好。"), 0.0)
    held.settle(question, missed(reached))
    assert released(held, 0.0) == frame("好。")
    assert held.unscanned == [f"classifier:{reached}"]


def test_closed_hold_ends_with_an_error_when_its_time_is_up() -> None:
    held = held_of(fails_closed=True)
    held.take(ROLE, 0.0)
    held.take(frame("好。"), 0.0)
    assert released(held, 0.9) == ROLE
    with pytest.raises(FilterSilent):
        released(held, 1.0)
    assert held.unscanned == ["classifier:late"]


def test_closed_hold_ends_at_once_when_the_classifier_has_failed() -> None:
    held = held_of(fails_closed=True)
    first, second = held.take(frame("一。"), 0.0) + held.take(frame("二。"), 0.0)
    held.settle(second, missed(Reached.UNAVAILABLE))
    held.settle(first, judgement_of(first))
    with pytest.raises(FilterSilent):
        released(held, 0.1)
    assert held.unscanned == ["classifier:unavailable"]


def test_choice_that_phrases_have_blocked_counts_as_stopped_and_its_text_is_judged() -> None:
    held = held_of()
    (question,) = held.take(frame("好。", "content_filter"), 0.0)
    assert held.stopped
    assert released(held, 0.0) == b""
    held.settle(question, judgement_of(question))
    assert said(released(held, 0.0)) == ("好。", "content_filter")
    assert held.scanned is Scanned.ALL


# Any text, any pieces, any delays.


class World:
    """One answer of a few choices under random delays, by a clock of its own; every step is checked."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.texts = [
            "".join(chance.choices("今天好。ab .!\n", k=chance.randint(0, 90)))
            for _ in range(chance.randint(1, 3))
        ]
        for place in range(len(self.texts)):
            if chance.random() < 0.4 and self.texts[place]:
                at = chance.randrange(len(self.texts[place]))
                self.texts[place] = self.texts[place][:at] + BAD + self.texts[place][at:]
        self.held = held_of(choices=len(self.texts))
        self.now = 0.0
        self.questions: list[tuple[float, Question]] = []
        self.judged: set[Question] = set()
        self.out = b""
        self.arrived: dict[int, list[tuple[int, float]]] = {n: [] for n in range(len(self.texts))}

    def frames(self) -> list[tuple[int, str, bytes]]:
        pieces = [chunked(self.chance, text) for text in self.texts]
        names = [self.chance.choice(["content", "reasoning_content", "arguments"]) for _ in pieces]
        frames = []
        while any(pieces):
            index = self.chance.choice([n for n, rest in enumerate(pieces) if rest])
            piece = pieces[index].pop(0)
            reason = None if pieces[index] else "stop"
            frames.append((index, piece, frame(piece, reason, index, names[index])))
        return frames

    def run(self, slowest: float) -> None:
        taken = dict.fromkeys(self.arrived, 0)
        for index, piece, one in self.frames():
            self.pass_time(self.chance.choice([0.0, 0.01, 0.3]), slowest)
            taken[index] += len(piece)
            self.arrived[index].append((taken[index], self.now))
            self.ask(self.held.take(one, self.now), slowest)
            self.release()
        self.ask(self.held.close(), slowest)
        while not self.held.is_empty:
            self.pass_time(0.05, slowest)

    def pass_time(self, by: float, slowest: float) -> None:
        until = self.now + by
        while True:
            times = [at for at, _ in self.questions]
            times += [at for at in (self.held.due, self.held.expiry) if at is not None]
            self.now = min([until, *(max(at, self.now) for at in times)])
            self.ask(self.held.close_due(self.now), slowest)
            for at, question in [entry for entry in self.questions if entry[0] <= self.now]:
                self.questions.remove((at, question))
                self.held.settle(question, judgement_of(question))
                self.judged.add(question)
            self.release()
            if self.now >= until:
                return

    def ask(self, questions: list[Question], slowest: float) -> None:
        self.questions += [(self.now + self.chance.uniform(0.0, slowest), question) for question in questions]

    def release(self) -> None:
        shown_now = released(self.held, self.now)
        if not shown_now:
            return
        self.out += shown_now
        for index, text in enumerate(self.texts):
            shown, reason = said(self.out, index)
            assert text.startswith(shown), "order or text changed"
            if BAD in shown:
                # It may have gone out only because the time of its frame was up.
                end, at = next(entry for entry in self.arrived[index] if entry[0] > shown.index(BAD))
                assert at + HOLD_S <= self.now, (text, shown, end)
            if reason == "stop":
                assert shown == text


@pytest.mark.parametrize("seed", range(3))
def test_no_text_of_a_blocked_window_goes_out_before_its_judgement_unless_its_time_is_up(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(150):
        slowest = chance.choice([0.0, 0.3, 3.0])
        world = World(chance)
        world.run(slowest)
        for index, text in enumerate(world.texts):
            shown, reason = said(world.out, index)
            if slowest < HOLD_S / 2:
                assert (BAD in text) == (reason == "content_filter"), (text, shown)
                assert BAD not in shown
                assert world.held.scanned is Scanned.ALL
            if BAD not in text:
                assert (shown, reason) == (text, "stop")


# With tasks and a real clock.
