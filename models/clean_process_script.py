"""Load an exported model as a stranger would, and reproduce its golden batch. Run by `models.clean_process`.

It must not import anything of this project: a model that needs our classes to be loaded is not exported.
"""

import json
import sys
import time
from pathlib import Path

OURS = ("flows", "tasks", "expectations", "models")


class Refusal:
    """Makes our packages impossible to import, wherever they may be installed."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name.split(".", maxsplit=1)[0] in OURS:
            raise ModuleNotFoundError(f"{name} must not be needed to load an exported model")


def reproduce(directory: Path) -> dict[str, object]:
    """Largest difference of each head from the golden batch, which a NaN makes NaN."""
    started = time.monotonic()
    golden = np.load(directory / "golden.npz", allow_pickle=False)
    signature = tf.saved_model.load(str(directory / "saved_model")).signatures["serving_default"]
    outputs = {head: output.numpy() for head, output in signature(bars=tf.constant(golden["bars"])).items()}
    expected = [name for name in golden.files if name != "bars"]
    return {
        "python": sys.version.split()[0],
        "tensorflow": tf.__version__,
        "rows": len(golden["bars"]),
        "outputs": sorted(outputs),
        "expected": sorted(expected),
        "differences": {
            head: float(np.max(np.abs(outputs[head] - golden[head])))
            if outputs[head].shape == golden[head].shape
            else float("nan")
            for head in expected
            if head in outputs
        },
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]
    sys.meta_path.insert(0, Refusal)
    import numpy as np
    import tensorflow as tf

    directory = sys.stdin.readline().strip()
    if directory:
        print(json.dumps(reproduce(Path(directory))))
