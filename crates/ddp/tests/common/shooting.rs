//! Problems for single shooting, all behind the same pointers.

use ddp::Problem;
use dynamics::mass_spring::{Integration, Link, MassSpring, Scheme, Startup, hanging, pendulum};
use dynamics::models::{Pendulum, PendulumParameters};
use dynamics::{
    ActionBounds, AnyCost, AnyDynamics, AnyTerminalCost, Dynamics, Plant, QuadraticCost, Stream,
};
use nalgebra::DVector;

use super::UnicycleProblem;
use super::lq::Lq;
use super::swing_up;

/// Dynamics, costs, a start and controls that have nothing to do with the optimum.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    dynamics: Box<dyn AnyDynamics>,
    cost: Box<dyn AnyCost>,
    terminal: Box<dyn AnyTerminalCost>,
    pub(crate) discount: f64,
    pub(crate) limits: ActionBounds,
    pub(crate) x0: DVector<f64>,
    pub(crate) us: Vec<DVector<f64>>,
}

pub(crate) type AnyProblem<'a> =
    Problem<'a, &'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost>;

/// The pointers of a case, which its problem borrows.
pub(crate) struct Parts<'a>(&'a dyn AnyDynamics, &'a dyn AnyCost, &'a dyn AnyTerminalCost);

impl Case {
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts(&*self.dynamics, &*self.cost, &*self.terminal)
    }
    /// The problem without limits.
    pub(crate) fn problem<'a>(&self, Parts(d, c, e): &'a Parts<'a>) -> AnyProblem<'a> {
        Problem { discount: self.discount, ..Problem::new(d, c, e, self.us.len()) }
    }
}

pub(crate) fn random_controls(seed: u64, horizon: usize, box_: &ActionBounds) -> Vec<DVector<f64>> {
    let s = &mut Stream::new(seed, "shooting controls", 0);
    let mut draw = || {
        let mut u = DVector::zeros(box_.low.len());
        box_.sample(s, u.as_mut_slice());
        u
    };
    (0..horizon).map(|_| draw()).collect()
}

fn case<D, C, E>(
    name: &'static str,
    (dynamics, cost, terminal): (D, C, E),
    x0: Vec<f64>,
    horizon: usize,
    limit: f64,
) -> Case
where
    D: Dynamics + 'static,
    C: AnyCost + 'static,
    E: AnyTerminalCost + 'static,
{
    let limits = ActionBounds::symmetric(dynamics.nu(), limit);
    let us = random_controls(x0.len() as u64, horizon, &limits);
    Case {
        name,
        dynamics: Box::new(dynamics),
        cost: Box::new(cost),
        terminal: Box::new(terminal),
        discount: 1.0,
        limits,
        x0: x0.into(),
        us,
    }
}

/// A 2D pendulum that hangs from a handle, with BDF2 and without a flag in its state.
fn hanging_pendulum() -> Case {
    let links = [Link::pendulum()];
    let integration =
        Integration { scheme: Scheme::Bdf2, startup: Startup::SecondOrder, dt: 1.0 / 30.0 };
    let model = MassSpring::new(pendulum(2, &links), integration).unwrap();
    let x = hanging(2, &links, &[0.0, 0.0]).unwrap();
    let start = model.state(&x, &[1.0, 0.0], &[0.0, 0.0]).unwrap();
    let goal = model.state(&x, &[0.0, 0.0], &[0.0, 0.0]).unwrap();
    let mut weights = vec![0.0; model.ndx()];
    let layout = model.layout();
    weights[layout.positions()].fill(0.5);
    weights[layout.velocities()].fill(1.0);
    weights[layout.handles()].fill(0.3);
    let cost =
        |r: f64| QuadraticCost::new(goal.as_slice().to_vec(), weights.clone(), vec![r; 2]).unwrap();
    case("mass-spring", (model, cost(0.05), cost(0.0)), start.as_slice().to_vec(), 30, 0.1)
}

fn gymnasium() -> Case {
    // So fast that it is not clipped.
    let parameters = PendulumParameters { max_speed: 80.0, ..PendulumParameters::default() };
    let model = Pendulum::new(parameters, 0.05).unwrap();
    let cost = |w: f64, r: f64| QuadraticCost::new(vec![0.0; 2], vec![w; 2], vec![r]).unwrap();
    case("pendulum", (model, cost(0.1, 0.05), cost(2.0, 0.0)), vec![0.4, -0.5], 25, 1.5)
}

/// One of each kind.
pub(crate) fn cases() -> Vec<Case> {
    let UnicycleProblem { dynamics, cost } = UnicycleProblem::new(1.0, 0.5);
    let pole = swing_up::cartpole();
    let rod = swing_up::pendulum();
    let lq = |seed| Lq::random(4, 2, 12, seed);
    let discounted = Case {
        discount: 0.9,
        ..case("unicycle", (dynamics, cost.clone(), cost), vec![-1.0, -1.0, 1.0], 20, 0.7)
    };
    vec![
        discounted,
        gymnasium(),
        case("swing-up", (rod.dynamics, rod.cost, rod.terminal), vec![3.0, 0.1], 30, 2.0),
        case(
            "cart-pole",
            (pole.dynamics, pole.cost, pole.terminal),
            vec![0.1, 2.9, 0.0, 0.2],
            20,
            5.0,
        ),
        case("linear", (lq(5), lq(5), lq(5)), vec![1.0, -0.5, 0.3, 2.0], 12, 0.5),
        hanging_pendulum(),
    ]
}
