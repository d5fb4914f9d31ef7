"""lab/bert.py against transformers.BertModel: outputs, attention and every gradient, for batches of every shape."""

import json

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.bert import Bert, BertConfig, Layout
from lab.encoders.formats import checkpoint_names
from lab.encoders.sources import minilm_folder
from lab.errors import LabError

TINY = {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
        "max_position_embeddings": 16}
CONFIGS = {
    "tiny": TINY,
    "one head": TINY | {"num_attention_heads": 1},
    "twelve layers": TINY | {"num_hidden_layers": 12},
    "gelu_new": TINY | {"hidden_act": "gelu_new"},
    "gelu_fast": TINY | {"hidden_act": "gelu_fast"},
    "gelu_pytorch_tanh": TINY | {"hidden_act": "gelu_pytorch_tanh"},
    "relu": TINY | {"hidden_act": "relu"},
    "a large epsilon": TINY | {"layer_norm_eps": 0.1},
    "three segments": TINY | {"type_vocab_size": 3},
}


def twins(sizes, dtype=torch.float32):
    """The model of transformers and ours with the same random weights, none of which is 0 or 1. Eval mode."""
    config = BertConfig(**sizes)
    theirs = transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation="eager")).to(dtype).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.3, generator=generator)
    return theirs, filled(Bert(config).to(dtype).eval(), theirs)


def filled(ours, theirs):
    weights = theirs.state_dict()
    ours.load_state_dict({name: weights[other] for name, other in checkpoint_names(ours).items()})
    return ours


@pytest.fixture(scope="module")
def tiny():
    return twins(TINY)


@pytest.fixture(scope="module")
def exact():
    return twins(TINY, torch.float64)  # in float64 a difference is not due to rounding


@pytest.fixture(scope="module")
def minilm():
    theirs = transformers.BertModel.from_pretrained(minilm_folder(), attn_implementation="eager").eval()
    return theirs, Bert.from_pretrained("minilm-raw").eval()


def batch(mask, config, seed=0):
    """Random ids and segments for a mask (B, L); [PAD] has id 0, and no other token has it."""
    mask, generator = torch.as_tensor(mask), torch.Generator().manual_seed(seed)
    ids = torch.randint(1, config.vocab_size, mask.shape, generator=generator) * mask
    return ids, torch.randint(0, config.type_vocab_size, mask.shape, generator=generator), mask


def right_padded(*lengths):
    return (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()


MASKS = {
    "ragged": right_padded(5, 2, 16, 1, 9, 9, 3),
    "equal lengths": right_padded(7, 7, 7),
    "one sequence": right_padded(6),
    "one token": right_padded(1),
    "full length": right_padded(16, 16),
    "left padded": right_padded(5, 2, 12, 1).flip(1),
    "gaps": torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]),
    "a row of padding": torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0]]),
}


def compare(theirs, ours, ids, segments, mask, tolerance):
    """Hidden states at real tokens, zeros at padding, pooled first tokens, and the gradient of every parameter."""
    real, first = mask.bool(), mask[:, 0].bool()
    output = theirs(ids, attention_mask=mask, token_type_ids=segments)
    hidden = ours.encode(ours.embed(ids, segments), mask)
    pooled = ours.pooler(hidden[:, 0])
    close = {"rtol": 0, "atol": tolerance}
    torch.testing.assert_close(hidden[real], output.last_hidden_state[real], **close)
    torch.testing.assert_close(pooled[first], output.pooler_output[first], **close)
    assert hidden.shape == output.last_hidden_state.shape and (hidden[~real] == 0).all()

    # A random direction, so that no part of the gradient cancels by symmetry.
    along = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=hidden.dtype)
    expected = gradients(theirs, (output.last_hidden_state * along)[real].sum() + (output.pooler_output * along[:, 0])[
        first].sum())
    found = gradients(ours, (hidden * along).sum() + (pooled * along[:, 0])[first].sum())
    names = checkpoint_names(ours)
    assert set(names.values()) == set(expected) and set(names) == set(found)
    scale = max(g.abs().max() for g in expected.values()).item()
    for name, other in names.items():
        torch.testing.assert_close(
            found[name], expected[other], rtol=0, atol=tolerance * max(1, scale), msg=lambda m, n=name: f"{n}: {m}"
        )


def gradients(model, loss):
    """The gradient of each parameter; zeros without dependence on it (the pooler, if no first token is real)."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("sizes", CONFIGS.values(), ids=CONFIGS)
def test_equals_transformers_with_random_weights(sizes):
    theirs, ours = twins(sizes)
    compare(theirs, ours, *batch(MASKS["ragged"], ours.config), tolerance=1e-5)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_equals_transformers_under_every_kind_of_mask(mask, tiny):
    compare(*tiny, *batch(mask, tiny[1].config), tolerance=1e-5)


@given(st.integers(1, 16).flatmap(lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1,
                                                     max_size=6)).filter(lambda rows: any(map(any, rows))))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_equals_transformers_under_any_mask(exact, rows):
    compare(*exact, *batch(torch.tensor(rows).long(), exact[1].config), tolerance=1e-11)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_is_close(autocast):
    _, ours = twins(TINY)
    ids, segments, mask = batch(MASKS["ragged"], ours.config)
    expected = ours.encode(ours.embed(ids, segments), mask)
    if not autocast:
        ours.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        hidden = ours.encode(ours.embed(ids, segments), mask)
    torch.testing.assert_close(hidden.float(), expected, rtol=0, atol=0.1)  # 8 bits: 2^-8 of 3, added up


def test_equals_transformers_on_minilm(minilm):
    compare(*minilm, *batch(right_padded(9, 3, 14, 1), minilm[1].config), tolerance=1e-5)


def test_equals_transformers_at_length_512():
    theirs, ours = twins(TINY | {"max_position_embeddings": 512})
    compare(theirs, ours, *batch(right_padded(512, 40), ours.config), tolerance=1e-5)


def test_segments_are_zero_by_default_and_matter(tiny):
    ids, _, _ = batch(MASKS["ragged"], tiny[1].config)
    assert torch.equal(tiny[1].embed(ids), tiny[1].embed(ids, torch.zeros_like(ids)))
    assert not torch.equal(tiny[1].embed(ids), tiny[1].embed(ids, torch.ones_like(ids)))


def test_a_sequence_does_not_depend_on_its_batch(tiny):
    ids, segments, mask = batch(MASKS["ragged"], tiny[1].config)
    together = tiny[1].encode(tiny[1].embed(ids, segments), mask)
    for i, length in enumerate(mask.sum(1).tolist()):
        ids_i, segments_i, mask_i = (x[i : i + 1, :length] for x in (ids, segments, mask))
        alone = tiny[1].encode(tiny[1].embed(ids_i, segments_i), mask_i)
        torch.testing.assert_close(alone[0], together[i, :length], rtol=0, atol=1e-6)


def test_packed_equals_padded(tiny):
    _, ours = tiny
    mask = right_padded(2, 3, 3, 9, 16)
    ids, segments, _ = batch(mask, ours.config)
    real = mask.bool()
    positions = torch.arange(mask.shape[1]).expand_as(mask)[real]
    layout = Layout.of(mask.sum(1).tolist())
    embedded = ours.embed(ids[real], segments[real], positions)
    torch.testing.assert_close(embedded, ours.embed(ids, segments)[real], rtol=0, atol=1e-6)
    packed = ours.encode_packed(embedded, layout)
    torch.testing.assert_close(packed, ours.encode(ours.embed(ids, segments), mask)[real], rtol=0, atol=1e-6)
    firsts = ours.encode(ours.embed(ids, segments), mask)[:, 0]
    torch.testing.assert_close(packed[layout.starts], firsts, rtol=0, atol=1e-6)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_layout_covers_all_tokens_with_little_padding(lengths):
    layout = Layout.of(sorted(lengths))
    assert sum(group.tokens for group in layout.groups) == sum(lengths)
    assert sum(group.B for group in layout.groups) == len(lengths)
    assert layout.lengths.tolist() == sorted(lengths)
    assert layout.starts.tolist() == [sum(sorted(lengths)[:i]) for i in range(len(lengths))]
    for group in layout.groups:
        assert group.tokens <= group.B * group.L <= 1.4 * group.tokens
        x = torch.randn(group.tokens, 2)
        assert torch.equal(group.unpad(group.pad(x)), x)


def test_maps_are_transformers_attention(tiny):
    theirs, ours = tiny
    mask = right_padded(2, 3, 3, 9, 16)  # shortest first, as encode packs them: groups lie in the order of the batch
    ids, segments, _ = batch(mask, ours.config)
    layout, maps = Layout.of(mask.sum(1).tolist()), []
    assert len(layout.groups) > 1 and any(group.slots is not None for group in layout.groups)
    ours.encode_packed(ours.embed(ids, segments)[mask.bool()], layout, maps=maps)
    expected = theirs(ids, attention_mask=mask, token_type_ids=segments, output_attentions=True).attentions
    assert len(maps) == len(expected) == ours.config.num_hidden_layers
    for layer, reference in zip(maps, expected, strict=True):
        row = 0
        for group in layer:
            torch.testing.assert_close(group.sum(-1), torch.ones(group.shape[:-1]))
            for attention in group:  # (A, L, L)
                n = int(mask[row].sum())
                torch.testing.assert_close(attention[:, :n, :n], reference[row, :, :n, :n], rtol=0, atol=1e-6)
                assert (attention[..., n:] == 0).all()
                row += 1
        assert row == len(mask)


def test_training_without_dropout_is_evaluation():
    ours = Bert(BertConfig(**TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).eval()
    ids, segments, mask = batch(MASKS["ragged"], ours.config)
    evaluated = ours.encode(ours.embed(ids, segments), mask)
    ours.train()
    assert torch.equal(ours.encode(ours.embed(ids, segments), mask), evaluated)


@pytest.mark.parametrize("hidden, attention", [(0.5, 0.0), (0.0, 0.5)])
def test_dropout_differs_between_calls_and_not_in_evaluation(hidden, attention):
    ours = Bert(BertConfig(**TINY, hidden_dropout_prob=hidden, attention_probs_dropout_prob=attention)).eval()
    ids, segments, mask = batch(MASKS["ragged"], ours.config)

    def once():
        return ours.encode(ours.embed(ids, segments), mask)

    evaluated = once()
    assert torch.equal(evaluated, once())
    ours.train()
    torch.manual_seed(0)
    first, second = once(), once()
    assert not torch.equal(first, evaluated) and not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(once(), first)


def test_dropout_stands_where_bert_has_it(tiny):
    """Devlin et al. 2019, A.2: on the embeddings, the attention, and the outputs of both parts of each layer."""
    _, ours = tiny
    ids, _, mask = batch(right_padded(4, 4), ours.config)
    seen = []
    hooks = [module.register_forward_hook(lambda module, inputs, _: seen.append((module.p, tuple(inputs[0].shape))))
             for module in ours.modules() if isinstance(module, torch.nn.Dropout)]
    ours.encode(ours.embed(ids), mask)
    for hook in hooks:
        hook.remove()
    assert seen == [(0.1, (2, 4, 12)), *[(0.1, (2, 3, 4, 4)), (0.1, (8, 12)), (0.1, (8, 12))] * 2]


def test_the_shares_of_dropout_come_from_the_config():
    ours = Bert(BertConfig(**TINY, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3))
    assert ours.dropout.p == 0.2
    assert [(layer.dropout.p, layer.attention_dropout.p) for layer in ours.layers] == [(0.2, 0.3)] * 2


def test_fresh_weights_are_drawn_as_in_bert():
    ours = Bert(BertConfig(**TINY | {"hidden_size": 96, "initializer_range": 0.05}))
    for name, p in ours.named_parameters():
        if "norm" in name:
            assert (p == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert (p == 0).all()
        elif p.numel() > 1000:
            assert 0.045 < p.std() < 0.055, name


def test_too_long_an_input_is_named(tiny):
    ids = torch.ones(2, 17, dtype=torch.long)
    with pytest.raises(LabError, match="17 tokens, but this encoder has 16"):
        tiny[1].embed(ids)


@pytest.mark.parametrize("sizes, message", [
    ({"hidden_size": 10, "num_attention_heads": 3}, "is not a multiple of num_attention_heads 3"),
    ({"hidden_act": "swish"}, "'swish' is not one of gelu"),
])
def test_impossible_sizes_are_named(sizes, message):
    with pytest.raises(LabError, match=message):
        BertConfig(**TINY | sizes)


@pytest.mark.parametrize("text, message", [
    ("{", "config.json: cannot be read as JSON"),
    ("[]", "not the configuration of an encoder"),
    ('{"model_type": "roberta"}', "a model of the type 'roberta'; the lab's encoder is BERT"),
    ('{"position_embedding_type": "relative_key"}', "position_embedding_type must be 'absolute', not 'relative_key'"),
    ('{"hidden_act": "swish"}', r"config.json: hidden_act 'swish' is not one of gelu"),
    ('{"hidden_act": ["gelu"]}', r"hidden_act must be a string, not \['gelu'\]"),
    ('{"hidden_size": "384"}', "hidden_size must be a whole number above 0, not '384'"),
    ('{"num_attention_heads": 0}', "num_attention_heads must be a whole number above 0, not 0"),
    ('{"hidden_dropout_prob": null}', "hidden_dropout_prob must be a number from 0 to 1, not None"),
    ('{"layer_norm_eps": NaN}', "layer_norm_eps must be a number from 0 to 1, not nan"),
    (None, "config.json: cannot be read as JSON"),
])
def test_a_bad_config_file_is_named(text, message, tmp_path):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(LabError, match=message):
        BertConfig.from_json(tmp_path / "config.json")


def test_a_config_file_is_read(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"model_type": "bert", "transformers_version": "4", "use_cache": True}))
    assert BertConfig.from_json(path) == BertConfig(**TINY)
