"""Word importance by occlusion: what leaving out a word does to the answer."""

import math

import pytest
import torch

import lab
from lab.encoders.sources import load_encoder
from lab.results.importance import MOST, occlusion
from lab.tasks import MultitaskModel


@pytest.fixture(scope="module")
def made(tiny_encoder):
    bert, tokenizer = load_encoder(tiny_encoder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultitaskModel(bert, "mean").eval(), tokenizer


def test_the_effect_of_a_word_is_what_the_answer_loses_without_it(made):
    model, tokenizer = made
    (words,) = occlusion(model, tokenizer, "sst", ["A very good film."])
    assert [word for word, _ in words] == ["A", "very", "good", "film."]
    whole, without = (lab.predict(model, "sst", [text], tokenizer=tokenizer).iloc[0]
                      for text in ("A very good film.", "A very film."))
    answer = f"p{whole['prediction']}"
    assert words[2][1] == pytest.approx(whole[answer] - without[answer], abs=1e-6)


@pytest.mark.parametrize(("task", "column"), [("qqp", "probability"), ("sts", "prediction")])
def test_of_a_pair_each_word_of_both_is_left_out(made, task, column):
    model, tokenizer = made
    pair = ("How far?", "What is the distance?")
    first, second = occlusion(model, tokenizer, task, pair)
    assert (len(first), len(second)) == (2, 4)
    whole, without = (lab.predict(model, task, [of], tokenizer=tokenizer).iloc[0]
                      for of in (pair, (pair[0], "What is distance?")))
    gap = whole[column] - without[column]
    assert second[2][1] == pytest.approx(-gap if task == "qqp" and not whole["prediction"] else gap, abs=1e-5)


def test_one_word_cannot_be_left_out_and_long_texts_are_cut(made):
    assert math.isnan(occlusion(*made, "sst", ["Good."])[0][0][1])
    (words,) = occlusion(*made, "sst", ["a " * (MOST + 5)])
    assert [math.isnan(effect) for _, effect in words] == [False] * MOST + [True] * 5
