"""Fine-tuning with transformers on CPU: arguments CHECKPOINT PRECISION SAMPLING.

The loop of its documentation ("fine-tuning in native PyTorch"): batches padded to their longest
text, AdamW over all weights. SAMPLING is `shuffled`, the default there, or `by_length`, the
Trainer's own grouping, which is off unless asked for.
"""

from __future__ import annotations

from typing import Any

from benchmarks.peers.worker import Loaded, serve

BATCH = 32


def load(arguments: list[str]) -> Loaded:
    """Load the model with a new classification head."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
    )
    from transformers.trainer_pt_utils import LengthGroupedSampler

    checkpoint, precision, sampling = arguments
    if precision not in ("float32", "bfloat16") or sampling not in ("shuffled", "by_length"):
        raise ValueError(f"no such precision or sampling: {arguments}")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=2)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    collate = DataCollatorWithPadding(tokenizer)

    def train(texts: list[str]) -> list[float]:
        tokens = tokenizer(texts, truncation=True)
        rows: list[dict[str, Any]] = [
            {**{name: tokens[name][row] for name in tokens}, "labels": row % 2}
            for row in range(len(texts))
        ]
        sampler = None
        if sampling == "by_length":
            sampler = LengthGroupedSampler(BATCH, lengths=[len(row["input_ids"]) for row in rows])
        batches = torch.utils.data.DataLoader(
            rows,  # type: ignore[arg-type]
            batch_size=BATCH,
            shuffle=sampler is None,
            sampler=sampler,
            collate_fn=collate,
        )
        losses = []
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses += [loss.item()] * len(batch["labels"])
        return losses

    autocast = " under autocast to bfloat16" if precision == "bfloat16" else ""
    batches = "grouped by `LengthGroupedSampler`" if sampling == "by_length" else "shuffled"
    return Loaded(
        encode=train,
        packages=("transformers", "torch"),
        note=f"`AutoModelForSequenceClassification`, `DataCollatorWithPadding`, "
        f"`torch.optim.AdamW`{autocast}; texts {batches}; {torch.get_num_threads()} threads",
        vectors=False,
    )


if __name__ == "__main__":
    serve(load)
