"""Optimal control problems for Crocoddyl: arm, unicycle, cart-pole and pendulum.

Every builder returns a `crocoddyl.ShootingProblem` in float64. The arm and the
unicycle run in Crocoddyl's own C++; cart-pole and pendulum are models in Python, so
their solves tell nothing about speed.

Costs with weights (w_x, w_u, w_T) come in two forms, `coefficients` tells both:
`plain` is w_x|x - goal|^2 + w_u|u|^2 with terminal w_T|x - goal|^2, `half_squared` is
(w_x^2|x - goal|^2 + w_u^2|u|^2)/2 with terminal w_T^2|x - goal|^2/2. Neither is
multiplied by the time step.
"""

import math

import crocoddyl
import numpy as np
import pinocchio

# ---------------------------------------------------------------------------- arm

AXES_A = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
AXES_B = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
# Per joint: position in the parent, rotation (its columns are the child's axes), limit
# of |q|, mass, centre of mass, inertia about it (xx, yy, zz, yz). The tool is part of
# the last link.
ARM_JOINTS = (
    ((0, 0, 0.1575), np.eye(3), 2.96706, 3.94781, (0, 0, 0), (0.00455, 0.00454, 0.00029, -1e-5)),
    ((0, 0, 0.2025), AXES_A, 2.0944, 4.0, (0.0003, 0.059, 0.042), (0.05, 0.018, 0.044, 0)),
    ((0.2045, 0, 0), AXES_B, 2.96706, 3.0, (0, 0.03, 0.13), (0.08, 0.075, 0.01, 0)),
    (
        (0, 0, 0.2155),
        [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        2.0944,
        2.7,
        (0, 0.067, 0.034),
        (0.03, 0.01, 0.029, 0),
    ),
    (
        (0, 0.1845, 0),
        [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        2.96706,
        1.7,
        (0.0001, 0.021, 0.076),
        (0.02, 0.018, 0.005, 0),
    ),
    ((0, -0.0607, 0.2155), AXES_A, 2.0944, 1.8, (0, 0.0006, 0.0004), (0.005, 0.0036, 0.0047, 0)),
    (
        (0.081, 0, 0.0607),
        AXES_B,
        3.05433,
        0.357,
        (0, 0, 0.02319328),
        (0.00105456, 0.00105456, 0.0010354, 0),
    ),
)
ARM_TIME_STEP = 0.03
ARM_GOAL = np.array([-0.3, -0.4, 0.5])
ARM_ARMATURE = np.array([0.1] * 6 + [0.01])
ARM_STARTS = {
    "x0": np.array([0.1, 0.7, 0.0, 0.7, -0.5, 1.5, 0.0] + [0.0] * 7),
    "x1": np.array(
        [-1.0, 0.5, 1.2, 1.5, -1.0, 1.0, 0.2] + [0.01, -0.01, 0.005, 0.0, 0.0, 0.01, -0.01]
    ),
}


def arm_robot() -> pinocchio.Model:
    """Returns the seven-joint arm with its end-effector frame `tool`."""
    model = pinocchio.Model()
    model.gravity.linear = np.array([0.0, 0.0, -9.81])
    parent = 0
    for number, (position, axes, _, mass, centre, (xx, yy, zz, yz)) in enumerate(ARM_JOINTS, 1):
        placement = pinocchio.SE3(np.array(axes, float), np.array(position, float))
        parent = model.addJoint(parent, pinocchio.JointModelRZ(), placement, f"joint{number}")
        about_centre = np.array([[xx, 0, 0], [0, yy, yz], [0, yz, zz]])
        inertia = pinocchio.Inertia(mass, np.array(centre, float), about_centre)
        model.appendBodyToJoint(parent, inertia, pinocchio.SE3.Identity())
    tool = pinocchio.SE3(np.eye(3), np.array([0.0, 0.0, 0.04]))
    model.addFrame(pinocchio.Frame("tool", parent, 0, tool, pinocchio.FrameType.OP_FRAME))
    return model


def arm_gravity(start: np.ndarray) -> np.ndarray:
    """Returns the torques that hold the arm at the configuration of `start`."""
    model = arm_robot()
    return pinocchio.computeGeneralizedGravity(model, model.createData(), start[: model.nq]).copy()


def arm(start: np.ndarray, horizon: int) -> crocoddyl.ShootingProblem:
    """Returns the arm's reaching problem; its terminal cost is zero."""
    robot = arm_robot()
    state = crocoddyl.StateMultibody(robot)
    actuation = crocoddyl.ActuationModelFull(state)
    size = robot.nv
    rest = state.zero()
    highest = np.concatenate([0.95 * np.array([joint[2] for joint in ARM_JOINTS]), np.ones(size)])
    bounds = crocoddyl.ActivationBounds(-highest, highest)
    damping = np.array([0.0] * size + [1.0, 4.0] + [1.0] * (size - 2))
    tool = robot.getFrameId("tool")

    costs = crocoddyl.CostModelSum(state, size)
    goal = crocoddyl.ResidualModelFrameTranslation(state, tool, ARM_GOAL, size)
    costs.addCost("goal", crocoddyl.CostModelResidual(state, goal), 2.0)
    effort = crocoddyl.ResidualModelControlGrav(state, size)
    costs.addCost("effort", crocoddyl.CostModelResidual(state, effort), 0.01)
    motion = crocoddyl.ResidualModelState(state, rest, size)
    weighted = crocoddyl.ActivationModelWeightedQuad(damping)
    costs.addCost("damping", crocoddyl.CostModelResidual(state, weighted, motion), 0.2)
    barrier = crocoddyl.ActivationModelQuadraticBarrier(bounds)
    costs.addCost("limits", crocoddyl.CostModelResidual(state, barrier, motion), 0.1)

    def knot(cost, step):
        dynamics = crocoddyl.DifferentialActionModelFreeFwdDynamics(state, actuation, cost)
        dynamics.armature = ARM_ARMATURE
        return crocoddyl.IntegratedActionModelEuler(dynamics, step)

    running = knot(costs, ARM_TIME_STEP)
    terminal = knot(crocoddyl.CostModelSum(state, size), 0.0)
    return single_thread(crocoddyl.ShootingProblem(start, [running] * horizon, terminal))


# ----------------------------------------------------------------------- unicycle


def unicycle(start, horizon: int, w_x: float, w_u: float, u_max: float | None = None):
    """Returns Crocoddyl's unicycle, cost (w_x^2|x|^2 + w_u^2|u|^2)/2, step 0.1."""
    model = crocoddyl.ActionModelUnicycle()
    model.dt = 0.1
    model.costWeights = np.array([w_x, w_u])
    if u_max is not None:
        model.u_lb = np.full(2, -u_max)
        model.u_ub = np.full(2, u_max)
    problem = crocoddyl.ShootingProblem(np.array(start, float), [model] * horizon, model)
    return single_thread(problem)


# --------------------------------------------------------------- models in Python


def coefficients(form: str, w_x: float, w_u: float, w_t: float) -> tuple[float, float, float]:
    """Returns (q, r, p): the stage cost is (q|x - goal|^2 + r|u|^2)/2, the last p|x - goal|^2/2."""
    if form == "plain":
        return 2.0 * w_x, 2.0 * w_u, 2.0 * w_t
    if form == "half_squared":
        return w_x * w_x, w_u * w_u, w_t * w_t
    raise ValueError(form)


class Quadratic(crocoddyl.ActionModelAbstract):
    """A discrete model with the quadratic cost of `coefficients` and one control."""

    def __init__(self, size: int, cost, u_max: float | None, goal=None):
        super().__init__(crocoddyl.StateVector(size), 1)
        self.size = size
        self.q, self.r, self.p = cost
        self.goal = np.zeros(size) if goal is None else np.array(goal, float)
        if u_max is not None:
            self.u_lb = np.array([-u_max])
            self.u_ub = np.array([u_max])

    def step(self, x, u):
        """Returns the next state."""
        raise NotImplementedError

    def jacobians(self, x, u):
        """Returns the derivatives of the next state by state and control."""
        raise NotImplementedError

    def calc(self, data, x, u=None):
        """Writes next state and cost; without control those of the last knot."""
        error = x - self.goal
        if u is None:
            data.xnext = x
            data.cost = 0.5 * self.p * float(error @ error)
            return
        control = float(u[0])
        data.xnext = self.step([float(value) for value in x], control)
        data.cost = 0.5 * (self.q * float(error @ error) + self.r * control * control)

    def calcDiff(self, data, x, u=None):  # noqa: N802 (Crocoddyl's name)
        """Writes the derivatives of next state and cost."""
        scale = self.p if u is None else self.q
        data.Lx = scale * (x - self.goal)
        data.Lxx = scale * np.eye(self.size)
        if u is None:
            return
        data.Lu = self.r * u
        data.Luu = np.array([[self.r]])
        data.Fx, data.Fu = self.jacobians([float(value) for value in x], float(u[0]))


class CartPole(Quadratic):
    """Gymnasium's cart-pole with a continuous force, state (x, angle, and their rates).

    The angle is 0 upright. Explicit Euler: positions move with the old rates.
    """

    TIME_STEP = 0.02
    GRAVITY = 9.8
    POLE = 0.1
    TOTAL = 1.1
    HALF = 0.5

    def __init__(self, cost, u_max=None):
        super().__init__(4, cost, u_max)

    def accelerations(self, angle, rate, force):
        """Returns both accelerations and the terms they are made of."""
        moment = self.POLE * self.HALF
        s, c = math.sin(angle), math.cos(angle)
        push = (force + moment * rate * rate * s) / self.TOTAL
        inertia = self.HALF * (4.0 / 3.0 - self.POLE * c * c / self.TOTAL)
        angular = (self.GRAVITY * s - c * push) / inertia
        linear = push - moment * angular * c / self.TOTAL
        return linear, angular, push, inertia, s, c

    def step(self, x, u):
        position, angle, speed, rate = x
        linear, angular = self.accelerations(angle, rate, u)[:2]
        dt = self.TIME_STEP
        next_state = [position + dt * speed, angle + dt * rate, speed + dt * linear]
        return np.array([*next_state, rate + dt * angular])

    def jacobians(self, x, u):
        _, angle, _, rate = x
        _, angular, push, inertia, s, c = self.accelerations(angle, rate, u)
        ratio = self.POLE * self.HALF / self.TOTAL
        push_by = (ratio * rate * rate * c, 2.0 * ratio * rate * s, 1.0 / self.TOTAL)
        inertia_by_angle = 2.0 * self.HALF * self.POLE * c * s / self.TOTAL
        angular_by = (
            (self.GRAVITY * c + s * push - c * push_by[0] - angular * inertia_by_angle) / inertia,
            -c * push_by[1] / inertia,
            -c * push_by[2] / inertia,
        )
        linear_by = (
            push_by[0] - ratio * (angular_by[0] * c - angular * s),
            push_by[1] - ratio * angular_by[1] * c,
            push_by[2] - ratio * angular_by[2] * c,
        )
        dt = self.TIME_STEP
        fx = np.eye(4)
        fx[0, 2] = fx[1, 3] = dt
        fx[2, 1], fx[2, 3] = dt * linear_by[0], dt * linear_by[1]
        fx[3, 1], fx[3, 3] = dt * angular_by[0], 1.0 + dt * angular_by[1]
        return fx, np.array([[0.0], [0.0], [dt * linear_by[2]], [dt * angular_by[2]]])


class Pendulum(Quadratic):
    """Gymnasium's pendulum without its clips, state (angle, rate), angle 0 upright.

    The angle moves with the new rate.
    """

    TIME_STEP = 0.05
    GRAVITY = 10.0

    def __init__(self, cost, u_max=None):
        super().__init__(2, cost, u_max)

    def step(self, x, u):
        angle, rate = x
        new_rate = rate + self.TIME_STEP * (1.5 * self.GRAVITY * math.sin(angle) + 3.0 * u)
        return np.array([angle + self.TIME_STEP * new_rate, new_rate])

    def jacobians(self, x, u):
        dt = self.TIME_STEP
        rate_by_angle = dt * 1.5 * self.GRAVITY * math.cos(x[0])
        fx = np.array([[1.0 + dt * rate_by_angle, dt], [rate_by_angle, 1.0]])
        return fx, np.array([[3.0 * dt * dt], [3.0 * dt]])


def python_model(task: str, start, horizon: int, cost, u_max: float | None = None):
    """Returns the problem of the task `cartpole-gym` or `pendulum-ddp`."""
    model = {"cartpole-gym": CartPole, "pendulum-ddp": Pendulum}[task](cost, u_max)
    problem = crocoddyl.ShootingProblem(np.array(start, float), [model] * horizon, model)
    return single_thread(problem)


def single_thread(problem: crocoddyl.ShootingProblem) -> crocoddyl.ShootingProblem:
    """Makes Crocoddyl's loops over knots serial."""
    if problem.nthreads != 1:
        problem.nthreads = 1
    return problem
