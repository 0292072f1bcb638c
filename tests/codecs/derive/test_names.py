"""One spelling for a tensor, whatever container its name comes from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvs.codecs.derive.names import canonical


@pytest.mark.parametrize(
    ("gguf", "other"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("blk.10.attn_k.bias", "model.layers.10.self_attn.k_proj.bias"),
        ("blk.3.attn_v.weight", "base_model.model.model.layers.3.self_attn.v_proj.base_layer.weight"),
        ("blk.3.attn_output.weight", "_orig_mod.model.layers.3.self_attn.o_proj.weight"),
        ("blk.3.attn_q_norm.weight", "module.model.layers.3.self_attn.q_norm.weight"),
        ("blk.3.attn_k_norm.weight", "model.language_model.layers.3.self_attn.k_norm.weight"),
        ("blk.3.attn_norm.weight", "state_dict/model.layers.3.input_layernorm.weight"),
        ("blk.3.ffn_norm.weight", "model/layers.3.post_attention_layernorm.weight"),
        ("blk.3.ffn_gate.weight", "module._orig_mod.model.layers.3._checkpoint_wrapped_module.mlp.gate_proj.weight"),
        ("blk.3.ffn_up.weight", "layers.3.feed_forward.w3.weight"),
        ("blk.3.ffn_down.weight", "language_model.model.layers.3.mlp.down_proj.weight"),
    ],
)
def test_a_tensor_is_found_under_its_name_in_another_container(gguf: str, other: str) -> None:
    """Without it every tensor is compared with every other, or stored twice."""
    assert canonical(gguf) == canonical(other)


def test_layers_and_roles_stay_apart() -> None:
    names = [
        f"blk.{n}.{part}.{role}"
        for n in (1, 11)
        for part in ("attn_q", "attn_k", "ffn_up")
        for role in ("weight", "bias")
    ]
    assert len({canonical(name) for name in names}) == len(names)


def test_a_name_of_another_kind_stays_as_it_is() -> None:
    assert canonical("visual.patch_embed.proj.weight") == "visual.patch_embed.proj.weight"
    assert canonical("model") == "model"
    assert canonical("transformer.") == "transformer."
    assert canonical("") == ""


@given(
    st.text(max_size=60)
    | st.from_regex(r"(model[./]|module\.|base_layer\.|blk\.[0-9]\.|[a-z_]*\.){0,6}weight", fullmatch=True)
)
def test_a_spelling_is_its_own_spelling(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)
