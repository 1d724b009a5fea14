"""Prints the versions of the packages that are measured; null for a missing one."""

import json
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch",
    "jax",
    "jaxlib",
    "numpy",
    "stable-baselines3",
    "sbx-rl",
    "gymnasium",
    "pin",
    "cmeel-eigen",
    "cmeel-urdfdom-headers",
    "mujoco",
    "example-robot-data",
    "crocoddyl",
)


def find(package: str) -> str | None:
    """Returns the version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps({package: find(package) for package in PACKAGES}))
