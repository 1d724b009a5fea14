"""Measures whole steps per second of Stable-Baselines3 and SBX on Pendulum-v1.

Off-policy: SAC with 2x256 networks, one update of batch 256 per environment step,
both libraries. On-policy: PPO with 1,024-step roll-outs, 10 epochs of batch 64,
2x64 networks. One environment, no evaluation; everything else is the library's
default. Each case runs in a process of its own, because thread pools are sized
when a library is imported.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

from updates import limit_threads

CASES = ("sb3_sac", "sbx_sac", "sb3_ppo")
ROLL_OUT = 1024


def build(case: str, seed: int):
    """Creates the method of one case."""
    if case == "sbx_sac":
        from sbx import SAC
    else:
        from stable_baselines3 import PPO, SAC
    common = {"policy": "MlpPolicy", "env": "Pendulum-v1", "seed": seed}
    if case == "sb3_ppo":
        layers = {"net_arch": [64, 64]}
        sizes = {"n_steps": ROLL_OUT, "n_epochs": 10, "batch_size": 64}
        return PPO(policy_kwargs=layers, device="cpu", **sizes, **common)
    layers = {"net_arch": [256, 256]}
    return SAC(policy_kwargs=layers, device="cpu", **common)


def measure(case: str, threads: int, seed: int, steps: int) -> list[float]:
    """Returns steps per second of consecutive intervals, without the first.

    The first interval contains random actions, compilation and cold caches. For
    PPO an interval is a roll-out with its epochs.
    """
    from stable_baselines3.common.callbacks import BaseCallback

    interval = ROLL_OUT if case == "sb3_ppo" else 200
    marks: list[float] = []

    class Clock(BaseCallback):
        """Notes the time whenever an interval of environment steps is complete."""

        def _on_step(self) -> bool:
            if self.num_timesteps % interval == 0:
                marks.append(time.perf_counter())
            return True

    import torch

    torch.set_num_threads(threads)
    model = build(case, seed)
    # PPO's marks fall before the epochs that follow a roll-out, therefore between
    # two marks lies one set of epochs and one roll-out.
    model.learn(total_timesteps=steps, callback=Clock())
    return [interval / (end - begin) for begin, end in zip(marks[:-1], marks[1:])]


def run_case(case: str, threads: int, steps: int) -> dict:
    """Measures one case in a fresh process and returns its row."""
    command = [sys.executable, __file__, "--case", case, "--steps", str(steps)]
    command += ["--threads", str(threads)]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{case} with {threads} threads failed:\n{run.stderr}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def main() -> None:
    """Reads the arguments, measures and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and 2")
    parser.add_argument("--steps", type=int, help="default: 2,000 for SAC, 8,192 for PPO")
    parser.add_argument("--case", choices=CASES, help="measure this case only, in this process")
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    arguments = parser.parse_args()
    threads = arguments.threads or [1, 2]

    def steps_of(case: str) -> int:
        return arguments.steps or (8 * ROLL_OUT if case == "sb3_ppo" else 2000)

    if arguments.case is not None:
        if len(threads) != 1:
            parser.error("--case needs one --threads")
        limit_threads(threads[0])
        rates = measure(arguments.case, threads[0], 0, steps_of(arguments.case))
        row = {
            "name": "ppo_step" if arguments.case == "sb3_ppo" else "sac_step",
            "peer": "sbx" if arguments.case == "sbx_sac" else "stable-baselines3",
            "threads": threads[0],
            "steps_per_second_median": statistics.median(rates),
            "steps_per_second_max": max(rates),
            "n": len(rates),
        }
        print(json.dumps(row))
        return

    rows = [run_case(case, count, steps_of(case)) for count in threads for case in CASES]
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(
            f"{row['name']:9} {row['peer']:18} {row['threads']} threads: "
            f"median {row['steps_per_second_median']:.1f} steps/s"
        )


if __name__ == "__main__":
    main()
