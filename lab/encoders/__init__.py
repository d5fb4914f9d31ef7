"""Encoders: load pretrained weights and tokenizers, save fine-tuned ones; device, precision and random state."""

from lab import public

__getattr__, __dir__, __all__ = public(__name__, {
    "load_encoder": "sources", "load_mlm_head": "sources",
    "save_encoder": "formats", "save_description": "formats",
    "load_tokenizer": "tokenizers",
})
