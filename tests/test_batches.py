"""lab/batches.py: texts are tokenized once, streams are as in PAPER.md, batches have no padding."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import lab
from lab.batches import Rows, Stream, Texts, chunks, cross, pack, prepare
from lab.encoders.sources import load_encoder

TEXTS = ["a short one", "the quick brown fox jumps over the lazy dog", "yes", "what is this, then?", "a b c d e f g"]


@pytest.fixture(scope="module")
def tokenizer():
    return load_encoder("minilm")[1]


def test_texts_are_tokenized_as_transformers_does(tokenizer):
    texts = Texts.encode(TEXTS, tokenizer)
    expected = tokenizer(TEXTS)["input_ids"]
    assert [texts.tokens[a:b].tolist() for a, b in pairwise(texts.starts)] == expected
    assert texts.cut == 0


def test_what_a_tokenizer_was_used_for_before_is_forgotten(tokenizer):
    expected = Texts.encode(TEXTS, tokenizer)
    tokenizer(TEXTS, padding=True, truncation=True, max_length=6)
    assert np.array_equal(Texts.encode(TEXTS, tokenizer).tokens, expected.tokens)


def test_long_texts_are_cut_and_counted(tokenizer):
    texts = Texts.encode(["word " * 600, "short", "word " * 511], tokenizer)
    assert texts.lengths.tolist() == [512, 3, 512] and texts.cut == 2
    assert texts.tokens[texts.starts[1] - 1] == tokenizer.sep_token_id  # the truncated text still ends with [SEP]


def test_a_cache_that_cannot_be_written_stops_nothing(tokenizer, tmp_path):
    (tmp_path / "file").write_text("in its place")
    made = Texts.encode(TEXTS, tokenizer, cache=tmp_path / "file")
    assert np.array_equal(made.tokens, Texts.encode(TEXTS, tokenizer).tokens)


def test_cache_is_used_and_a_damaged_one_is_made_again(tokenizer, tmp_path):
    first = Texts.encode(TEXTS, tokenizer, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")

    class Refuses:
        backend_tokenizer = type("B", (), {"to_str": tokenizer.backend_tokenizer.to_str})()
        sep_token_id = tokenizer.sep_token_id

    again = Texts.encode(TEXTS, Refuses(), cache=tmp_path)  # would fail if it had to tokenize
    assert np.array_equal(first.tokens, again.tokens) and np.array_equal(first.starts, again.starts)
    file.write_bytes(file.read_bytes()[:100])
    again = Texts.encode(TEXTS, tokenizer, cache=tmp_path)
    assert np.array_equal(first.tokens, again.tokens)
    content = bytearray(file.read_bytes())
    place = content.index(first.tokens.tobytes())
    content[place : place + 8] = bytes(8)  # well formed, and other ids
    file.write_bytes(content)
    assert np.array_equal(Texts.encode(TEXTS, tokenizer, cache=tmp_path).tokens, first.tokens)
    Texts.encode(TEXTS, Refuses(), cache=tmp_path)  # it was made again
    Texts.encode(TEXTS[1:], tokenizer, cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2  # other texts, another file


def test_a_stream_sees_every_row_once_a_pass_in_full_batches():
    stream = Stream(27, 8, [1, 0])
    passes = [np.concatenate([stream.batch(3 * p + k) for k in range(3)]) for p in range(4)]
    for rows in passes:
        assert len(rows) == len(set(rows.tolist())) == 24  # the remainder of a pass is not used
    assert len({tuple(rows) for rows in passes}) == 4  # each pass has another order
    assert len(set(np.concatenate(passes).tolist())) == 27


def test_a_streams_place_is_one_integer():
    there = [Stream(30, 8, [7, 1]).batch(k).tolist() for k in range(9)]
    stream = Stream(30, 8, [7, 1])
    assert [stream.batch(k).tolist() for k in (8, 3, 5)] == [there[8], there[3], there[5]]
    assert Stream(30, 8, [7, 2]).batch(0).tolist() != there[0]  # each task has its own order


def test_too_few_rows_for_a_batch():
    with pytest.raises(lab.LabError, match="batch of 8"):
        Stream(7, 8, [0])


def _rows(texts, task, numbers, labels):
    return Rows(task, [str(i) for i in range(len(labels))], np.array(numbers), np.array(labels, np.float32), texts)


def test_a_packed_batch_holds_the_real_tokens_and_nothing_else(tokenizer):
    texts = Texts.encode(TEXTS, tokenizer)
    rows = {"sst": _rows(texts, "sst", [[1], [2]], [3, 0]),
            "sts": _rows(texts, "sts", [[0, 3], [4, 1], [2, 2]], [1.5, 5, 0])}
    batch = pack(rows)
    assert len(batch.ids) == sum(texts.lengths[n] for n in [1, 2, 0, 4, 2, 3, 1, 2])
    ends = [*batch.layout.starts.tolist(), len(batch.ids)]
    sequences = [batch.ids[a:b].tolist() for a, b in pairwise(ends)]
    in_order = [sequences[i] for i in batch.place.tolist()]  # u of sst; u, then v of sts
    expected = tokenizer([TEXTS[n] for n in [1, 2, 0, 4, 2, 3, 1, 2]])["input_ids"]
    assert in_order == expected
    assert [batch.positions[a:b].tolist() for a, b in pairwise(ends)] == [
        list(range(len(s))) for s in sequences]
    vectors = batch.split(torch.arange(8))
    assert [v.tolist() for v in vectors["sts"]] == [[2, 3, 4], [5, 6, 7]] and vectors["sst"][0].tolist() == [0, 1]
    assert batch.labels["sts"].tolist() == [1.5, 5, 0]


@pytest.mark.parametrize("longest", [4, 15, 16, 40, 512])
def test_a_cross_pair_is_what_the_tokenizer_makes_of_it(tokenizer, longest):
    draw = np.random.default_rng(longest)
    words = [" ".join([first, *draw.choice(["dog", "unbelievably"], n)]) for first in "ab" for n in range(20)]
    texts, numbers = Texts.encode(words, tokenizer, longest), draw.integers(0, len(words), (200, 2))
    rows = {"sst": _rows(texts, "sst", numbers[:60, :1], [0] * 60), "qqp": _rows(texts, "qqp", numbers, [0] * 200)}
    batch = pack(cross(rows, longest))
    limit = {"truncation": "longest_first", "max_length": longest}
    sides = [[words[n] for n in column] for column in numbers.T]
    alone, pairs = tokenizer(sides[0][:60], **limit), tokenizer(*sides, **limit)
    ends = [*batch.layout.starts.tolist(), len(batch.ids)]
    spans = [list(pairwise(ends))[i] for i in batch.place.tolist()]
    ids, segments, positions = ([of[a:b].tolist() for a, b in spans]
                                for of in (batch.ids, batch.segments, batch.positions))
    assert ids == alone["input_ids"] + pairs["input_ids"]
    assert segments == alone["token_type_ids"] + pairs["token_type_ids"]
    assert positions == [list(range(len(s))) for s in ids]
    assert [v.tolist() for v in batch.split(torch.arange(260))["qqp"]] == [list(range(60, 260))]  # u alone
    whole = {(a, *b): len(s) for a, *b, s in [*zip(sides[0][:60], tokenizer(sides[0][:60])["input_ids"], strict=True),
                                              *zip(*sides, tokenizer(*sides)["input_ids"], strict=True)]}
    assert cross(rows, longest)["sst"].texts.cut == sum(length > longest for length in whole.values())


def test_each_distinct_cross_pair_is_made_once_and_its_order_counts(tokenizer):
    texts = Texts.encode(TEXTS, tokenizer)
    made = cross({"train": _rows(texts, "sts", [[0, 1], [1, 0], [0, 1]], [1, 2, 3]),
                  "dev": _rows(texts, "qqp", [[1, 0], [2, 2]], [0, 1])}, 512)
    assert made["train"].text.tolist() == [[0], [1], [0]] and made["dev"].text.tolist() == [[1], [2]]
    assert made["train"].texts is made["dev"].texts and len(made["dev"].texts.lengths) == 3
    assert made["train"].labels.tolist() == [1, 2, 3] and made["dev"].task == "qqp"


def test_chunks_cover_the_texts_once_shorter_first(tokenizer):
    texts = Texts.encode([f"{'word ' * (i % 17)} end" for i in range(100)], tokenizer)
    seen, last = [], 0
    for which, ids, segments, positions, layout in chunks(texts, np.arange(100), tokens=64):
        assert segments is None  # only cross pairs have segments
        assert len(ids) == texts.lengths[which].sum() == len(positions) == layout.lengths.sum()
        assert texts.lengths[which].min() >= last
        last = texts.lengths[which].max()
        seen += which.tolist()
    assert sorted(seen) == list(range(100))


def test_prepare_keeps_a_share_of_train_and_all_of_dev(tiny_data, tokenizer):
    data = lab.load_data(tiny_data)
    half, again = (prepare(data, tokenizer, share=0.5) for _ in range(2))
    for task in ("sst", "qqp", "sts"):
        assert len(half[task, "train"]) == 32 and len(half[task, "dev"]) == 24
        assert half[task, "train"].ids == again[task, "train"].ids  # the subset is the same at every call
        assert half[task, "train"].ids != [e.id for e in data.splits[task, "train"].examples[:32]]
    some = half["qqp", "dev"].some(10)
    assert len(some) == 10 and set(some.ids) <= set(half["qqp", "dev"].ids)
    assert half["sts", "train"].labels.dtype == np.float32 and (half["sts", "train"].labels % 1 != 0).any()


def test_samplers_draw_three_batches_as_their_formula_says():
    sizes = {"sst": 100, "qqp": 900, "sts": 25}
    generator = np.random.default_rng(0)

    def shares(name, epoch, epochs):
        drawn = [task for _ in range(4000) for task in lab.SAMPLERS[name](sizes, epoch, epochs, generator)]
        assert len(drawn) == 12000
        return [drawn.count(task) / 12000 for task in sizes]

    def expected(alpha):
        p = np.array(list(sizes.values())) ** alpha
        return (p / p.sum()).tolist()

    assert lab.SAMPLERS["parallel"](sizes, 1, 1, generator) == ["sst", "qqp", "sts"]
    for name, epoch, epochs, alpha in [("proportional", 3, 5, 1), ("square_root", 3, 5, 0.5), ("annealed", 1, 5, 1),
                                       ("annealed", 5, 5, 0.2), ("annealed", 3, 5, 0.6), ("annealed", 1, 1, 1)]:
        assert shares(name, epoch, epochs) == pytest.approx(expected(alpha), abs=0.02)
