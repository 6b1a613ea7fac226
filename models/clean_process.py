"""The proof that an exported model serves by itself: a clean process loads it and reproduces its golden batch."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from models.card import read_card
from models.errors import CandidateRejected
from models.records import Record
from models.scratch import scratch

TOLERANCE: Final = 1e-6
"""Of probabilities as it is, of bounded heads in units of their scale."""

_SCRIPT: Final = Path(__file__).with_name("clean_process_script.py")
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "TF_ENABLE_ONEDNN_OPTS", "SYSTEMROOT")


class Transcript(Record):
    """What the clean process saw."""

    python: str
    tensorflow: str
    rows: int
    outputs: tuple[str, ...]
    expected: tuple[str, ...]
    differences: dict[str, float]
    """Largest absolute difference of each head from the golden batch."""
    seconds: float


class CleanProcess:
    """A Python process that knows nothing of this project, started early: its imports hide behind the training."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._directory = self._held.enter_context(scratch("clean"))
        self._process = _launch(self._directory)

    @classmethod
    def start(cls) -> Self:
        """Start it in an empty directory, on the CPU, with almost no environment."""
        return cls()

    def reproduce(self, directory: Path, timeout_s: float = 300.0) -> Transcript:
        """Load the model of this directory there and compare its golden batch; each time in a process of its own.

        Raises:
            CandidateRejected: it cannot be loaded, lacks an output, or differs by more than the tolerance.
        """
        if self._process.poll() is not None:
            self._process = _launch(self._directory)
        try:
            told, complaint = self._process.communicate(f"{directory}\n", timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            self.close()
            raise CandidateRejected(
                f"A clean process did not load {directory} within {timeout_s:.0f} s. The champion stays. "
                f"Look at the load of the machine, then run the night again."
            ) from error
        if self._process.returncode:
            raise CandidateRejected(
                f"A clean process cannot load {directory} (status {self._process.returncode}). The champion stays. "
                f"Its last words: {' '.join(complaint.strip().splitlines()[-3:])}"
            )
        transcript = Transcript.model_validate(json.loads(told.strip().splitlines()[-1]))
        _accept(transcript, read_card(directory).scales, directory)
        return transcript

    def close(self) -> None:
        """End the process, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _launch(directory: Path) -> "subprocess.Popen[str]":
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", str(_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**environment, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def _accept(transcript: Transcript, scales: dict[str, float], directory: Path) -> None:
    if transcript.outputs != transcript.expected:
        raise CandidateRejected(
            f"The exported model in {directory} returns {list(transcript.outputs)}, its golden batch has "
            f"{list(transcript.expected)}. The champion stays."
        )
    for head, difference in transcript.differences.items():
        allowed = TOLERANCE * scales.get(head, 1.0)
        if not difference <= allowed:
            raise CandidateRejected(
                f"A clean process computes {head} from {directory} with a difference of {difference:.3g} from the "
                f"golden batch, {allowed:.3g} allowed. What was measured is not what would serve; the champion stays."
            )
