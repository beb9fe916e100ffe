"""Makes summary_vgg16.txt and summary_book.txt: what Keras prints of the models.

    python make_summary.py [--out DIR]

Versions: see requirements.txt. No weights are needed. Each text is that of
model.summary(), 80 columns wide and without terminal colours, followed by
the number of trainable weights, which counts tensors and not values.
"""

import argparse
import os

# The table is cut at the width of the terminal, so give it a fixed one.
os.environ["COLUMNS"] = "80"

import common
import keras
from keras import layers


def text(title, net):
    lines = []
    net.summary(line_length=80, print_fn=lines.append)
    count = len(net.trainable_weights)
    body = "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()).strip("\n")
    return f"# {title}\n\n{body}\n\nlen(model.trainable_weights) = {count}\n"


def write(path, parts):
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"# made by make_summary.py, {common.tool()}\n\n" + "\n\n".join(parts))
    print(f"{os.path.basename(path)}: {os.path.getsize(path)} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", default=common.HERE, help="folder to write to")
    out = p.parse_args().out

    def vgg16(**kwargs):
        # Keras numbers what has no name of its own, from the last clear on.
        keras.backend.clear_session()
        return keras.applications.VGG16(weights=None, **kwargs)

    write(
        os.path.join(out, "summary_vgg16.txt"),
        [
            text(
                "VGG16(include_top=False, input_shape=(150, 150, 3))",
                vgg16(include_top=False, input_shape=(150, 150, 3)),
            ),
            text("VGG16(include_top=True)", vgg16(include_top=True)),
        ],
    )

    base = vgg16(include_top=False, input_shape=(150, 150, 3))
    book = keras.Sequential(
        [base, layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )
    book.build((None, 150, 150, 3))
    parts = [text("the book's model, nothing frozen", book)]
    base.trainable = False
    parts.append(text("the book's model, conv_base.trainable = False", book))
    write(os.path.join(out, "summary_book.txt"), parts)


if __name__ == "__main__":
    main()
