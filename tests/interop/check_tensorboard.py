"""TensorBoard reads a run's event files, and finds what history.csv says under the tags of Keras' callback.

    check_tensorboard.py RUN
"""

import csv
import pathlib
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

run = pathlib.Path(sys.argv[1])
rows = list(csv.DictReader((run / "history.csv").open()))
WANTED = {
    "train": {"epoch_loss": "loss", "epoch_accuracy": "accuracy", "epoch_learning_rate": "learning_rate"},
    "validation": {"epoch_loss": "val_loss", "epoch_accuracy": "val_accuracy"},
}
count = 0
for part, columns in WANTED.items():
    rows_of = [(step, row) for step, row in enumerate(rows) if row["val_loss"] or part == "train"]
    if not rows_of:
        continue
    accumulator = EventAccumulator(str(run / "tensorboard" / part), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert sorted(accumulator.Tags()["scalars"]) == sorted(columns), accumulator.Tags()
    for tag, column in columns.items():
        events = accumulator.Scalars(tag)
        assert [event.step for event in events] == [step for step, _ in rows_of], tag
        for event, (_, row) in zip(events, rows_of):
            # Summaries hold f32.
            assert abs(event.value - float(row[column])) <= 1e-6 * max(1.0, abs(float(row[column]))), (tag, event, row)
            count += 1
        times = [event.wall_time for event in events]
        assert times == sorted(times) and times[0] > 1.6e9, times
    # The reader behind the web page: every checksum right, nothing left over.
    (path,) = (run / "tensorboard" / part).iterdir()
    assert sum(1 for _ in EventFileLoader(str(path)).Load()) == len(rows_of) + 1

multiplexer = EventMultiplexer().AddRunsFromDirectory(str(run / "tensorboard"))
multiplexer.Reload()
print(f"ok    tensorboard {tensorboard.__version__}: runs {sorted(multiplexer.Runs())}, {count} scalars as in history.csv")
