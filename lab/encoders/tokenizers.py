"""Load the tokenizer of an encoder: BERT's WordPiece, as a fast tokenizer of transformers."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from lab.bert import BertConfig
from lab.errors import LabError

if TYPE_CHECKING:  # importing transformers takes a second
    from transformers import PreTrainedTokenizerBase

LFS = b"version https://git-lfs.github.com/spec/"
MOST_BYTES = 100_000_000  # of a tokenizer's files; BERT's have less than one million


def load_tokenizer(folder: Path, config: BertConfig) -> "PreTrainedTokenizerBase":
    """The fast WordPiece tokenizer of a folder; by default it neither truncates nor pads. LabError: none there."""
    from tokenizers import Tokenizer
    from transformers import BertTokenizer  # the fast one since transformers 5

    path, vocab, options = folder / "tokenizer.json", folder / "vocab.txt", {}
    for file in (path, vocab):
        check_file(file, MOST_BYTES)
    try:
        if path.exists():
            # BertTokenizer makes a normalizer of its own, from tokenizer_config.json: use tokenizer.json's.
            entries = json.loads(path.read_text("utf-8"))
            if entries["model"].get("type", "WordPiece") != "WordPiece":
                raise LabError(f"{path}: a {entries['model']['type']} tokenizer; BERT needs WordPiece")
            normalizer = entries.get("normalizer") or {}
            own = normalizer.get("type") == "BertNormalizer"
            options = {"do_lower_case": own and normalizer["lowercase"],
                       "strip_accents": own and normalizer["strip_accents"],
                       "tokenize_chinese_chars": own and normalizer["handle_chinese_chars"]}
        elif vocab.exists():
            options = _case(folder, vocab)
        else:
            raise LabError(f"{folder}: neither tokenizer.json nor vocab.txt in this folder")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True, **options)
        if path.exists() and normalizer and not own:  # such as a sequence of several
            tokenizer.backend_tokenizer.normalizer = Tokenizer.from_file(str(path)).normalizer
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


def _case(folder: Path, vocab: Path) -> dict[str, bool]:
    """Whether a vocab.txt alone is read in lower case: a cased vocabulary is not, where nothing else is said."""
    config = folder / "tokenizer_config.json"
    said = json.loads(config.read_text("utf-8")).get("do_lower_case") if config.exists() else None
    words = vocab.read_text("utf-8").splitlines()
    cased = any(word != word.lower() for word in words if not (word.startswith("[") and word.endswith("]")))
    if said is None:
        return {"do_lower_case": not cased}
    if said and cased:
        warnings.warn(f"{config} says that texts are lower-cased, and {vocab.name} has words with capitals, which are "
                      "then never found", stacklevel=4)
    return {}


def check_file(file: Path, most: int) -> None:
    """LabError: the file is a Git LFS pointer, or has more than so many bytes. Nothing, if it is not there."""
    if not file.is_file():
        return
    if (size := file.stat().st_size) > most:
        raise LabError(f"{file}: {size:,} bytes; a file of at most {most:,} is expected here")
    with open(file, "rb") as stream:
        if stream.read(len(LFS)) == LFS:
            raise LabError(f"{file}: a Git LFS pointer, and not the file itself; run `git lfs pull` in {file.parent}")


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, or the name of its class if the message is empty."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
