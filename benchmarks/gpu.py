"""A night's training on a GPU, against the CPU of the same machine: how much sooner is it done, and is it as good?

Run: `python -m benchmarks.gpu` on a machine with a GPU; elsewhere it is skipped. Each fit has a process of its own: a
process keeps its threads and its device.
"""

import hashlib
import json
import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fitting import Clock, dataset_of, material_of, trained
from benchmarks.measuring import GIB, Result, Row, Sample, Skipped, in_own_process, main, seconds
from models.config import RetrainConfig
from models.fit import Fitted, Material, fit
from models.synthetic import MarketSettings, synthetic_market

MARKET: Final = MarketSettings(symbols=500, sessions=3000)
CONFIG: Final = RetrainConfig()
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "as shipped": {},
    "as shipped, again": {},
    "without XLA": {"xla": "never"},
    "batch 16384, a step four times as large": {"batch_size": 16384, "learning_rate": 1.2e-3},
    "mixed precision": {"mixed_precision": True},
}
PROBE_ROWS: Final = 4096


def measure() -> Result:
    """Seconds of an epoch and of a fit with early stopping, on both."""
    require_gpu()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "material"
        material = material_of(dataset_of(synthetic_market(MARKET).bars, CONFIG))
        path.write_bytes(pickle.dumps(material, protocol=5))
        cpu = _told(path, "cpu", {"threads": os.cpu_count() or 1})
        on_gpu = {name: _told(path, "gpu", changes) for name, changes in SETTINGS.items()}
    first, again = (on_gpu[name]["weights"] for name in ("as shipped", "as shipped, again"))
    return Result(
        name="gpu",
        question="How much sooner does a GPU train than the CPU beside it?",
        baseline=f"the same fit as shipped on the CPU, with {cpu['threads']} threads",
        sizes=f"{len(material.train):,} training and {len(material.validation):,} validation rows of {MARKET.symbols} "
        f"symbols × {MARKET.sessions} sessions (synthetic), {CONFIG.training.members} members; one fit each",
        rows=tuple(row for name, gpu in on_gpu.items() for row in _rows(name, cpu, gpu)),
        notes=(
            f"GPU: {on_gpu['as shipped']['device']}.",
            f"Two processes came to {'the same' if first == again else 'other'} weights, bit by bit.",
            "The same weights answer on CPU and GPU with a difference of at most "
            f"{on_gpu['as shipped']['difference']:.1e} of a head's range.",
            f"Most GPU memory in use: {max(gpu['memory'] for gpu in on_gpu.values()) / GIB:.2f} GiB.",
        ),
    )


def require_gpu() -> str:
    """Name of the GPU, asked in a process of its own: a process that looks at a GPU holds it.

    Raises:
        Skipped: TensorFlow finds none.
    """
    names: list[str] = in_own_process("benchmarks.gpu", "--find")["gpus"]
    if not names:
        raise Skipped("TensorFlow finds no GPU here")
    return names[0]


def told(path: Path, device: str, changes: dict[str, Any]) -> dict[str, Any]:
    """One fit as a night does it, in numbers."""
    material: Material = pickle.loads(path.read_bytes())
    clock, fits = Clock(), list[Fitted]()
    config = trained(CONFIG, require_gpu=device == "gpu", **changes)
    took = seconds(lambda: fits.append(fit(material, config, clock)))
    fitted, after_first = fits[0], clock.ended[-1] - clock.ended[0]
    weights = b"".join(np.asarray(values).tobytes() for values in fitted.trunk.get_weights())
    return {
        "device": fitted.device,
        "threads": fitted.threads,
        "epochs": clock.epoch_seconds,
        "first": [took - after_first],
        "fit": [took],
        "loss": [min(clock.losses)],
        "weights": hashlib.sha256(weights).hexdigest(),
        **(_compared(fitted, material) if device == "gpu" else {}),
    }


def _compared(fitted: Fitted, material: Material) -> dict[str, float]:
    """How far the answers of GPU and CPU lie apart, and the most memory that the GPU has held."""
    import tensorflow as tf

    seen = material.summaries[material.validation[:PROBE_ROWS]]
    there = {head: values.numpy() for head, values in fitted.trunk(seen).items()}
    with tf.device("/CPU:0"):
        here = {head: values.numpy() for head, values in fitted.trunk(seen).items()}
    ranges = {head: scale.scale for head, scale in material.scales.items()}
    return {
        "difference": max(float(np.abs(there[head] - here[head]).max()) / ranges.get(head, 1.0) for head in here),
        "memory": tf.config.experimental.get_memory_info("GPU:0")["peak"],
    }


def _told(path: Path, device: str, changes: dict[str, Any]) -> dict[str, Any]:
    return in_own_process("benchmarks.gpu", "--fit", str(path), device, json.dumps(changes))


def _rows(name: str, cpu: dict[str, Any], gpu: dict[str, Any]) -> tuple[Row, ...]:
    parts = {"an epoch": "epochs", "the first epoch, with all that comes before it": "first", "a whole fit": "fit"}
    pairs = {
        case: (Sample(values=tuple(cpu[key])), Sample(values=tuple(gpu[key])))
        for case, key in (parts | {"best validation loss": "loss"}).items()
    }
    theirs, ours = pairs.pop("best validation loss")
    return (
        *(Row.of_times(f"{name}: {case}", *pair) for case, pair in pairs.items()),
        Row(case=f"{name}: best validation loss", unit="loss", baseline=theirs, ours=ours, ratio=ours.over(theirs)),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--find"]:
        import tensorflow as tf

        details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
        print(json.dumps({"gpus": [one.get("device_name", "GPU") for one in details]}))
    elif sys.argv[1:2] == ["--fit"]:
        if sys.argv[3] == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        print(json.dumps(told(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))))
    else:
        main(measure, "gpu")
