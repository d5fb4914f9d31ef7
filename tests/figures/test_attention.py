"""What a model sees of given sentences: tokens, segments, attention, and the figures of them."""

import numpy as np
import pytest
import torch

import lab
from lab.encoders.sources import load_encoder
from lab.figures import attention
from lab.tasks import MultitaskModel


def made(tiny_encoder, pair="siamese", pooling="cls"):
    bert, tokenizer = load_encoder(tiny_encoder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultitaskModel(bert, pooling, pair=pair).eval(), tokenizer


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_each_sentence_is_seen_alone_with_all_tokens_of_every_layer(tiny_encoder, pooling):
    model, tokenizer = made(tiny_encoder, pooling=pooling)
    first, second = attention.see(model, tokenizer, ["Unbelievably good!", "No."])
    assert second.tokens == ["[CLS]", "no", ".", "[SEP]"] and first.tokens[0] == "[CLS]"
    assert first.tokens == tokenizer.convert_ids_to_tokens(tokenizer("Unbelievably good!")["input_ids"])
    for seen in (first, second):
        L = len(seen.tokens)
        assert seen.attention.shape == (2, 4, L, L) and seen.segments == [0] * L and seen.cut == 0
        np.testing.assert_allclose(seen.attention.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(second.weights(2), second.attention[1].mean(0))
    np.testing.assert_array_equal(second.weights(1, 4), second.attention[0, 3])


def test_attention_is_that_of_transformers(tiny_encoder):
    from transformers import BertModel

    model, tokenizer = made(tiny_encoder)
    theirs = BertModel.from_pretrained(tiny_encoder, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = theirs(**tokenizer("A fine film.", return_tensors="pt"), output_attentions=True).attentions
    np.testing.assert_allclose(attention.see(model, tokenizer, ["A fine film."])[0].attention,
                               torch.cat(expected).numpy(), rtol=1e-4, atol=1e-6)


def test_a_cross_pair_is_one_input_of_two_segments(tiny_encoder):
    model, tokenizer = made(tiny_encoder, "cross")
    [joined] = attention.see(model, tokenizer, ["How far?", "What distance?"])
    assert joined.tokens == "[CLS] how far ? [SEP] what distance ? [SEP]".split()
    assert joined.segments == [0] * 5 + [1] * 4 and joined.attention.shape == (2, 4, 9, 9)
    [alone] = attention.see(model, tokenizer, ["How far?"])
    assert alone.tokens == "[CLS] how far ? [SEP]".split()


def test_what_is_cut_off_is_counted(tiny_encoder):
    model, tokenizer = made(tiny_encoder)
    [seen] = attention.see(model, tokenizer, ["word " * 600])
    assert len(seen.tokens) == 512 and seen.cut == 90


def test_pictures_hold_the_numbers_and_no_html(tiny_encoder):
    model, tokenizer = made(tiny_encoder)
    [seen] = attention.see(model, tokenizer, ["<b>x</b> & " + "y " * 60])
    figure = attention.heatmap(seen, 2, 1)
    assert np.array(figure.data[0].z).shape == (attention.SHOWN, attention.SHOWN)
    assert figure.data[0].z[1][2] == pytest.approx(seen.attention[1, 0, 1, 2], abs=1e-4)
    assert figure.layout.xaxis.ticktext[1] == "&lt;" and "<b>" not in figure.to_json().replace("<b>%", "")
    answers = lab.predict(model, "sst", ["Good.", "Bad."], tokenizer=tokenizer)
    drawn = attention.bars(answers)
    assert [bar.name for bar in drawn.data] == ["sentence 1", "sentence 2"]
    np.testing.assert_allclose(drawn.data[1].x, answers.loc[1, [f"p{c}" for c in range(5)]].astype(float))
