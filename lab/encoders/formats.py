"""Read and write encoders in the Hugging Face layout: config.json, model.safetensors, tokenizer.json or vocab.txt.

Weights are read from safetensors only. A pytorch_model.bin is a pickle, and loading a pickle from an untrusted source
can run any code.
"""

import json
import re
import reprlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.overrides import TorchFunctionMode

from lab.bert import Bert, BertConfig
from lab.encoders.tokenizers import check_file, first_line
from lab.errors import LabError

if TYPE_CHECKING:  # importing transformers takes a second
    from transformers import PreTrainedTokenizerBase

# The modules of `Bert` and their names in Hugging Face checkpoints; {i} is the number of a layer.
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
# The same for the masked-language head of lab.pretrain, below "cls.predictions."; the decoder is the word embedding.
HEAD_NAMES = {"dense.weight": "transform.dense.weight", "dense.bias": "transform.dense.bias",
              "norm.weight": "transform.LayerNorm.weight", "norm.bias": "transform.LayerNorm.bias", "bias": "bias"}
SHARDS = "model-*-of-*.safetensors"
SHARD = re.compile(r"model-[\w.]+-of-[\w.]+\.safetensors")
OTHER_KINDS = {b"PK\x03\x04": "a PyTorch pickle", b"\x80\x02\x8a\n": "a PyTorch pickle",  # how files of weights begin
               b"\x89HDF": "TensorFlow's weights", b"GGUF": "a GGUF file"}
TAIL = 4096  # bytes at the end of a file of weights, not all of which are 0
MOST_BYTES = 10_000_000_000  # of a file of weights; BERT's have one or two
MOST_HEADER = 5_000_000  # bytes of its header; BERT's have less than 100,000
MOST_INDEX = 5_000_000  # bytes of an index of shards


def save_encoder(bert: Bert, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
    """Save an encoder so that transformers' AutoModel and AutoTokenizer, and sentence-transformers, can load it.

    Weights are saved as float32. Each file is written to a temporary folder and then moved, so that a reader never
    sees an incomplete file.
    """
    names = checkpoint_names(bert)
    tensors = {names[ours]: tensor.detach().cpu().float().contiguous() for ours, tensor in bert.state_dict().items()}
    _write(folder, bert.config, tokenizer, tensors)


def save_description(config: BertConfig, folder: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Save the config and the tokenizer of an encoder, without the weights, which a run keeps in its checkpoints."""
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
                path.chmod(Path(beside, "config.json").stat().st_mode)  # safetensors: for its owner alone
                path.replace(folder / path.name)
    except (OSError, SafetensorError) as error:
        raise LabError(f"{folder}: cannot write the encoder ({error})") from None


def checkpoint_names(bert: Bert) -> dict[str, str]:
    """Map each entry of the encoder's state dict to its name in a Hugging Face checkpoint."""
    names = {
        f"{ours.format(i=i)}.{kind}": f"{theirs.format(i=i)}.{kind}"
        for ours, theirs in NAMES.items()
        for i in range(bert.config.num_hidden_layers if "{i}" in ours else 1)
        for kind in ("weight", "bias")
    }
    return {ours: names[ours] for ours in bert.state_dict()}


def only_pickle(name: str) -> str:
    """The error message for an encoder without safetensors, with the command that converts it."""
    return (f"{name} has its weights as a pickle, pytorch_model.bin, and the lab reads only safetensors; if you trust "
            f'the source, convert it: python -c "from transformers import AutoModel, AutoTokenizer; '
            f"AutoModel.from_pretrained('{name}').save_pretrained('NEW'); "
            f"AutoTokenizer.from_pretrained('{name}').save_pretrained('NEW')\" and use --encoder ./NEW")


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a folder: model.safetensors, or the shards that its index lists.

    LabError: there are none, or one is something else than a file of weights (see `check_file`).
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    _check_weights(whole)
    if whole.exists():
        return [whole]
    if not index.exists():
        if any(folder.glob("pytorch_model*.bin")):
            raise LabError(only_pickle(str(folder)))
        raise LabError(f"{folder}: no model.safetensors in this folder; {contents(folder)}")
    check_file(index, MOST_INDEX)
    try:
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        bad = [shard for shard in shards if not SHARD.fullmatch(shard)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LabError(f"{index}: cannot be read as an index of shards ({first_line(error)})") from None
    if bad:
        raise LabError(f"{index}: {reprlib.repr(bad[0])} is not a valid name of a shard; expected {SHARDS}")
    for shard in shards:
        _check_weights(folder / shard)
    return [folder / shard for shard in shards]


def _check_weights(file: Path) -> None:
    """LabError: see `check_file`; or it is empty, or a file of weights of another kind under this name."""
    check_file(file, MOST_BYTES)
    if file.exists():
        with open(file, "rb") as stream:
            start = stream.read(8)
            stream.seek(max(0, file.stat().st_size - TAIL))
            end = stream.read()
        for begins, what in OTHER_KINDS.items():
            if start.startswith(begins):
                raise LabError(f"{file}: {what} under the name of a safetensors file; take the encoder's own "
                               "model.safetensors, or convert it with transformers where you trust it")
        if not start:
            raise LabError(f"{file}: an empty file; fetch it again")
        if len(end) == TAIL and not any(end):  # as a download that was cut off leaves it, where its place was reserved
            raise LabError(f"{file}: nothing but zeros at its end, so it is damaged or incomplete; fetch it again")


def contents(folder: Path) -> str:
    """What a folder that is no encoder holds, and what one does, for messages."""
    inner = sorted(path.parent for path in folder.glob("*/config.json") if any(path.parent.glob("model*.safetensors")))
    names = sorted(path.name for path in folder.iterdir())
    there = ", ".join(names[:10]) + f" and {len(names) - 10:,} more" * (len(names) > 10)
    within = f"; is the encoder {inner[0]}?" if inner else ""
    return ("an encoder's folder holds config.json, model.safetensors, and tokenizer.json or vocab.txt; this one holds "
            f"{there or 'nothing'}{within}")


def shapes(config: BertConfig, pooler: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The tensors of an encoder of these sizes, by their names in a Hugging Face checkpoint: (name, shape)."""
    H, wide = config.hidden_size, config.intermediate_size
    tables = {"word": config.vocab_size, "position": config.max_position_embeddings, "segment": config.type_vocab_size}
    for ours, theirs in NAMES.items():
        kind = ours.removeprefix("layers.{i}.")
        for i in range(config.num_hidden_layers if kind != ours else 1):
            name = theirs.format(i=i)
            if kind in tables:
                yield f"{name}.weight", (tables[kind], H)
            elif pooler or kind != "pooler.0":
                out, into = {"up": (wide, H), "down": (H, wide)}.get(kind, (H, H))
                yield f"{name}.weight", (out,) if "norm" in kind else (out, into)
                yield f"{name}.bias", (out,)


class _SkipInit(TorchFunctionMode):
    """Modules created in this context are not initialized, which saves time and leaves torch's random state unchanged.

    The device "meta" would do the same, but its normal_ first imports parts of torch, which takes two seconds.
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        initializes = getattr(function, "__module__", None) == "torch.nn.init"
        return kwargs["tensor"] if initializes else function(*args, **kwargs)


def _check_header(path: Path) -> None:
    """LabError: the header of a safetensors file is so long that reading it would take seconds and gigabytes."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if MOST_HEADER < length <= path.stat().st_size:  # a longer one than the file is refused by safetensors
        raise LabError(f"{path}: a header of {length:,} bytes; that of an encoder has at most {MOST_HEADER:,}")


def current_name(key: str) -> str:
    """The current name of a tensor. Checkpoints of 2018 call the weight and bias of a LayerNorm gamma and beta."""
    return key.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _prefix(names: Iterable[str], folder: Path) -> str:
    """What stands before the names of the encoder's tensors: "bert." of a model with heads, or of another wrapper.

    LabError: there is more than one, so more than one encoder.
    """
    word = f"{NAMES['word']}.weight"
    found = sorted(prefix for name in names if name.endswith(word)
                   and ((prefix := name.removesuffix(word)) == "" or prefix.endswith(".")))
    if len(found) > 1:
        raise LabError(f"{folder}: the weights are those of {len(found)} encoders, with names that begin with "
                       f"{' and '.join(repr(prefix[:100]) for prefix in found[:3])}; keep one of them")
    return found[0] if found and found[0] else "bert."


def read_weights(folder: Path, config: BertConfig, name: str) -> Bert:
    """Load an encoder from safetensors. Heads and other tensors beside the encoder are ignored.

    Only the pooler may be missing, as in masked-language models: it is then initialized randomly, with a warning.
    """
    path = folder
    try:
        with ExitStack() as stack, torch.no_grad():
            where: dict[str, Any] = {}
            for path in weight_files(folder):
                _check_header(path)
                file = stack.enter_context(safe_open(path, "pt"))
                for key in file.keys():
                    where[current_name(key)] = (path, file, key)
            prefix = _prefix(where, folder)
            where = {name.removeprefix(prefix): of for name, of in where.items()}
            pooler = any(key.startswith("pooler.") for key in where)
            # Before anything is allocated: a config.json may claim any size.
            for theirs, shape in shapes(config, pooler):
                if theirs not in where:
                    raise LabError(f"{folder}: {theirs} {reprlib.repr(shape)} is missing from the checkpoint")
                path, file, key = where[theirs]
                found, dtype = tuple(file.get_slice(key).get_shape()), file.get_slice(key).get_dtype()
                if found != shape:
                    raise LabError(f"{path}: {key} has shape {found}, but config.json requires {reprlib.repr(shape)}")
                if dtype not in ("F16", "BF16", "F32", "F64"):
                    raise LabError(f"{path}: {key} has dtype {dtype}; a float of 16 bits or more is expected")
            # Only here: config.json may claim any number of layers, and all that it claims were found above.
            of_encoder = {key for key in where if key.startswith(("embeddings.", "encoder."))
                          and not key.endswith("_ids")}  # older versions of transformers save position_ids
            if left := sorted(of_encoder - {theirs for theirs, _ in shapes(config)}):
                raise LabError(f"{folder}: the model of config.json (num_hidden_layers {config.num_hidden_layers}) has "
                               f"no place for {len(left)} of the weights' tensors, such as {left[0][:100]}; use the "
                               "config.json that belongs to these weights")
            with _SkipInit():
                bert = Bert(config)
            if not pooler:
                warnings.warn(f"{name} has no pooler; a new one is initialized randomly", stacklevel=3)
                bert.pooler[0].weight.normal_(std=config.initializer_range)
                bert.pooler[0].bias.zero_()
            names = checkpoint_names(bert)
            for ours, target in bert.state_dict().items():
                if names[ours] in where:
                    path, file, key = where[names[ours]]
                    target.copy_(file.get_tensor(key))
                    if not target.isfinite().all():
                        raise LabError(f"{path}: {key} holds NaN or infinite values, so this encoder is damaged")
    except (OSError, SafetensorError) as error:
        raise LabError(f"{path}: cannot be read as a safetensors file ({first_line(error)})") from None
    return bert
