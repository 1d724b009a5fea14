"""Trains a Stable-Baselines3 method on Pendulum-v1 and evaluates its policy.

Every setting is the library's own default, except the exploration noise of DDPG
and TD3, which have none by default and are given `--noise` (a fraction of half
the torque range). After training, the deterministic policy is run once from each
state of a stored list, 200 steps each, and the undiscounted returns are printed.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise

TASK = "Pendulum-v1"
EPISODE_STEPS = 200
METHODS = {"sac": SAC, "td3": TD3, "ddpg": DDPG, "ppo": PPO}
USUAL_STEPS = {"sac": 10_000, "td3": 10_000, "ddpg": 10_000, "ppo": 100_000}
DEFAULT_STARTS = Path(__file__).with_name("pendulum_starts.json")


def draw_starts(count: int, seed: int) -> list[list[float]]:
    """Draws start states (angle, angular velocity) from the task's own reset."""
    env = gymnasium.make(TASK)
    starts = []
    for index in range(count):
        # Only the first reset seeds the generator; the others continue its stream.
        env.reset(seed=seed if index == 0 else None)
        starts.append([float(value) for value in env.unwrapped.state])
    return starts


def write_starts(path: Path, count: int, seed: int) -> None:
    """Writes a list of start states, one pair to a line."""
    rows = ",\n".join(f"    {json.dumps(pair)}" for pair in draw_starts(count, seed))
    path.write_text(
        "{\n"
        f'  "task": "{TASK}",\n'
        '  "columns": ["angle_rad", "angular_velocity_rad_per_s"],\n'
        '  "distribution": "angle U(-pi, pi), angular velocity U(-1, 1)",\n'
        f'  "gymnasium": "{gymnasium.__version__}",\n'
        f'  "seed": {seed},\n'
        f'  "episode_steps": {EPISODE_STEPS},\n'
        f'  "starts": [\n{rows}\n  ]\n'
        "}\n"
    )


def read_starts(path: Path) -> np.ndarray:
    """Reads the start states as an array of shape (episodes, 2)."""
    starts = np.array(json.loads(path.read_text())["starts"], dtype=np.float64)
    if starts.ndim != 2 or starts.shape[1] != 2:
        sys.exit(f"{path}: expected pairs (angle, angular velocity), found {starts.shape}")
    bounds = np.array([math.pi, 1.0])
    if np.any(np.abs(starts) > bounds):
        sys.exit(f"{path}: a start state lies outside the task's reset distribution")
    return starts


def build(algo: str, seed: int, noise: float | None):
    """Creates the method with its defaults on one environment."""
    settings = {}
    if noise is not None:
        # The library adds this noise to actions scaled to [-1, 1], so the number
        # is a fraction of half the range (0.1 means 0.2 N m here).
        settings["action_noise"] = NormalActionNoise(np.zeros(1), noise * np.ones(1))
    return METHODS[algo]("MlpPolicy", TASK, seed=seed, device="cpu", **settings)


def evaluate(model, starts: np.ndarray) -> list[float]:
    """Returns the undiscounted return of the deterministic policy from each start.

    The episodes advance together, so that the policy sees one batch per step;
    the equations and the reward are those of the library's own environment.
    """
    envs = [gymnasium.make(TASK).unwrapped for _ in starts]
    observations = []
    for env, start in zip(envs, starts):
        env.reset(seed=0)
        env.state = start.copy()
        observations.append(env._get_obs())
    returns = np.zeros(len(envs))
    for _ in range(EPISODE_STEPS):
        actions, _ = model.predict(np.stack(observations), deterministic=True)
        for index, env in enumerate(envs):
            observation, reward, _, _, _ = env.step(actions[index])
            observations[index] = observation
            returns[index] += reward
    return [round(float(value), 6) for value in returns]


def main() -> None:
    """Reads the arguments, trains, evaluates and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algo", choices=sorted(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="environment steps (default: the usual length)")
    parser.add_argument("--noise", type=float, help="exploration noise of DDPG and TD3, e.g. 0.1")
    parser.add_argument("--starts", type=Path, default=DEFAULT_STARTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--write-starts", type=int, metavar="SEED", help="write 100 start states and stop"
    )
    arguments = parser.parse_args()

    if arguments.write_starts is not None:
        write_starts(arguments.starts, 100, arguments.write_starts)
        return
    if arguments.algo is None:
        parser.error("--algo is needed")
    if arguments.noise is not None and arguments.algo not in ("ddpg", "td3"):
        parser.error("--noise is for ddpg and td3; sac and ppo explore by their own policy")

    torch.set_num_threads(arguments.threads)
    starts = read_starts(arguments.starts)
    steps = arguments.steps or USUAL_STEPS[arguments.algo]
    model = build(arguments.algo, arguments.seed, arguments.noise)
    model.learn(total_timesteps=steps)
    returns = evaluate(model, starts)
    mean = sum(returns) / len(returns)
    if arguments.json:
        # `trained` may exceed `steps`: PPO finishes the roll-out it has begun.
        result = {
            "algo": arguments.algo,
            "seed": arguments.seed,
            "steps": steps,
            "trained": model.num_timesteps,
            "noise": arguments.noise,
            "mean": mean,
            "returns": returns,
        }
        print(json.dumps(result))
    else:
        print(f"{arguments.algo} seed {arguments.seed}: mean return {mean:.1f} after {steps} steps")


if __name__ == "__main__":
    main()
