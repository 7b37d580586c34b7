"""Train a tiny BERT to tell two kinds of sentences apart, and watch a layer in TensorBoard.

    python scripts/examples/transformers_texts.py [--log-dir logs/examples/bert] [--epochs 5]

The model starts from random weights and its words are numbered here, so nothing is downloaded.
Needs the extra `transformers`.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from projector_export import EmbeddingRecorder
from projector_export.training.transformers import EmbeddingCallback

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--log-dir", default="logs/examples/bert")
parser.add_argument("--epochs", type=int, default=5)
options = parser.parse_args()

WHO = "the cook|my neighbour|a sailor|our teacher|the baker|a child|the doctor|her uncle".split("|")
DOES = {
    "food": "boils|fries|bakes|salts|eats|peels".split("|"),
    "travel": "boards|misses|drives|awaits|paints|repairs".split("|"),
}
WHAT = {
    "food": "the soup|two eggs|a cake|the fish|some rice|an apple".split("|"),
    "travel": "the train|a bus|the ship|two trams|a ferry|the tram".split("|"),
}
sentences = [
    (kind, f"{who} {does} {what}")
    for kind in DOES
    for who, does, what in itertools.product(WHO, DOES[kind], WHAT[kind])
]
words = sorted({word for _, text in sentences for word in text.split()})
numbers = {word: number for number, word in enumerate(words, start=1)}  # 0 fills up
rows = []
for kind, text in sentences:
    ids = [numbers[word] for word in text.split()]
    padding = 5 - len(ids)
    rows.append(
        {
            "input_ids": torch.tensor(ids + [0] * padding),
            "attention_mask": torch.tensor([1] * len(ids) + [0] * padding),
            "labels": torch.tensor(int(kind == "food")),
        }
    )
probe = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}

torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(words) + 1,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=8,
    )
)
recorder = EmbeddingRecorder(
    options.log_dir,
    "sentences",
    labels=[kind for kind, _ in sentences],
    metadata={"sentence": [text for _, text in sentences]},
    when_busy="wait",
)
arguments = TrainingArguments(
    output_dir=f"{options.log_dir}/checkpoints",
    num_train_epochs=options.epochs,
    per_device_train_batch_size=64,
    learning_rate=5e-4,
    report_to=[],
    save_strategy="no",
    logging_strategy="no",
    disable_tqdm=True,
    use_cpu=True,
)
trainer = Trainer(
    model,
    arguments,
    train_dataset=rows,
    callbacks=[EmbeddingCallback("bert.encoder.layer.1", probe, recorder)],
)
trainer.train()
print(f"recorded steps {recorder.recorded}; look at them: tensorboard --logdir {options.log_dir}")
