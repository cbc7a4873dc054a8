"""GPT-2 from small, tested parts, in PyTorch: the package that the lessons embed and run."""
