"""A tiny random BERT of transformers, in memory and as a folder."""

import pytest
import torch
import transformers
from helpers import TINY_SIZES, TINY_WORDS


@pytest.fixture(scope="module")
def theirs():
    """The model of transformers in eval mode, with its tokenizer."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=len(TINY_WORDS), **TINY_SIZES)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(std=0.3)
    return model, transformers.BertTokenizer({word: i for i, word in enumerate(TINY_WORDS)})


@pytest.fixture
def folder(theirs, tmp_path):
    """Both in a folder, as transformers saves them."""
    for part in theirs:
        part.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"
