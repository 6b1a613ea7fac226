"""TensorFlow without its greetings: it writes them from C++, where no log level reaches."""

import importlib
import os
from types import ModuleType


def load_tensorflow() -> ModuleType:
    """Import TensorFlow and look for devices, silently, unless TF_CPP_MIN_LOG_LEVEL is 0.

    Of a GPU's memory it takes what it needs: by default the first process takes all, and another one beside it fails.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        return importlib.import_module("tensorflow")
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()
        tensorflow.get_logger().setLevel("ERROR")  # it takes the compilation of each of a night's networks for a fault
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    return tensorflow
