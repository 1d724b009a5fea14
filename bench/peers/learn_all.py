"""Runs the learning comparison: four methods, several seeds, one run at a time.

Results are appended to a file of JSON lines. Runs that the file already holds are
skipped, so an interrupted comparison continues where it stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from learn import DEFAULT_STARTS, USUAL_STEPS

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "pendulum_learning_sb3.jsonl"
NOISE = {"td3": 0.1, "ddpg": 0.1}


def finished(path: Path) -> set[tuple[str, int, int]]:
    """Returns (algo, seed, steps) of the runs in the file."""
    if not path.exists():
        return set()
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {(row["algo"], row["seed"], row["steps"]) for row in rows}


def main() -> None:
    """Trains what is missing, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--starts", type=Path, default=DEFAULT_STARTS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for seed in range(arguments.seeds):
        for algo, steps in USUAL_STEPS.items():
            if (algo, seed, steps) in finished(arguments.output):
                continue
            command = [sys.executable, str(HERE / "learn.py"), "--json"]
            command += ["--algo", algo, "--seed", str(seed), "--steps", str(steps)]
            command += ["--starts", str(arguments.starts)]
            if algo in NOISE:
                command += ["--noise", str(NOISE[algo])]
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"{algo} seed {seed} failed:\n{run.stderr}")
            line = run.stdout.strip().splitlines()[-1]
            with arguments.output.open("a") as file:
                file.write(line + "\n")
            print(f"{algo} seed {seed}: mean return {json.loads(line)['mean']:.1f}", flush=True)


if __name__ == "__main__":
    main()
