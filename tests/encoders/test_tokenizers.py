"""lab/encoders/tokenizers.py against transformers' AutoTokenizer, and files that cannot be used."""

import json

import pytest
import torch
import transformers
from helpers import TINY_TEXTS, TINY_WORDS
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

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
    ("{", r"tokenizer\.json: cannot be read as JSON"),
    ("[]", r"tokenizer\.json: not a JSON object"),
    pytest.param('{"a":' * 100_000, r"tokenizer\.json: cannot be read as JSON", id="deep"),
    ("{}", r"the tokenizer cannot be read \(no entry 'model'\)"),
    ('{"model": {"type": "Unigram", "vocab": []}}', "a 'Unigram' tokenizer; BERT needs WordPiece"),
])
def test_a_bad_tokenizer_is_named(text, message, folder):
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(LabError, match=rf"^[^\n]{{0,300}}{message}[^\n]{{0,300}}$"):
        load_encoder(folder)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
@pytest.mark.parametrize("text, message", [
    ("[" * 100_000, "cannot be read as JSON"),
    ("[1]", "not a JSON object"),
    ('"' + "x" * 2_000_000 + '"', "2,000,002 bytes"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a Git LFS pointer"),
], ids=["deep", "list", "giant", "pointer"])
def test_the_tokenizers_other_files_are_named_too(file, text, message, folder):
    (folder / file).write_text(text)
    with pytest.raises(LabError, match=rf"^[^\n]*{file}: {message}[^\n]*$"):
        load_encoder(folder)


@pytest.mark.parametrize("words", ["", "\n".join(word for word in TINY_WORDS if word != "[UNK]")])
def test_a_vocabulary_without_the_words_that_bert_needs(words, folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text(words, encoding="utf-8")
    with pytest.raises(LabError, match=r"vocabulary lacks .*\[UNK\], which BERT needs"):
        load_encoder(folder)


@pytest.mark.parametrize(("words", "kind", "message"), [
    (TINY_WORDS, "KoBertTokenizer", "its tokenizer is 'KoBertTokenizer', and BERT's WordPiece would split"),
    ([word.replace("##", "\u2581") for word in TINY_WORDS], "BertTokenizer", "so it is SentencePiece's")])
def test_another_tokenizer_with_a_vocabulary_is_refused(words, kind, message, folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    own, config = folder / "tokenizer_config.json", folder / "config.json"
    own.write_text(json.dumps({"tokenizer_class": kind}))
    with pytest.raises(LabError, match=message):
        load_encoder(folder)
    own.unlink()  # as in older folders, where config.json says it
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tokenizer_class": kind}))
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_the_tokenizers_file_says_how_pieces_begin(theirs, folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("##", "@@"), encoding="utf-8")
    assert load_encoder(folder)[1].tokenize("cats") == ["cat", "@@s"]


@pytest.mark.parametrize(("content", "message"), [
    (b"\xef\xbb\xbf" + "\n".join(TINY_WORDS).encode(), r"vocab\.txt: it begins with a byte order mark, .*; save it as"),
    ("\n".join(TINY_WORDS).encode("latin1"), r"vocab\.txt: not UTF-8 text \(.*\); take the original file"),
    ("\n".join(TINY_WORDS).replace("[MASK]", "dog").encode(), r"is 14, since its vocabulary lacks \[MASK\], "),
])
def test_a_damaged_vocabulary_is_named(content, message, folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_bytes(content)
    with pytest.raises(LabError, match=message):
        load_encoder(folder)


def test_whether_texts_are_lower_cased_is_true_or_false(folder):
    (folder / "tokenizer.json").rename(folder / "old")
    (folder / "vocab.txt").write_text("\n".join(TINY_WORDS), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": "false"}')
    with pytest.raises(LabError, match=r"tokenizer_config\.json: do_lower_case must be true or false, not 'false'"):
        load_encoder(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt", "added_tokens.json", "tokenizer_config.json"])
def test_more_words_than_the_encoder_has_are_refused_before_they_are_read(file, folder, monkeypatch):
    monkeypatch.setattr(transformers.BertTokenizer, "from_pretrained", None)  # which would take minutes for millions
    words = {f"word{i}": 14 + i for i in range(20)}
    entries = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    entries["model"]["vocab"] |= words
    if file == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    text = {"tokenizer.json": json.dumps(entries), "vocab.txt": "\n".join([*TINY_WORDS, *words]),
            "added_tokens.json": json.dumps(words),
            "tokenizer_config.json": json.dumps({"added_tokens_decoder": {str(i): {} for i in words.values()}})}[file]
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(LabError, match=r"the tokenizer has ids up to .*, but the vocab_size of config.json is 14"):
        load_encoder(folder)


@pytest.mark.parametrize("said, means", [(7, 7), ("7", 16), (-1, 16), (None, 16), (float("inf"), 16), (10**40, 16)])
def test_the_longest_text_is_never_longer_than_the_encoders_positions(said, means, folder):
    entries = json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": said}
    (folder / "tokenizer_config.json").write_text(json.dumps(entries))
    assert load_encoder(folder)[1].model_max_length == means


def test_the_first_line_of_an_error():
    assert len(first_line(OSError("x" * 10_000))) == 300
    assert first_line(OSError("\n\n403 Forbidden.\nMore")) == "403 Forbidden."
    assert first_line(OSError()) == "OSError"


def test_a_cased_vocabulary_alone_is_read_as_cased(folder):
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join(TINY_WORDS) + "\n", encoding="utf-8")
    assert "A" in load_encoder(folder)[1].tokenize("A cat")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    with pytest.warns(UserWarning, match=r"so 1 words of vocab.txt with capitals, such as 'A', are never found"):
        load_encoder(folder)


def test_an_uncased_vocabulary_with_a_word_in_capitals_stays_uncased_with_a_warning(folder):
    """As one to which someone has added the name of a thing; read as cased, every capital letter would be unknown."""
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 214}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = torch.zeros(214, 12)
    save_file(tensors, folder / "model.safetensors")
    words = [*TINY_WORDS, *(f"word{i}" for i in range(200))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="such as 'A', are never found"):
        tokenizer = load_encoder(folder)[1]
    assert tokenizer.tokenize("WORD7 cat") == ["word7", "cat"]


@pytest.mark.parametrize("normalizer", [None, {"type": "Sequence", "normalizers": []}])
def test_tokenizer_json_says_whether_texts_are_lower_cased(folder, normalizer):
    entries = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert "A" not in load_encoder(folder)[1].tokenize("A cat")
    (folder / "tokenizer.json").write_text(json.dumps(entries | {"normalizer": normalizer}), encoding="utf-8")
    assert "A" in load_encoder(folder)[1].tokenize("A cat")
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))  # which cleans no texts and keeps Chinese together
    text = "A cats\x00\u200b, \u00e9 \u4e2d\u56fd"
    assert load_encoder(folder)[1](text)["input_ids"] == plain.encode(text).ids
    lower = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}
    (folder / "tokenizer.json").write_text(json.dumps(entries | {"normalizer": lower}), encoding="utf-8")
    assert "A" not in load_encoder(folder)[1].tokenize("A cat")
