"""Turn a finished training run into package data: float16 weights, tokenizer, provenance with the hash of every file.

    python -m aerogpt.corpus docs --out code/aerogpt/data/vi-tiny-corpus.txt
    python -m aerogpt.train --corpus code/aerogpt/data/vi-tiny-corpus.txt --out run …
    python -m aerogpt.release run --name vi-tiny --note "…"
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aerogpt import weights
from aerogpt.corpus import SEPARATOR, read_documents, split_documents
from aerogpt.data import encode_documents, token_bytes
from aerogpt.evaluation import bits_per_byte, evaluate
from aerogpt.tokenizer import BPETokenizer


def _commit(folder: Path) -> str | None:
    """The commit that is checked out where ``folder`` lies, None without git."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def release(run: Path, name: str, note: str, folder: Path = weights.DATA) -> dict:
    """Write ``name``.safetensors, -tokenizer.json and .json into ``folder``; returns the provenance (the last of them).

    run: the folder of ``aerogpt.train``, trained on ``folder``/``name``-corpus.txt. note: what a reader must know.
    The held-out loss is measured once more with the rounded weights. Raises ValueError if the text is another one.
    """
    corpus = folder / f"{name}-corpus.txt"
    provenance = json.loads((run / "run.json").read_text(encoding="utf-8"))
    documents = read_documents([corpus])
    if hashlib.sha256(SEPARATOR.join(documents).encode()).hexdigest() != provenance["text"]["sha256"]:
        raise ValueError(f"{run} was trained on another text than {corpus}")

    files = [folder / f"{name}.safetensors", folder / f"{name}-tokenizer.json", corpus]
    model, _ = weights.load(run / "model.safetensors")
    weights.save(model.half(), files[0], {"note": note})
    shutil.copyfile(run / "tokenizer.json", files[1])

    tokenizer = BPETokenizer.load(files[1])
    validation = encode_documents(split_documents(documents, provenance["text"]["validation_share"])[1], tokenizer)
    loss = evaluate(model.float(), validation)
    provenance["float16"] = {
        "validation_loss": loss,
        "bits_per_byte": bits_per_byte(loss, validation, token_bytes(tokenizer)),
    }
    hashes = {path.name: weights.file_sha256(path) for path in files}
    provenance = {"note": note, "commit": _commit(folder), "sha256": hashes} | provenance
    text = json.dumps(provenance, indent=1, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    return provenance


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m aerogpt.release``. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerogpt.release", description="Biến một lần huấn luyện thành dữ liệu của gói aerogpt."
    )
    parser.add_argument("run", type=Path, help="thư mục kết quả của aerogpt.train")
    parser.add_argument("--name", default="vi-tiny", help="tên mô hình (mặc định: vi-tiny)")
    parser.add_argument("--note", required=True, help="điều người đọc cần biết về mô hình này")
    args = parser.parse_args(arguments)
    try:
        provenance = release(args.run, args.name, args.note)
    except (OSError, ValueError, KeyError) as error:
        print(f"lỗi: {error}", file=sys.stderr)
        return 1
    print(f"{weights.DATA / args.name}: {provenance['float16']['bits_per_byte']:.3f} bit mỗi byte với trọng số float16")
    return 0


if __name__ == "__main__":
    sys.exit(main())
