"""lab/encoders/tokenizers.py against transformers' AutoTokenizer, and files that cannot be used."""

import json

import pytest
import transformers
from helpers import TINY_TEXTS, TINY_WORDS

from lab.encoders import load_encoder, save_encoder
from lab.encoders.tokenizers import first_line
from lab.errors import LabError


def test_cutting_and_padding_of_the_file_are_switched_off(folder):
    path = folder / "tokenizer.json"
    entries = json.loads(path.read_text())
    entries["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    entries["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                          "pad_type_id": 0, "pad_token": "[PAD]"}
    path.write_text(json.dumps(entries))

    def lengths(tokenizer):  # of the Rust half: tokenizer(texts) switches both off by itself
        return [len(encoding.ids) for encoding in tokenizer.backend_tokenizer.encode_batch(["cat", "cat " * 30])]

    assert lengths(transformers.AutoTokenizer.from_pretrained(folder)) == [9, 9]
    bert, tokenizer = load_encoder(folder)
    assert lengths(tokenizer) == [3, 32]
    save_encoder(bert, folder, tokenizer)
    assert lengths(transformers.AutoTokenizer.from_pretrained(folder)) == [3, 32]


def test_the_tokenizers_file_rules_over_its_config(theirs, folder):
    """A cased tokenizer.json whose tokenizer_config.json is missing, as in many fine-tuned folders."""
    cased = transformers.BertTokenizer(theirs[1].get_vocab(), do_lower_case=False, strip_accents=False)
    cased.save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    bert, tokenizer = load_encoder(folder)
    assert tokenizer.tokenize("A cats é") == ["A", "cat", "##s", "é"]
    assert theirs[1].tokenize("A cats é") == ["a", "cat", "##s", "e"]
    save_encoder(bert, folder, tokenizer)
    assert transformers.AutoTokenizer.from_pretrained(folder).tokenize("A cats é") == ["A", "cat", "##s", "é"]


def test_a_vocabulary_is_enough(folder, theirs):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    words = ["##x" if word == "A" else word for word in TINY_WORDS]  # without capitals, so that it is not cased
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    _, tokenizer = load_encoder(folder)
    assert tokenizer(TINY_TEXTS)["input_ids"] == theirs[1](TINY_TEXTS)["input_ids"]
    assert tokenizer.model_max_length == 16


def test_a_vocabulary_larger_than_the_encoder_is_refused(folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join([*TINY_WORDS, "dog"]) + "\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"ids up to 14, but the vocab_size of config.json is 14"):
        load_encoder(folder)


@pytest.mark.parametrize("text, message", [
    ("{", "the tokenizer cannot be read"),
    ("{}", "the tokenizer cannot be read"),
    ('{"model": {"type": "Unigram", "vocab": []}}', "a Unigram tokenizer; BERT needs WordPiece"),
])
def test_a_bad_tokenizer_is_named(text, message, folder):
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_the_first_line_of_an_error():
    assert first_line(OSError("\n\n403 Forbidden.\nMore")) == "403 Forbidden."
    assert first_line(OSError()) == "OSError"


def test_a_cased_vocabulary_alone_is_read_as_cased(folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join(TINY_WORDS) + "\n", encoding="utf-8")
    assert "A" in load_encoder(folder)[1].tokenize("A cat")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    with pytest.warns(UserWarning, match="has words with capitals, which are then never found"):
        load_encoder(folder)


@pytest.mark.parametrize("normalizer", [None, {"type": "Sequence", "normalizers": []}])
def test_tokenizer_json_says_whether_texts_are_lower_cased(folder, normalizer):
    entries = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert "A" not in load_encoder(folder)[1].tokenize("A cat")
    (folder / "tokenizer.json").write_text(json.dumps(entries | {"normalizer": normalizer}), encoding="utf-8")
    assert "A" in load_encoder(folder)[1].tokenize("A cat")
    lower = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}
    (folder / "tokenizer.json").write_text(json.dumps(entries | {"normalizer": lower}), encoding="utf-8")
    assert "A" not in load_encoder(folder)[1].tokenize("A cat")
