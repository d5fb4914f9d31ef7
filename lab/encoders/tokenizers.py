"""Load the tokenizer of an encoder: BERT's WordPiece, as a fast tokenizer of transformers."""

import json
import os
import re
import reprlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.bert import BertConfig
from lab.errors import LabError

if TYPE_CHECKING:  # importing transformers takes a second
    from transformers import PreTrainedTokenizerBase

LONGEST = 300  # characters of another program's message
LFS = b"version https://git-lfs.github.com/spec/"
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head)", re.IGNORECASE)
MOST_BYTES = 30_000_000  # of a tokenizer.json or vocab.txt; multilingual BERTs have up to 15 million
MOST_OTHER = 2_000_000  # of the other files
FILES = {"tokenizer.json": MOST_BYTES, "tokenizer_config.json": MOST_OTHER, "added_tokens.json": MOST_OTHER,
         "special_tokens_map.json": MOST_OTHER}
# The classes of tokenizers that split words as BERT's does.
ALIKE = ("Bert", "DistilBert", "Electra", "MobileBert", "LayoutLM")
WORD_PIECE = [None, "PreTrainedTokenizerFast", "TokenizersBackend",
              *(f"{of}Tokenizer{end}" for of in ALIKE for end in ("", "Fast"))]
CASED = 0.01  # the share of words with capitals from which on a vocabulary is cased; multilingual ones have a third


def load_tokenizer(folder: Path, config: BertConfig) -> "PreTrainedTokenizerBase":
    """The fast WordPiece tokenizer of a folder; by default it neither truncates nor pads. LabError: none there."""
    from tokenizers import Tokenizer
    from transformers import BertTokenizer  # the fast one since transformers 5

    path, vocab = folder / "tokenizer.json", folder / "vocab.txt"
    check_file(vocab, MOST_BYTES)
    entries, options, added, _ = [_object(folder / name, most) for name, most in FILES.items()]
    try:
        _check_words(folder, max(len(added), len(options.get("added_tokens_decoder") or ())), config)
        if path.exists():
            if (kind := entries["model"].get("type", "WordPiece")) != "WordPiece":
                raise LabError(f"{path}: a {reprlib.repr(kind)} tokenizer; BERT needs WordPiece")
            words = [*entries["model"]["vocab"], *(token["content"] for token in entries.get("added_tokens") or ())]
            _check_words(path, len(set(words)), config)
            case = _options(entries.get("normalizer") or {})
        elif vocab.exists():
            said = options.get("tokenizer_class") or _object(folder / "config.json", MOST_OTHER).get("tokenizer_class")
            if said not in WORD_PIECE:
                raise LabError(f"{folder}: its tokenizer is {reprlib.repr(said)}, and BERT's WordPiece would split "
                               "texts otherwise than this encoder knows them")
            words = _vocabulary(vocab)
            _check_words(vocab, len(words), config)
            case = _case(folder, words, options.get("do_lower_case"))
        else:
            raise LabError(f"{folder}: neither tokenizer.json nor vocab.txt in this folder")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True, **case)
        if path.exists():  # BertTokenizer has put others in their place
            own = Tokenizer.from_file(str(path))
            tokenizer.backend_tokenizer.normalizer = own.normalizer
            tokenizer.backend_tokenizer.pre_tokenizer = own.pre_tokenizer
            tokenizer.backend_tokenizer.model = own.model
        largest, said = max(tokenizer.get_vocab().values()), tokenizer.model_max_length
        needed = map(str, (tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token))
        missing = [token for token in needed if token not in words and token not in added]
        # MiniLM's tokenizer.json truncates and pads every text to 128 tokens by default.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    except LabError:
        raise
    except Exception as error:  # the Rust part of the tokenizer raises plain Exceptions
        raise LabError(f"{folder}: the tokenizer cannot be read ({first_line(error)})") from None
    if missing:
        raise LabError(f"{folder}: the tokenizer's vocabulary lacks {', '.join(missing)}, which BERT needs")
    if largest >= config.vocab_size:
        new = [token for token in tokenizer.all_special_tokens if token not in words and token not in added]
        why = f", since its vocabulary lacks {', '.join(new)}, which would be added" if new else ""
        raise LabError(f"{folder}: the tokenizer has ids up to {largest}, but the vocab_size of config.json is "
                       f"{config.vocab_size}{why}")
    longest = config.max_position_embeddings
    tokenizer.model_max_length = int(min(said, longest)) if type(said) in (int, float) and said >= 1 else longest
    return tokenizer


def _options(normalizer: dict[str, Any]) -> dict[str, Any]:
    """The options of BertTokenizer that tokenizer.json's normalizer stands for; they are saved with the tokenizer."""
    own = normalizer.get("type") == "BertNormalizer"
    return {"do_lower_case": own and normalizer["lowercase"], "strip_accents": own and normalizer["strip_accents"],
            "tokenize_chinese_chars": own and normalizer["handle_chinese_chars"]}


def _vocabulary(vocab: Path) -> list[str]:
    """The words of a vocab.txt, one a line. LabError: it is not UTF-8, or its first word is another than is seen."""
    try:
        text = vocab.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise LabError(f"{vocab}: not UTF-8 text ({first_line(error)}); take the original file") from None
    if text.startswith("\ufeff"):
        raise LabError(f"{vocab}: it begins with a byte order mark, so its first word would be unknown; save it as "
                       "UTF-8 without one")
    if "\n\u2581" in text and "\n##" not in text:
        raise LabError(f"{vocab}: its words begin with \u2581, so it is SentencePiece's; BERT needs WordPiece")
    return text.removesuffix("\n").split("\n")


def _case(folder: Path, words: list[str], said: object) -> dict[str, bool]:
    """Whether a vocab.txt alone is read in lower case: a cased vocabulary is not, where nothing else is said."""
    if said is not None and type(said) is not bool:
        raise LabError(f"{folder / 'tokenizer_config.json'}: do_lower_case must be true or false, not "
                       f"{reprlib.repr(said)}")
    capitals = [word for word in words if word != word.lower() and not (word.startswith("[") and word.endswith("]"))]
    lower = len(capitals) < CASED * len(words) if said is None else said
    if lower and capitals:
        warnings.warn(f"{folder}: texts are lower-cased, so {len(capitals)} words of vocab.txt with capitals, such as "
                      f"{reprlib.repr(capitals[0])}, are never found; if this encoder is cased, write "
                      f'{{"do_lower_case": false}} into its tokenizer_config.json', stacklevel=4)
    return {"do_lower_case": lower}


def _object(file: Path, most: int) -> dict[str, Any]:
    """The JSON object in a file; empty where there is none. LabError: it cannot be read."""
    check_file(file, most)
    try:
        entries = json.loads(file.read_text("utf-8-sig")) if file.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(f"{file}: cannot be read as JSON ({first_line(error)})") from None
    if not isinstance(entries, dict):
        raise LabError(f"{file}: not a JSON object")
    return entries


def _check_words(file: Path, words: int, config: BertConfig) -> None:
    """LabError: a tokenizer has more words than its encoder. Making it first could take minutes and gigabytes."""
    if words > config.vocab_size:
        raise LabError(f"{file}: the tokenizer has ids up to {words - 1}, but the vocab_size of config.json is "
                       f"{config.vocab_size}")


def check_file(file: Path, most: int | None = None) -> None:
    """LabError: no file, a link to nothing, a Git LFS pointer, a web page, or more than `most` bytes.

    Nothing, if it is not there.
    """
    if not file.exists():
        if os.path.islink(file):
            raise LabError(f"{file}: a link to a file that is not there; copy the file itself, as `cp -L` does")
        return
    if not file.is_file():  # a named pipe would block
        raise LabError(f"{file} is not a file; move it away")
    try:
        with open(file, "rb") as stream:
            start = stream.read(200)
    except OSError as error:
        raise LabError(f"{file}: cannot be read ({error.strerror})") from None
    if start.startswith(LFS):
        raise LabError(f"{file}: a Git LFS pointer, and not the file itself; run `git lfs pull` in {file.parent}")
    if WEB_PAGE.match(start):
        raise LabError(f"{file}: a web page in place of the file; download the file itself")
    if most and (size := file.stat().st_size) > most:
        raise LabError(f"{file}: {size:,} bytes; a file of at most {most:,} is expected here")


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, cut if it is long; the name of its class if it is empty.
    """
    if isinstance(error, KeyError):
        return f"no entry {error}"
    return str(error).strip().partition("\n")[0][:LONGEST] or type(error).__name__
