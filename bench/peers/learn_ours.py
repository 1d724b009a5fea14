"""Trains this project's methods as `learn_all.py` trains the peer's, and evaluates them alike.

Runs are made by `cargo xtask train` and evaluated by `cargo xtask eval --starts` on
the same stored start states. Results are appended to a file of JSON lines; runs that
the file already holds are skipped.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from learn import DEFAULT_STARTS, USUAL_STEPS
from learn_all import HERE, NOISE, finished

RESULTS = HERE / "results" / "pendulum_learning_costate.jsonl"
ROOT = HERE.parent.parent
# The value-gradient variant has no peer; it is trained as DDPG is.
STEPS = {**USUAL_STEPS, "vg-ddpg": USUAL_STEPS["ddpg"]}


def xtask(*arguments: str) -> str:
    """Runs a command of this project and returns what it prints."""
    command = ["cargo", "xtask", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{run.stderr}")
    return run.stdout.strip()


def learn(algo: str, seed: int, starts: Path, out: Path) -> dict:
    """Trains one run without evaluations in between and evaluates its policy."""
    noise = NOISE.get(algo.removeprefix("vg-"))
    settings = {"train.total_steps": STEPS[algo], "train.evaluate_every_episodes": 1_000_000}
    if noise is not None:
        settings["method.exploration_noise"] = noise
    arguments = ["--task", "pendulum", "--method", algo, "--seed", str(seed)]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    run = xtask("train", *arguments, "--out", str(out))
    evaluation = json.loads(xtask("eval", run, "--starts", str(starts.resolve()), "--json"))
    returns = [round(value, 6) for value in evaluation["returns"]]
    row = {"algo": algo, "seed": seed, "steps": STEPS[algo], "noise": noise}
    return {**row, "mean": evaluation["return_mean"], "returns": returns}


def main() -> None:
    """Trains what is missing, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="seeds 0 to SEEDS - 1")
    parser.add_argument("--starts", type=Path, default=DEFAULT_STARTS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=Path("runs/pendulum-learning"))
    arguments = parser.parse_args()

    for seed in range(arguments.seeds):
        for algo, steps in STEPS.items():
            if (algo, seed, steps) in finished(arguments.output):
                continue
            row = learn(algo, seed, arguments.starts, arguments.runs.resolve())
            with arguments.output.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{algo} seed {seed}: mean return {row['mean']:.1f}", flush=True)


if __name__ == "__main__":
    main()
