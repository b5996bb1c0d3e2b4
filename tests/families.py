"""What each family of transformers can do here, tried on tiny random models.

``python -m tests.families`` prints the table of ``bench/RESULTS.md``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging

from tests.tiny_models import SPECIALS, WORDS, model_params, tiny_tokenizer
from w2s_core.errors import DataError
from w2s_core.models.architecture import is_encoder
from w2s_core.models.classifier import Classifier, build, load, save

SMALL: dict[str, Any] = {
    "vocab_size": len(WORDS) + len(SPECIALS), "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
"""In the names that most configurations share."""

MORE: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 8}, "electra": {"embedding_size": 8}, "convbert": {"embedding_size": 16},
    "big_bird": {"attention_type": "original_full"},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "esm": {"mask_token_id": 5, "position_embedding_type": "rotary", "token_dropout": False},
    "falcon": {"new_decoder_architecture": False, "multi_query": True},
    "flaubert": {"emb_dim": 16, "n_layers": 2, "n_heads": 2},
    "funnel": {
        "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32,
        "block_sizes": [1, 1], "num_decoder_layers": 1,
    },
    "gemma": {"head_dim": 8}, "gemma2": {"head_dim": 8}, "gemma3_text": {"head_dim": 8}, "qwen3": {"head_dim": 8},
    "gpt_neo": {"num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4, "num_attention_heads": 4}, "ibert": {}, "longformer": {"attention_window": 4},
    "mamba": {"state_size": 4}, "mamba2": {"head_dim": 8, "num_heads": 4, "state_size": 4, "n_groups": 1, "expand": 2},
    "mobilebert": {"embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 1},
    "modernbert": {"global_attn_every_n_layers": 2, "local_attention": 8},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64, "expansion_ratio": 2},
    "helium": {"head_dim": 8}, "rembert": {"input_embedding_size": 16},
    "roberta": {"pad_token_id": 1}, "xlm-roberta": {"pad_token_id": 1}, "camembert": {"pad_token_id": 1},
    "mpnet": {"pad_token_id": 1}, "data2vec-text": {"pad_token_id": 1}, "roberta-prelayernorm": {"pad_token_id": 1},
    "rwkv": {"attention_hidden_size": 16}, "squeezebert": {"embedding_size": 16},
    "stablelm": {"partial_rotary_factor": 0.5},
    "xglm": {"d_model": 16, "num_layers": 2, "attention_heads": 2, "ffn_dim": 32},
    "opt": {"word_embed_proj_dim": 16, "ffn_dim": 32}, "xlm": {"emb_dim": 16, "n_layers": 2, "n_heads": 2},
    "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32}, "mixtral": {"num_local_experts": 2},
    "biogpt": {}, "phi": {"partial_rotary_factor": 0.5},
}  # fmt: skip
"""What a family needs besides."""

FAMILIES = (
    "albert", "bert", "big_bird", "biogpt", "bitnet", "bloom", "camembert", "codegen", "cohere", "convbert", "ctrl",
    "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "esm", "falcon", "flaubert", "fnet",
    "funnel", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "granite",
    "helium", "ibert", "layoutlm", "llama", "longformer", "mamba", "mamba2", "megatron-bert", "mistral", "mixtral",
    "mobilebert", "modernbert", "mpnet", "mpt", "nemotron", "nystromformer", "olmo", "olmo2", "openai-gpt", "opt",
    "persimmon", "phi", "phi3", "qwen2", "qwen3", "rembert", "roberta", "roberta-prelayernorm", "roformer", "rwkv",
    "smollm3", "squeezebert", "stablelm", "starcoder2", "xglm", "xlm", "xlm-roberta", "xlnet", "yoso",
)  # fmt: skip

Q = [3, 1, 5, 9, 4, 6, 7, 2, 10]
"""Ids of a text."""


def base_of(family: str, folder: Path) -> Path:
    """A folder with a random model of a family that has an LM head, and a tokenizer."""
    fields = SMALL | MORE.get(family, {})
    if family in ("funnel", "xlnet"):  # which refuse these names
        fields = {
            name: value
            for name, value in fields.items()
            if name not in ("num_hidden_layers", "max_position_embeddings")
        }
    config = AutoConfig.for_model(family, **fields)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto = AutoModelForMaskedLM if is_encoder(config) else AutoModelForCausalLM
        try:
            model = auto.from_config(config)
        except ValueError:
            model = AutoModel.from_config(config)
        model.save_pretrained(folder)
    tiny_tokenizer(with_specials=is_encoder(config)).save_pretrained(folder)
    # Two of its words are the labels that heads look for.
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"one"', '"0"').replace('"two"', '"1"'))
    return folder


def logits(classifier: Classifier, texts: list[list[int]]) -> torch.Tensor:
    """Logits of some texts in one padded batch."""
    longest = max(map(len, texts))
    ids = torch.tensor([text + [classifier.pad_id] * (longest - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    with torch.no_grad():
        return classifier.eval()(ids, mask)


def plain(base: Path) -> str:
    classifier = build(model_params(head="small"), base, 0)
    alone, padded = logits(classifier, [Q[:4]]), logits(classifier, [Q[:4], Q, Q[:6]])[:1]
    assert torch.allclose(alone, padded, rtol=1e-3, atol=1e-5), (
        f"padding changes logits by {(alone - padded).abs().max()}"
    )
    return "yes" if classifier.is_padded else "equal lengths"


def packed(base: Path) -> str:
    classifier = build(model_params(head="small"), base, 0).eval()
    if not classifier.is_packable:
        return "no"
    n = min(classifier.max_length, 60)
    texts = [(Q * 7)[i : i + length] for i, length in enumerate((n, 50, 50, 7, 33, 7, 1))]
    alone, packed = results(classifier, texts, together=False), results(classifier, texts, together=True)
    for one, other in zip(alone, packed, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5 * float(one.abs().max()) + 1e-9)
    return "yes"


def results(classifier: Classifier, texts: list[list[int]], *, together: bool) -> list[torch.Tensor]:
    """Logits of all, and the gradients of something that is made of them."""
    classifier.zero_grad()
    if together:
        classifier.use_attention_for(max(map(len, texts)))
        assert classifier.is_packed
    ids = [torch.tensor([text]) for text in texts]
    masks = [torch.ones_like(x) for x in ids]
    if together:
        ids, masks = ([pad_sequence([x[0] for x in xs], batch_first=True)] for xs in (ids, masks))
    found = torch.cat([classifier(*of_one) for of_one in zip(ids, masks, strict=True)]).cpu()
    (found * torch.arange(1, len(texts) + 1)[:, None] * torch.tensor([1, -2])).sum().backward()
    return [found.detach(), *(p.grad for p in classifier.parameters() if p.grad is not None)]


def longest(base: Path) -> str:
    classifier = build(model_params(head="small", max_length=10_000), base, 0)
    n = min(classifier.max_length, 200)
    assert logits(classifier, [(Q * 40)[:n]]).isfinite().all()
    return str(classifier.max_length) if classifier.max_length < 10_000 else "no limit"


def trains(base: Path) -> str:
    classifier = build(model_params(head="small"), base, 0)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-2)
    ids, mask = torch.tensor([Q[:4] * 2, Q[4:8] * 2]), torch.ones(2, 8, dtype=torch.long)
    losses = []
    classifier.use_dropout(False)
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(classifier(ids, mask), torch.tensor([0, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses) < losses[0] - 0.01, losses
    return "yes"


def bf16(base: Path) -> str:
    full, half = (logits(build(model_params(head="small", precision=p), base, 0), [Q]) for p in ("fp32", "bf16"))
    assert torch.allclose(full, half, rtol=0.1, atol=0.05 * float(full.abs().max()) + 1e-3), (full, half)
    return "yes"


def lora(base: Path) -> str:
    classifier = build(model_params(head="small", lora={"rank": 2, "alpha": 4.0, "dropout": 0.0}), base, 0)
    before = logits(classifier, [Q])
    with tempfile.TemporaryDirectory() as folder:
        save(classifier, Path(folder))
        assert torch.allclose(logits(load(Path(folder)), [Q]), before, rtol=1e-3, atol=1e-5)
    return "yes"


def with_model(**changes: Any) -> Callable[[Path], str]:
    def tried(base: Path) -> str:
        assert logits(build(model_params(**{"head": "small", **changes}), base, 0), [Q]).isfinite().all()
        return "yes"

    return tried


CHECKS: dict[str, Callable[[Path], str]] = {
    "padded": plain,
    "packed": packed,
    "positions": longest,
    "trains": trains,
    "bf16": bf16,
    "lora": lora,
    "n_layers = 1": with_model(n_layers=1),
    "init = random": with_model(init="random", size={"n_layers": 1, "width": 32, "n_heads": 4}),
    "unembed_rows": with_model(head="unembed_rows"),
    "lm_head_tokens": with_model(head="lm_head_tokens"),
}


def examine(family: str, folder: Path) -> tuple[dict[str, str], list[str]]:
    """What each check says, ``refused`` where it gives one line, and the lines."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    base = base_of(family, folder)
    row, lines = {}, []
    for name, check in CHECKS.items():
        try:
            row[name] = check(base)
        except DataError as error:
            if "\n" in str(error):
                raise AssertionError(f"several lines: {error}") from error
            row[name] = "refused"
            lines.append(f"{name}: {str(error).removeprefix(f'{base}: ')}")
    return row, lines


def main(names: list[str]) -> None:
    """Print the table, and every refusal below it."""
    refusals = []
    print(f"| family | {' | '.join(CHECKS)} |\n|---|{'---|' * len(CHECKS)}")
    for family in names or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                row, lines = examine(family, Path(folder))
            except Exception as error:  # what a family does wrong is what is asked
                print(f"| {family} | {type(error).__name__}: {str(error)[:200]!r} |", flush=True)
                continue
        refusals += [f"- {family}: {line}" for line in lines]
        print(f"| {family} | {' | '.join(row.values())} |", flush=True)
    print("\n".join(["", *refusals]))


if __name__ == "__main__":
    main(sys.argv[1:])
