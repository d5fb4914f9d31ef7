"""Load the tokenizer of an encoder: BERT's WordPiece, as a fast tokenizer of transformers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lab.bert import BertConfig
from lab.errors import LabError

if TYPE_CHECKING:  # importing transformers takes a second
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: Path, config: BertConfig) -> "PreTrainedTokenizerBase":
    """The fast WordPiece tokenizer of a folder; by default it neither truncates nor pads. LabError: none there."""
    from transformers import BertTokenizer  # the fast one since transformers 5

    path, options = folder / "tokenizer.json", {}
    try:
        if path.exists():
            # BertTokenizer reads the normalizer from tokenizer_config.json, which may be missing: use tokenizer.json's.
            entries = json.loads(path.read_text("utf-8"))
            if entries["model"].get("type", "WordPiece") != "WordPiece":
                raise LabError(f"{path}: a {entries['model']['type']} tokenizer; BERT needs WordPiece")
            normalizer = entries.get("normalizer") or {}
            if normalizer.get("type") == "BertNormalizer":
                options = {"do_lower_case": normalizer["lowercase"], "strip_accents": normalizer["strip_accents"],
                           "tokenize_chinese_chars": normalizer["handle_chinese_chars"]}
        elif not (folder / "vocab.txt").exists():
            raise LabError(f"{folder}: neither tokenizer.json nor vocab.txt in this folder")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True, **options)
    except LabError:
        raise
    except Exception as error:  # the Rust part of the tokenizer raises plain Exceptions
        raise LabError(f"{folder}: the tokenizer cannot be read ({first_line(error)})") from None
    if (largest := max(tokenizer.get_vocab().values())) >= config.vocab_size:
        raise LabError(f"{folder}: the tokenizer has ids up to {largest}, but the vocab_size of config.json is "
                       f"{config.vocab_size}")
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    # MiniLM's tokenizer.json truncates and pads every text to 128 tokens by default.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, or the name of its class if the message is empty."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
