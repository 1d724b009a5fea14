//! Rows about differentiable simulation: roll-outs of springs with gradients, steps of second order,
//! and an epoch of PODS.

use std::hint::black_box;

use agents::{Bptt, BpttSettings, Pods, PodsSettings};
use anyhow::{Context as _, Result, ensure};
use bench_tasks::{BenchTask, Preset, Variant, test_starts};
use ddp::Problem;
use ddp::shooting::{Route, Shooting};
use dynamics::{AnyCost, AnyDynamics, AnyTerminalCost, Objective, Task};
use nalgebra::DVector;

use super::case::{Case, Source, Unit, Work};
use super::steps::Tasks;

/// Steps of the roll-outs whose gradient is taken, and of those of a training.
const HORIZON: usize = 50;
/// Horizons of the steps of second order.
pub(super) const HORIZONS: [usize; 5] = [25, 50, 100, 200, 400];
/// Starts that roll-outs with gradients go round.
const STARTS: usize = 16;
/// Roll-outs of a batch that is shared out, and of an epoch.
const BATCH: usize = 500;
const EPOCH: usize = 4000;

/// Ways to the step of second order.
const ROUTES: [Route; 3] = [
    Route::Riccati,
    Route::Dense,
    Route::ConjugateGradient { tolerance: 1e-10, max_iterations: 16_000 },
];

/// A pendulum of the registry, released settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pendulum {
    /// `pods-2d-stop`.
    Plane,
    /// `pods-double-stop`.
    Double,
}

/// What a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// A roll-out with the gradient by its controls.
    Gradient(Pendulum),
    /// A step of second order by one of [`ROUTES`], and over how many steps.
    Step(usize, usize),
    /// Roll-outs of a policy with the gradient by its weights, on some threads.
    Rollouts,
    /// An epoch of PODS.
    Epoch,
}

/// Names, what they measure, on which numbers of threads, and one line about each, in the order of the
/// table.
pub(super) fn rows() -> Vec<(String, Measure, &'static [usize], String)> {
    const ONE: &[usize] = &[1];
    let gradients = [
        ("pods-2d-gradient", Pendulum::Plane, "2D pendulum"),
        ("pods-double-gradient", Pendulum::Double, "double 3D pendulum"),
    ]
    .map(|(name, pendulum, what)| {
        let what = format!("{what}, {HORIZON} steps: roll-out and gradient by the controls");
        (name.to_owned(), Measure::Gradient(pendulum), ONE, what)
    });
    let steps = ROUTES.iter().enumerate().flat_map(|(i, route)| {
        HORIZONS.map(|horizon| {
            let name = route.name();
            let what = format!("2D pendulum, {horizon} steps: a step of second order, {name}");
            (format!("pods-horizons-{name}-{horizon}"), Measure::Step(i, horizon), ONE, what)
        })
    });
    let learning: [(_, _, &'static [usize], _); 2] = [
        (
            "pods-rollouts".to_owned(),
            Measure::Rollouts,
            &[1, 2],
            format!(
                "2D pendulum: {BATCH} roll-outs of a policy 2×64 with the gradient by its weights, \
                 simulated steps"
            ),
        ),
        (
            "pods-epoch".to_owned(),
            Measure::Epoch,
            &[2],
            format!(
                "PODS on the 2D pendulum: {EPOCH} roll-outs of {HORIZON} steps improved by steps of \
                 second order, 50 steps of Adam, 2×64"
            ),
        ),
    ];
    gradients.into_iter().chain(steps).chain(learning).collect()
}

/// The tasks of the rows.
pub(super) struct Springs<'a> {
    plane: Swing<'a>,
    double: Swing<'a>,
    /// The 2D pendulum with the horizon of the paper's figure 3.
    training: Box<dyn BenchTask>,
}

/// A pendulum as parts for [`Shooting`] to borrow.
struct Swing<'a> {
    model: &'a dyn AnyDynamics,
    objective: Objective<'a>,
    starts: Vec<DVector<f64>>,
}

type AnyShooting<'w> = Shooting<'w, &'w dyn AnyDynamics, &'w dyn AnyCost, &'w dyn AnyTerminalCost>;

impl<'a> Springs<'a> {
    /// The pendulums among `tasks`, and that of trainings.
    ///
    /// # Errors
    /// Settings that a task refuses.
    pub(super) fn new(tasks: &'a Tasks) -> Result<Self> {
        let entry = bench_tasks::find("pods-2d-stop")?;
        let mut settings = (entry.settings)(Preset::Released)?;
        settings.insert("horizon".to_owned(), (HORIZON as i64).into());
        settings.insert("dt".to_owned(), (1.0 / 30.0).into());
        Ok(Self {
            plane: Swing::new(tasks.find("pods-2d-stop")?)?,
            double: Swing::new(tasks.find("pods-double-stop")?)?,
            training: (entry.build)(Variant::Nominal, &settings)?,
        })
    }

    fn swing(&self, pendulum: Pendulum) -> &Swing<'a> {
        match pendulum {
            Pendulum::Plane => &self.plane,
            Pendulum::Double => &self.double,
        }
    }
}

impl<'a> Swing<'a> {
    fn new(task: &'a dyn Task) -> Result<Self> {
        let objective = task.objective();
        let objective =
            objective.with_context(|| format!("task `{}` has no objective", task.name()))?;
        Ok(Self { model: task.nominal(), objective, starts: test_starts(task, STARTS) })
    }

    fn shooting(&self, horizon: usize) -> Result<AnyShooting<'_>> {
        let Objective { stage, terminal, .. } = &self.objective;
        Ok(Shooting::new(Problem::new(&self.model, stage, terminal, horizon))?)
    }

    /// Roll-outs with gradients from the starts in turns.
    fn gradients(&self) -> Result<Work<'_>> {
        let mut shooting = self.shooting(HORIZON)?;
        let mut starts = self.starts.iter().cycle();
        Ok(Box::new(move |calls| {
            for x0 in starts.by_ref().take(calls) {
                roll(&mut shooting, x0)?;
                black_box(shooting.gradient()?);
            }
            Ok(())
        }))
    }

    /// Steps of second order at one roll-out, whose derivatives are there.
    fn steps(&self, route: Route, horizon: usize) -> Result<Work<'_>> {
        let mut shooting = self.shooting(horizon)?;
        roll(&mut shooting, self.objective.x0)?;
        Ok(Box::new(move |calls| {
            for _ in 0..calls {
                let step = shooting.second_order_step(route)?;
                black_box(step.delta);
            }
            Ok(())
        }))
    }
}

/// A roll-out under a handle that swings gently.
fn roll(shooting: &mut AnyShooting<'_>, x0: &DVector<f64>) -> Result<f64> {
    Ok(shooting.rollout_policy(x0, |t, _, u| {
        u.fill(0.0);
        u[0] = 0.1 * (0.3 * t as f64).sin();
    })?)
}

/// Batches of roll-outs under a policy at its start, with the gradient of their mean cost; calls are
/// simulated steps.
fn rollouts(task: &dyn Task) -> Result<Work<'_>> {
    let mut bptt = Bptt::<f32>::new(task, &BpttSettings::default(), 0)?;
    let starts = test_starts(task, BATCH);
    Ok(Box::new(move |calls| {
        for _ in 0..calls / (BATCH * HORIZON) {
            let costs = bptt.differentiate(&starts)?;
            ensure!(costs.iter().all(Result::is_ok), "a roll-out failed");
        }
        Ok(())
    }))
}

/// Epochs that go on from one another, as in a training.
fn epochs(task: &dyn Task, rollouts: usize) -> Result<Work<'_>> {
    let settings = PodsSettings { rollouts, ..PodsSettings::second_order() };
    let mut pods = Pods::<f32>::new(task, &settings, 0)?;
    Ok(Box::new(move |calls| {
        for _ in 0..calls {
            let done = pods.epoch()?;
            ensure!(done.failures() == 0, "{} of {rollouts} roll-outs failed", done.failures());
        }
        Ok(())
    }))
}

/// The row of what is measured.
///
/// # Errors
/// What models and methods report.
pub(super) fn case<'a>(
    name: &str,
    threads: usize,
    measure: Measure,
    springs: &'a Springs<'_>,
) -> Result<Case<'a>> {
    let task = springs.training.as_task();
    let (unit, warm_up, granule, work) = match measure {
        Measure::Gradient(pendulum) => {
            (Unit::Microseconds, STARTS, STARTS, springs.swing(pendulum).gradients()?)
        }
        Measure::Step(route, horizon) => {
            (Unit::Microseconds, 1, 1, springs.plane.steps(ROUTES[route], horizon)?)
        }
        // What is measured to settle the length of a sample has warmed up.
        Measure::Rollouts => (Unit::StepsPerSecond, 0, BATCH * HORIZON, rollouts(task)?),
        Measure::Epoch => (Unit::Seconds, 0, 1, epochs(task, EPOCH)?),
    };
    Ok(Case {
        name: name.to_owned(),
        threads,
        unit,
        flops: None,
        updates_per_step: None,
        source: Source::timed(warm_up, granule, work),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_can_be_prepared_and_called() {
        let tasks = Tasks::build().unwrap();
        let springs = Springs::new(&tasks).unwrap();
        for (name, measure, ..) in rows() {
            let case = case(&name, 1, measure, &springs).unwrap();
            let Source::Timed { mut work, granule, .. } = case.source else { unreachable!() };
            match measure {
                // As many roll-outs as in a sample take too long without optimisation.
                Measure::Epoch => epochs(springs.training.as_task(), 4).unwrap()(2).unwrap(),
                _ => work(granule).unwrap(),
            }
        }
    }

    #[test]
    fn roll_outs_have_the_steps_that_rows_tell() {
        let tasks = Tasks::build().unwrap();
        let springs = Springs::new(&tasks).unwrap();
        assert_eq!(springs.training.as_task().horizon(), HORIZON);
        for (pendulum, nu) in [(Pendulum::Plane, 2), (Pendulum::Double, 3)] {
            let swing = springs.swing(pendulum);
            let mut shooting = swing.shooting(HORIZON).unwrap();
            roll(&mut shooting, &swing.starts[0]).unwrap();
            let gradient = shooting.gradient().unwrap();
            assert_eq!(gradient.len(), HORIZON * nu);
            assert!(gradient.iter().any(|g| g.abs() > 0.1), "{gradient:?}");
        }
    }

    /// The row is about one linear system: limits would ask for several.
    #[test]
    fn steps_of_second_order_solve_one_system_at_every_horizon() {
        let tasks = Tasks::build().unwrap();
        let springs = Springs::new(&tasks).unwrap();
        for horizon in HORIZONS {
            let mut shooting = springs.plane.shooting(horizon).unwrap();
            roll(&mut shooting, springs.plane.objective.x0).unwrap();
            let mut steps = ROUTES.map(|route| {
                let step = shooting.second_order_step(route).unwrap();
                assert_eq!((step.delta.len(), step.report.solves), (2 * horizon, 1));
                assert!(step.report.converged, "{route:?}");
                step.delta.to_vec()
            });
            let riccati = std::mem::take(&mut steps[0]);
            let size = riccati.iter().fold(0.0, |max: f64, d| max.max(d.abs()));
            for step in &steps[1..] {
                assert!(step.iter().zip(&riccati).all(|(a, b)| (a - b).abs() < 1e-6 * size));
            }
        }
    }
}
