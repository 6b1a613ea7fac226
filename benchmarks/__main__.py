"""All benchmarks, one after the other, each in a process of its own; writes benchmarks/RESULTS.md.

Run: `python -m benchmarks`, or with the names of some, as in `python -m benchmarks preparation scaling`; the others
then keep what they came to before, and so does one that is skipped because the machine lacks what it measures.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.measuring import ROOT, Result, table

BENCHMARKS: Final = (
    "deliveries",
    "preparation",
    "throughput",
    "convergence",
    "ensemble",
    "determinism",
    "scaling",
    "night",
    "gpu",
    "gpu_night",
)
RESULTS: Final = ROOT / "benchmarks" / "RESULTS.md"
HEAD: Final = """# How fast, and against what

Written by `python -m benchmarks`. Every baseline runs beside ours in the same run, in turns. A ratio is the median over
the rounds, with its smallest and largest; on a machine that does other work as well, look at those first.
"""


def main() -> None:
    """Run them, show them, write them down."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(";")[0])
    arguments.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHMARKS))
    names = arguments.parse_args().names or BENCHMARKS
    if unknown := set(names) - set(BENCHMARKS):
        arguments.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    known = recorded(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        result = run(name)
        if name not in known or result.failed or not result.skipped:
            known[name] = table(result)
        RESULTS.write_text("\n".join([HEAD, *(known[one] for one in BENCHMARKS if one in known)]))


def recorded(text: str) -> dict[str, str]:
    """Section of each benchmark in an earlier file of results."""
    sections = text.split("\n## ")[1:]
    return {section.partition("\n")[0]: f"## {section.rstrip()}\n" for section in sections}


def run(name: str) -> Result:
    """One benchmark in a process of its own: TensorFlow fixes its threads once, and peaks of memory stay apart."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        record = Path(directory, "result.json")
        command = [sys.executable, "-m", f"benchmarks.{name}", "--record", str(record)]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode:
            why = f"failed with exit status {done.returncode}"
            return Result(name=name, question="", baseline="", sizes="", skipped=why, failed=True)
        return Result.model_validate_json(record.read_text())


if __name__ == "__main__":
    main()
