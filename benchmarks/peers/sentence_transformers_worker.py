"""sentence-transformers on CPU: arguments CHECKPOINT PRECISION."""

from __future__ import annotations

from benchmarks.peers.worker import Loaded, serve


def load(arguments: list[str]) -> Loaded:
    """Load as the library's documentation does: all defaults, but for the dtype if asked for."""
    import torch
    from sentence_transformers import SentenceTransformer

    checkpoint, precision = arguments
    options = {"model_kwargs": {"dtype": torch.bfloat16}} if precision == "bfloat16" else {}
    model = SentenceTransformer(checkpoint, device="cpu", **options)
    received = next(model.parameters()).dtype
    if received != getattr(torch, precision):
        raise RuntimeError(f"weights should be {precision} and are {received}")

    return Loaded(
        encode=model.encode,
        packages=("sentence-transformers", "transformers", "torch"),
        note=f"`SentenceTransformer(checkpoint, device='cpu').encode(texts)`, weights {received}, "
        f"{torch.get_num_threads()} threads",
    )


if __name__ == "__main__":
    serve(load)
