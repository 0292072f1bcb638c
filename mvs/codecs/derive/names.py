"""One spelling for the name of a tensor, so that it is found again in another container.

A hint for a search and nothing more: two tensors may share a spelling, one may have several, and
whoever finds something compares the bytes.
"""

import re

# Spellings follow Hugging Face's Llama, Qwen, Mistral and Gemma, without the prefixes below.
_WHOLE = {
    "token_embd": "embed_tokens",
    "tok_embeddings": "embed_tokens",
    "output": "lm_head",
    "output_norm": "norm",
}

# GGUF's names of what is in a layer (gguf-py/constants.py), then those of Meta's own checkpoints.
# ffn_norm is Llama's; Gemma's GGUF gives the name to another norm, which holds other values anyway.
_IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_sinks": "self_attn.sinks",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}

# Stripped again and again, in any order: wrappers nest.
_PREFIX = re.compile(
    r"(?:base_model|model|module|transformer|language_model|state_dict|model_state_dict|model_state)[./](?=.)"
)
# What torch.compile, FSDP, activation checkpointing and PEFT put in the middle of a name.
_WRAPPER = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\.")
_LAYER = re.compile(r"(?:blk|layers)\.(\d+)\.(.+)")
_ROLE = re.compile(r"(.+)\.(weight|bias)")


def canonical(name: str) -> str:
    """Return the one spelling of a tensor's name: `blk.3.attn_q.weight` is `layers.3.self_attn.q_proj.weight`."""
    bare = _WRAPPER.sub("", name)
    at = 0
    while prefix := _PREFIX.match(bare, at):
        at = prefix.end()
    bare = bare[at:]
    role = _ROLE.fullmatch(bare)
    stem, suffix = (role[1], f".{role[2]}") if role else (bare, "")
    layer = _LAYER.fullmatch(stem)
    if layer is None:
        return _WHOLE.get(stem, stem) + suffix
    return f"layers.{layer[1]}.{_IN_LAYER.get(layer[2], layer[2])}{suffix}"
