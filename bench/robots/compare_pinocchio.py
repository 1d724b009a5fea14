"""Compares forward and inverse dynamics with all derivatives to Pinocchio's, robot by robot.

Random states of public robots; Pinocchio's results are put into the order of our joints.
Needs an environment made by `bench/peers/setup.sh --robots`, and `cargo build --release -p xtask`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pinocchio as pin

ROOT = Path(__file__).resolve().parents[2]
# File below the package's robots, and whether a free joint carries it.
ROBOTS = [
    ("a1_description/urdf/a1.urdf", True),
    ("solo_description/robots/solo12.urdf", True),
    ("hyq_description/robots/hyq_no_sensors.urdf", True),
    ("simple_humanoid_description/urdf/simple_humanoid.urdf", True),
    ("ur_description/urdf/ur5_robot.urdf", False),
    ("kinova_description/robots/kinova.urdf", False),
    ("xarm_description/urdf/xarm7.urdf", False),
    ("z1_description/urdf/z1.urdf", False),
]
STATES = 5


def probe(file: Path, floating: bool, lines: list[dict]) -> list[dict]:
    """Asks our own command, one answer per line."""
    command = [str(ROOT / "target/release/xtask"), "probe", "--robot", str(file), "--batch", "-"]
    command += ["--floating-base"] if floating else []
    text = "".join(json.dumps(line) + "\n" for line in lines)
    run = subprocess.run(command, input=text, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{file.name}: {run.stderr or run.stdout}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def our_order(model, names: list[str], floating: bool):
    """Returns the joints in our order, and where their velocities stand in Pinocchio's vector."""
    joints = [model.joints[model.getJointId(name)] for name in names[1:] if floating]
    if floating:
        joints.insert(0, model.joints[1])
    else:
        joints = [model.joints[model.getJointId(name)] for name in names]
    columns = [k for joint in joints for k in range(joint.idx_v, joint.idx_v + joint.nv)]
    return joints, np.array(columns)


def our_configuration(joints, q: np.ndarray) -> list[float]:
    """A continuous joint is an angle here and a point on the circle there."""
    values = []
    for joint in joints:
        part = q[joint.idx_q : joint.idx_q + joint.nq]
        values += [float(np.arctan2(part[1], part[0]))] if joint.nq == 2 else list(map(float, part))
    return values


def symmetric(upper: np.ndarray) -> np.ndarray:
    """Mirrors the upper triangle."""
    return np.triu(upper) + np.triu(upper, 1).T


def compare(file: Path, floating: bool) -> dict[str, float]:
    """Returns the worst relative error of each result."""
    root = [pin.JointModelFreeFlyer()] if floating else []
    model = pin.buildModelFromUrdf(str(file), *root)
    data = model.createData()
    names = probe(file, floating, [{}])[0]["joint_names"]
    joints, columns = our_order(model, names, floating)
    rng = np.random.default_rng(0)
    worst: dict[str, float] = {}
    for _ in range(STATES):
        q = pin.randomConfiguration(model, -np.ones(model.nq), np.ones(model.nq))
        v, tau, a = (rng.standard_normal(model.nv) for _ in range(3))
        line = {"q": our_configuration(joints, q)}
        line |= {"v": v[columns].tolist(), "tau": tau[columns].tolist(), "a": a[columns].tolist()}
        ours = probe(file, floating, [line])[0]
        square = np.ix_(columns, columns)
        theirs = {"qdd": pin.aba(model, data, q, v, tau)[columns]}
        pin.computeABADerivatives(model, data, q, v, tau)
        theirs["dqdd_dq"], theirs["dqdd_dv"] = data.ddq_dq[square], data.ddq_dv[square]
        theirs["dqdd_dtau"] = symmetric(np.array(data.Minv))[square]
        theirs["rnea"] = pin.rnea(model, data, q, v, a)[columns]
        theirs["mass_matrix"] = symmetric(pin.crba(model, data, q))[square]
        for name, expected in theirs.items():
            scale = max(1.0, float(np.abs(expected).max()))
            error = float(np.abs(np.array(ours[name]) - expected).max()) / scale
            worst[name] = max(worst.get(name, 0.0), error)
    return worst


def main() -> None:
    """Prints one line per robot."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    robots = Path(pin.__file__).parents[4] / "share/example-robot-data/robots"
    for name, floating in ROBOTS:
        worst = compare(robots / name, floating)
        print(name, " ".join(f"{key} {error:.0e}" for key, error in worst.items()))


if __name__ == "__main__":
    main()
