"""setfit on CPU with all its defaults: arguments CHECKPOINT TASK ANSWER.

TASK is a JSON file with `train_texts`, `train_labels`, `test_texts` and `seed`; ANSWER is written
with the `predictions` for the test texts, `train_s`, `predict_s` and `versions`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

# before the libraries read them: nothing is to be fetched, and nobody to be told
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "WANDB_MODE": "disabled"}


PACKAGES = ("setfit", "sentence-transformers", "transformers", "torch")


def main() -> None:
    """Fit on the task's training rows and predict its test rows."""
    import datasets
    import torch
    from setfit import SetFitModel, Trainer, TrainingArguments

    from benchmarks.table import installed_versions

    checkpoint, source, target = sys.argv[1:]
    task = json.loads(Path(source).read_text(encoding="utf-8"))
    model = SetFitModel.from_pretrained(checkpoint, device="cpu")
    rows = {"text": task["train_texts"], "label": task["train_labels"]}
    with tempfile.TemporaryDirectory() as folder:
        # what is not a default here says where and whether to write, and repeats with the seed
        arguments = TrainingArguments(
            output_dir=folder, save_strategy="no", report_to="none", seed=task["seed"]
        )
        trainer = Trainer(model, args=arguments, train_dataset=datasets.Dataset.from_dict(rows))
        began = time.perf_counter()
        trainer.train()
        trained = time.perf_counter()
    predictions = [int(label) for label in model.predict(task["test_texts"])]
    answer = {
        "predictions": predictions,
        "train_s": trained - began,
        "predict_s": time.perf_counter() - trained,
        "versions": installed_versions(PACKAGES),
        "threads": torch.get_num_threads(),
    }
    Path(target).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
