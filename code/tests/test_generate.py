"""Generation: the cache changes nothing, batches equal single rows, transformers writes the same tokens."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.generate import generate, generate_plain, load_model, main, pad_left, stream, stream_text
from aerogpt.model import GPT
from aerogpt.models import Model1, Model2
from aerogpt.tokenizer import END_OF_TEXT, BPETokenizer

CONFIG = GPTConfig(vocab_size=61, n_ctx=32, n_layer=3, n_head=4, n_embd=32)


def random_model(config, seed=0):
    """A model whose biases and LayerNorms are not zeros and ones, and whose logits are far apart."""
    model = GPT(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        middle = 1.0 if ".ln" in name and name.endswith("weight") else 0.0
        torch.nn.init.normal_(parameter, middle, 0.2, generator=generator)
    return model


@pytest.fixture(scope="module")
def model():
    return random_model(CONFIG)


@pytest.fixture(scope="module")
def theirs(model):
    """transformers' GPT-2 with the same weights; its matrices are (in, out)."""
    config = GPT2Config(vocab_size=61, n_positions=32, n_layer=3, n_head=4, n_embd=32, bos_token_id=0, eos_token_id=0)
    theirs = GPT2LMHeadModel(config).eval()
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    theirs.load_state_dict({n: t.T if n.endswith(matrices) else t for n, t in model.state_dict().items()})
    return theirs


def prompts(*lengths):
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randint(0, 61, (n,), generator=generator).tolist() for n in lengths]


GREEDY = {"temperature": 0}


def sampled(seed):
    return {"temperature": 1.5, "top_k": 20, "top_p": 0.95, "generator": torch.Generator().manual_seed(seed)}


@settings(max_examples=25)
@given(st.integers(1, 11), st.integers(0, 11), st.integers(1, 3), st.booleans(), st.integers(0, 100))
def test_with_and_without_cache_token_for_token(n_prompt, n_new, n_batch, greedy, seed):
    model = random_model(GPTConfig(vocab_size=61, n_ctx=12, n_layer=2, n_head=2, n_embd=16), seed)
    n_new = min(n_new, 12 - n_prompt)
    idx = torch.randint(0, 61, (n_batch, n_prompt), generator=torch.Generator().manual_seed(seed))
    results = [
        generate(model, idx, n_new, use_cache=use_cache, **(GREEDY if greedy else sampled(seed)))
        for use_cache in (True, False)
    ]
    assert torch.equal(*results)
    assert results[0].shape == (n_batch, n_prompt + n_new)
    assert torch.equal(results[0][:, :n_prompt], idx)


def test_the_plain_loop_writes_the_same(model):
    ids = prompts(5)[0]
    expected = list(ids)
    for _ in range(20):
        expected.append(model(torch.tensor([expected]))[0, -1].argmax().item())
    assert len(set(expected[5:])) > 3  # not a fixed point, where any error would hide
    for function in (generate, generate_plain):
        assert function(model, torch.tensor([ids]), 20, **GREEDY)[0].tolist() == expected


def test_the_plain_loop_serves_the_first_models_of_the_course():
    idx = torch.tensor(prompts(4, 4))
    model = Model1(61, 8)
    output = generate_plain(model, idx, 9, **sampled(1))
    assert output.shape == (2, 13) and torch.equal(output[:, :4], idx)
    assert torch.equal(output, generate_plain(model, idx, 9, n_ctx=1, **sampled(1)))  # it sees the last token alone
    model = Model2(61, 6, 8)
    assert generate_plain(model, idx, 9, n_ctx=6).shape == (2, 13)
    with pytest.raises(ValueError, match="more than the context of 6"):
        generate_plain(model, idx, 9)


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_tokens_of_transformers(model, theirs, use_cache):
    idx = torch.tensor(prompts(8, 8) + prompts(8))
    expected = theirs.generate(idx, attention_mask=torch.ones_like(idx), max_new_tokens=24, do_sample=False,
                               pad_token_id=0, eos_token_id=None)
    assert torch.equal(generate(model, idx, 24, use_cache=use_cache, **GREEDY), expected)


def test_the_tokens_of_transformers_on_a_padded_batch(model, theirs):
    idx, mask = pad_left(prompts(3, 9, 1, 6))
    expected = theirs.generate(idx, attention_mask=mask, max_new_tokens=20, do_sample=False, pad_token_id=0,
                               eos_token_id=None)
    assert torch.equal(generate(model, idx, 20, attention_mask=mask, **GREEDY), expected)


@pytest.mark.parametrize("pad_token", [0, 60])
@pytest.mark.parametrize("use_cache", [True, False])
def test_padded_rows_equal_single_rows(model, use_cache, pad_token):
    rows = prompts(3, 12, 1, 7)
    idx, mask = pad_left(rows, pad_token)
    batch = generate(model, idx, 20, attention_mask=mask, use_cache=use_cache, **GREEDY)
    for row, output in zip(rows, batch):
        assert output[12:].tolist() == generate(model, torch.tensor([row]), 20, **GREEDY)[0, len(row):].tolist()


def test_beyond_the_context_only_the_last_tokens_count(model):
    idx = torch.tensor(prompts(40, 40))
    expected = generate_plain(model, idx, 10, n_ctx=CONFIG.n_ctx, **GREEDY)
    assert torch.equal(generate(model, idx, 10, use_cache=False, **GREEDY), expected)
    rows = prompts(20, 30)
    idx, mask = pad_left(rows)
    output = generate(model, idx, 15, attention_mask=mask, use_cache=False, **GREEDY)
    alone = generate(model, torch.tensor(rows[:1]), 12, use_cache=False, **GREEDY)
    assert torch.equal(output[0, 10 : 32 + 10], alone[0])  # until its own 32 tokens are full


def test_each_row_stops_by_itself(model):
    idx = torch.tensor(prompts(6, 6) + prompts(6))
    free = generate(model, idx, 20, **GREEDY)[:, 6:].tolist()
    stops = [free[0][4], free[1][9]]
    lengths = [next((i + 1 for i, token in enumerate(row) if token in stops), 20) for row in free]
    assert len(set(lengths)) > 1
    output = generate(model, idx, 20, stop_tokens=stops, **GREEDY)[:, 6:].tolist()
    for row, unstopped, length in zip(output, free, lengths):
        assert len(row) == max(lengths)
        assert row[:length] == unstopped[:length]  # the stop token included
        assert row[length:] == [row[length - 1]] * (max(lengths) - length)


def test_the_cache_ends_where_the_context_ends(model):
    idx = torch.tensor(prompts(12))
    assert generate(model, idx, 20).shape == (1, 32)
    with pytest.raises(ValueError, match="12 tokens and 21 new ones exceed the context of 32.*use_cache=False"):
        generate(model, idx, 21)


def test_streaming_yields_as_it_goes(model):
    idx = torch.tensor(prompts(4, 4))
    whole = generate(model, idx, 10, **GREEDY)
    tokens = stream(model, idx, 10, **GREEDY)
    assert torch.equal(next(tokens), whole[:, 4])
    assert torch.equal(torch.stack(list(tokens), dim=1), whole[:, 5:])  # 9 times (B,) -> (B, 9)
    assert torch.is_grad_enabled()


def test_the_last_position_alone_is_scored_and_with_the_cache_alone_computed(model, monkeypatch):
    shapes = []
    monkeypatch.setattr(model.lm_head, "forward", lambda x, f=model.lm_head.forward: shapes.append(x.shape) or f(x))
    first = model.transformer.h[0]
    monkeypatch.setattr(first, "forward", lambda x, *a, f=first.forward: shapes.append(x.shape) or f(x, *a))
    generate(model, torch.tensor(prompts(6)), 3)
    assert [shape[1] for shape in shapes] == [6, 1, 1, 1, 1, 1]
    shapes.clear()
    generate(model, torch.tensor(prompts(6)), 3, use_cache=False)
    assert [shape[1] for shape in shapes] == [6, 1, 7, 1, 8, 1]


def test_seeds(model):
    idx = torch.tensor(prompts(6))
    outputs = [generate(model, idx, 20, **sampled(seed)) for seed in (1, 1, 2)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@pytest.mark.gpu
def test_cuda_writes_the_same(model):
    idx, mask = pad_left(prompts(3, 9))
    expected = generate(model, idx, 20, attention_mask=mask, stop_tokens=[7], **GREEDY)
    on_gpu = copy.deepcopy(model).cuda()
    output = generate(on_gpu, idx.cuda(), 20, attention_mask=mask.cuda(), stop_tokens=[7], **GREEDY)
    assert torch.equal(output.cpu(), expected)
    draws = [generate(on_gpu, idx.cuda(), 20, generator=torch.Generator("cuda").manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)


def test_nothing_to_add(model):
    idx = torch.tensor(prompts(32))
    assert torch.equal(generate(model, idx, 0), idx)


@pytest.mark.parametrize(
    "idx, options, message",
    [
        (torch.zeros(4, dtype=torch.long), {}, r"shape \(batch, tokens\) .* got \(4,\)"),
        (torch.zeros(1, 0, dtype=torch.long), {}, r"got \(1, 0\)"),
        (torch.tensor([[3, 61]]), {}, "from 0 to 60, got 3 to 61"),
        (torch.tensor([[-1, 5]]), {}, "got -1 to 5"),
        (torch.tensor([[1]]), {"max_new_tokens": -1}, "at least 0, got -1"),
        (torch.tensor([[1]]), {"max_new_tokens": 2.5}, "got 2.5"),
        (torch.tensor([[1]]), {"stop_tokens": [61, 3]}, r"stop tokens .* got \[61\]"),
        (torch.tensor([[1]]), {"attention_mask": torch.ones(1, 2)}, r"shape of idx, \(1, 1\), got \(1, 2\)"),
        (torch.tensor([[1, 2]]), {"attention_mask": torch.tensor([[1, 0]])}, "pad on the left"),
    ],
)
def test_arguments_that_do_not_fit(model, idx, options, message):
    with pytest.raises(ValueError, match=message):
        stream(model, idx, **{"max_new_tokens": 4, **options})  # at the call, not at the first token


def test_dropout_is_not_forgotten():
    model = GPT(GPTConfig(vocab_size=61, n_ctx=32, n_layer=1, n_head=1, n_embd=8, dropout=0.5))
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        generate(model, torch.tensor([[1]]), 1)
    assert generate(model.eval(), torch.tensor([[1]]), 1).shape == (1, 2)


def test_pad_left():
    idx, mask = pad_left([[5], [1, 2, 3]], pad_token=9)
    assert idx.tolist() == [[9, 9, 5], [1, 2, 3]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]
    for bad in ([], [[1], []]):
        with pytest.raises(ValueError, match="at least one token"):
            pad_left(bad)


@pytest.fixture(scope="module")
def bytes_tokenizer():
    """Each byte is a token: 256 ids and the end of text."""
    return BPETokenizer([])


class Parrot(torch.nn.Module):
    """A model that always continues with the same ids, whatever it reads."""

    def __init__(self, ids):
        super().__init__()
        self.ids, self.seen = list(ids), None
        self.config = GPTConfig(vocab_size=257, n_ctx=64, n_layer=1, n_head=1, n_embd=1)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, idx, **options):
        self.seen = idx if self.seen is None else self.seen
        return torch.nn.functional.one_hot(torch.tensor([[self.ids.pop(0)]]), 257).float()


def test_text_comes_letter_by_letter(bytes_tokenizer):
    parrot = Parrot("Việt🎓".encode())
    pieces = list(stream_text(parrot, bytes_tokenizer, "xin chào", 10, **GREEDY))
    assert pieces == ["V", "i", "ệ", "t", "🎓"]  # three bytes, four bytes, each as one letter
    assert parrot.seen.tolist() == [list("xin chào".encode())]
    assert list(stream_text(Parrot("ệ".encode()), bytes_tokenizer, "a", 2, **GREEDY)) == ["\N{REPLACEMENT CHARACTER}"]


def test_text_ends_before_a_stop_token_and_an_empty_prompt_is_the_start_of_a_text(bytes_tokenizer):
    (end,) = bytes_tokenizer.encode(END_OF_TEXT, allowed_special="all")
    parrot = Parrot([*b"ab", end, *b"cd"])
    assert "".join(stream_text(parrot, bytes_tokenizer, "", 5, stop_tokens=[end], **GREEDY)) == "ab"
    assert parrot.seen.tolist() == [[end]]
    with pytest.raises(ValueError, match="exceed the context"):
        stream_text(parrot, bytes_tokenizer, "x" * 64, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, bytes_tokenizer):
    """A folder as `aerogpt.train` leaves it."""
    folder = tmp_path_factory.mktemp("run")
    weights.save(random_model(dataclasses.replace(CONFIG, vocab_size=257)), folder / "model.safetensors", {})
    bytes_tokenizer.save(folder / "tokenizer.json")
    (folder / "history.json").write_text("{}")
    return str(folder)


def test_the_command_writes_what_the_functions_write(trained, capsys):
    def written(*options):
        assert main(["--model", trained, "--prompt", "chào", *options]) == 0
        return capsys.readouterr().out

    model, tokenizer = load_model(trained)
    text = "chào" + "".join(stream_text(model.eval(), tokenizer, "chào", 20, **GREEDY)) + "\n"
    assert written("--max-new-tokens", "20", "--temperature", "0") == text
    assert written("--max-new-tokens", "20", "--temperature", "0", "--no-cache") == text
    options = ["--max-new-tokens", "20", "--top-k", "50", "--top-p", "0.9", "--min-p", "0.01", "--seed"]
    assert written(*options, "1") == written(*options, "1") != written(*options, "2")
    assert len(written("--max-new-tokens", "90").encode("utf-8", "replace")) > 40  # beyond the context of 32
    assert written("--max-new-tokens", "0") == "chào\n"


@pytest.mark.parametrize(
    "options, message",
    [
        (["--model", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--temperature", "-1"], "temperature must be positive"),
        (["--top-k", "0"], "top_k must be"),
        (["--max-new-tokens", "-5"], "max_new_tokens must be"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(trained, capsys, options, message):
    assert main(["--model", trained, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("lỗi: ") and message in error and error.count("\n") == 1


def test_the_command_refuses_unknown_options(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--temperatur", "x"])
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "câu nhắc" in capsys.readouterr().out


def test_gpt2_from_a_folder_of_transformers(theirs, tmp_path, capsys):
    theirs.save_pretrained(tmp_path)
    model, tokenizer = load_model(str(tmp_path))
    assert tokenizer.n_vocab == 50257
    idx = torch.tensor(prompts(6))
    torch.testing.assert_close(model.eval()(idx), theirs(idx).logits)
