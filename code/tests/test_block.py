"""The block is its two equations."""

import torch
from torch import nn

from aerogpt.block import Block
from aerogpt.config import GPTConfig

CONFIG = GPTConfig(vocab_size=5, n_ctx=12, n_layer=2, n_head=4, n_embd=32)


def test_a_block_is_torchs_pre_norm_encoder_layer_with_a_causal_mask():
    ours = Block(CONFIG)
    theirs = nn.TransformerEncoderLayer(32, 4, 128, dropout=0, batch_first=True, norm_first=True,
                                        activation=nn.GELU(approximate="tanh"))
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.5)
    names = {"ln_1": "norm1", "ln_2": "norm2", "attn.c_attn.": "self_attn.in_proj_", "attn.c_proj": "self_attn.out_proj",
             "mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
    state = {}
    for name, tensor in ours.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = tensor
    theirs.load_state_dict(state)
    x = torch.randn(2, 6, 32)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask), atol=1e-4, rtol=1e-4)


def test_the_residual_stream_passes_a_silent_block_unchanged():
    block, x = Block(CONFIG), torch.randn(2, 6, 32)
    for projection in (block.attn.c_proj, block.mlp.c_proj):
        nn.init.zeros_(projection.weight)
    assert torch.equal(block(x), x)
