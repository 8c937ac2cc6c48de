"""Tiny random models as GGUF files: 3 MB each, made with numpy in a second, and their replies end by themselves.

The first number of every embedding is the same constant, and no layer writes to it; so the first column of the output
matrix is a bias on the tokens. It holds the logarithm of how often a token occurs in a small corpus, except that the
token that ends a reply and those that close a JSON string are given a probability of their own.
"""

import argparse
import datetime
import decimal
import hashlib
import inspect
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

Matrix: TypeAlias = NDArray[np.float64]

VOCABULARY = 2048
WIDTH = 128
LAYERS = 2
HEADS = 4
KEY_HEADS = 2
INNER = 256
CONTEXT = 32768
NORM_EPSILON = 1e-6
ROPE_BASE = 10000.0
# The constant in each embedding, against which the rest is noise of deviation 1.
BIAS_INPUT = 8.0

NOTHING, TURN, END = SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiny:
    """A model to make; `reply_length` is how many tokens an unconstrained reply has on average."""

    name: str
    architecture: str
    reply_length: int
    seed: int


TINIES = (
    Tiny(name="tiny-llama", architecture="llama", reply_length=40, seed=1),
    Tiny(name="tiny-qwen2", architecture="qwen2", reply_length=60, seed=2),
)


def make_once(folder: Path) -> dict[str, Path]:
    """The files by their models' names, in a folder named by a hash of this source.

    Whoever comes first makes them, and moves them there whole: runs at the same time do not disturb each other.
    """
    ready = folder / hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    if not ready.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as workplace:
            fresh = Path(workplace) / "models"
            make(fresh)
            try:
                fresh.rename(ready)
            except OSError:
                if not ready.is_dir():
                    raise
    return {tiny.name: ready / f"{tiny.name}.gguf" for tiny in TINIES}


def make(folder: Path) -> None:
    """Write all models into a new folder."""
    folder.mkdir()
    tokenizer = _tokenizer()
    counts = np.zeros(tokenizer.get_vocab_size())
    for text in _corpus():
        np.add.at(counts, tokenizer.encode(text).ids, 1)
    for tiny in TINIES:
        _write(folder / f"{tiny.name}.gguf", tiny, tokenizer, dict(_tensors(tiny, _bias(tiny, tokenizer, counts))))


def _corpus() -> Iterator[str]:
    for module in (argparse, textwrap, datetime, json, json.decoder, decimal):
        yield inspect.getsource(module)
    for number in range(2000):
        reply = {"answer": "yes" if number % 2 else "no", "confidence": number % 100 / 100}
        yield json.dumps({**reply, "argument": "I agree with the claim because it is true", "round": number % 7})
        yield f"The debater says that the claim is {'true' if number % 3 else 'false'}. user assistant system "


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def _bias(tiny: Tiny, tokenizer: Tokenizer, counts: Matrix) -> Matrix:
    """The logarithm of each token's probability."""
    chances: Matrix = (counts + 0.5) / (counts + 0.5).sum()
    chances[tokenizer.token_to_id(END)] = 1 / tiny.reply_length
    chances[tokenizer.token_to_id(TURN)] = chances[tokenizer.token_to_id(NOTHING)] = 1e-9
    for closing, least in (('"', 0.10), ('",', 0.03), ('"}', 0.03), ("}", 0.03)):
        token = tokenizer.token_to_id(closing)
        if token is not None:
            chances[token] = max(chances[token], least)
    logarithms: Matrix = np.log(chances / chances.sum())
    return logarithms


def _tensors(tiny: Tiny, bias: Matrix) -> Iterator[tuple[str, Matrix]]:
    """All weights under their names in a GGUF file."""
    random = np.random.default_rng(tiny.seed)
    embedding = random.normal(0, 1, (len(bias), WIDTH))
    embedding[:, 0] = BIAS_INPUT
    output = random.normal(0, 0.08, (len(bias), WIDTH))
    # What is left of the constant after the last norm.
    output[:, 0] = bias / (BIAS_INPUT / np.sqrt((BIAS_INPUT**2 + WIDTH - 1) / WIDTH))
    yield "token_embd.weight", embedding
    yield "output.weight", output
    yield "output_norm.weight", np.ones(WIDTH)
    for layer in range(LAYERS):
        for name, weights in _layer(tiny, random):
            yield f"blk.{layer}.{name}", weights


def _layer(tiny: Tiny, random: np.random.Generator) -> Iterator[tuple[str, Matrix]]:
    keys = WIDTH // HEADS * KEY_HEADS
    shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (keys, WIDTH), "attn_v": (keys, WIDTH), "attn_output": (WIDTH, WIDTH)}
    shapes |= {"ffn_gate": (INNER, WIDTH), "ffn_up": (INNER, WIDTH), "ffn_down": (WIDTH, INNER)}
    for name, shape in shapes.items():
        weights = random.normal(0, 0.02, shape)
        if name in ("attn_output", "ffn_down"):
            weights[0] = 0  # these two write to the next layer's input, and must leave the constant alone
        yield f"{name}.weight", weights
    yield "attn_norm.weight", np.ones(WIDTH)
    yield "ffn_norm.weight", np.ones(WIDTH)
    if tiny.architecture == "qwen2":
        yield "attn_q.bias", np.zeros(WIDTH)
        yield "attn_k.bias", np.zeros(keys)
        yield "attn_v.bias", np.zeros(keys)


def _write(path: Path, tiny: Tiny, tokenizer: Tokenizer, tensors: dict[str, Matrix]) -> None:
    writer = gguf.GGUFWriter(path, tiny.architecture)
    writer.add_name(tiny.name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, tokenizer)
    for name, weights in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(weights, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, tokenizer: Tokenizer) -> None:
    ids = tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.__getitem__)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    kinds = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    # Older versions of tokenizers write a merge as one text, newer ones as a pair.
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(ids[END])
    writer.add_bos_token_id(ids[NOTHING])
    writer.add_pad_token_id(ids[NOTHING])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
