use std::sync::atomic::AtomicBool;

use dynamics::{End, Move, Task as _};
use nalgebra::{DVector, dvector};

use super::super::cell::Work;
use super::learners::RewardedTask;
use super::*;
use crate::plan::Profile;

/// A 3 × 3 grid.
fn small() -> Discounted {
    let start = vec![-1.0, -1.0, 1.0];
    Discounted { discount: 0.99, half: 0.3, points: 3, start, steps: 100 }
}

fn smoke() -> Size {
    Size { profile: Profile::Smoke, seeds: 2 }
}

fn brief() -> PpoCritic {
    PpoCritic { episode: 200, total_steps: 2048, ..ppo(&smoke(), small()) }
}

fn trained(seed: u64) -> PpoCriticResult {
    let (stop, mut progress) = (AtomicBool::new(false), |_| ());
    let mut work = Work::new(&stop, &mut progress);
    brief().run(&system().unwrap(), seed, &mut work).unwrap().unwrap()
}

/// On the x axis the unicycle is a scalar linear system: V = ½ p x² with
/// p = w₁² + γp − (γ p dt)²/(w₂² + γ p dt²).
#[test]
fn on_the_axis_the_solver_finds_the_value_of_the_riccati_equation() {
    let (system, problem) = (system().unwrap(), small());
    let truth = DiscountedTruth { problem, horizon: 1000, guess: 0.1 };
    let data = truth.compute(&system).unwrap();
    assert_eq!(data.v.len(), 9);
    let (q, r, dt) = (0.01, 0.04, 0.1);
    let mut p = 0.0_f64;
    for _ in 0..10_000 {
        let pd = 0.99 * p;
        p = q + pd - (pd * dt).powi(2) / (r + pd * dt * dt);
    }
    let exact = 0.5 * p * 0.3_f64.powi(2);
    for i in [3, 5] {
        assert!((data.v[i] - exact).abs() < 1e-8, "{} against {exact}", data.v[i]);
    }
    assert!(data.v[4].abs() < 1e-8, "the origin costs {}", data.v[4]);
    assert!(data.v[1] > 1.2 * exact, "sideways costs more: {:?}", data.v);

    // What is mirrored is what a solve from there gives.
    let mirrored = [0, 2, 6, 1].map(|i| truth.problem.states()[i].clone());
    let solved = truth.solve(system.build().unwrap().as_task(), &mirrored).unwrap();
    for (i, solved) in [0, 2, 6, 1].into_iter().zip(solved) {
        assert!((solved.cost - data.v[i]).abs() < 1e-7, "{} against {:?}", solved.cost, data.v);
    }
}

#[test]
fn a_seed_gives_the_same_ppo_critic_twice_and_its_values_are_costs() {
    let critic = trained(1);
    assert_eq!(critic, trained(1));
    assert_ne!(critic.v, trained(2).v);
    assert!(critic.v.iter().sum::<f64>() > 0.0, "{:?}", critic.v);
    assert!(critic.drawn.control_variation > critic.path.control_variation);
    assert_eq!(critic.path.xs.len(), 101);
}

#[test]
fn ppo_is_rewarded_by_the_scaled_cost_and_its_episodes_are_cut_not_ended() {
    let (system, settings) = (system().unwrap(), brief());
    let inner = system.build().unwrap();
    let task = RewardedTask::new(inner.as_task(), &system, &settings).unwrap();
    let (x, u): (DVector<f64>, _) = (dvector![0.3, -0.2, 0.1], dvector![0.5, -0.4]);
    let step = Move { t: 0, x: &x, u: &u, x_next: &x };
    // c ½ (w₁²‖x‖² + w₂²‖u‖²)
    let needed = -10.0 * 0.5 * (0.01 * 0.14 + 0.04 * 0.41);
    assert!((task.reward(&mut task.reward_scratch(), &step) - needed).abs() < 1e-15);
    assert_eq!((task.time_limit(), task.ends(&step, -1e9)), (End::Truncated, None));
}

#[test]
fn two_iterations_of_dvp_are_nearer_to_the_solver_than_a_moment_of_ppo() {
    let system = system().unwrap();
    let mut critic = dvp(&smoke(), small(), &system);
    critic.settings.iterations = 2;
    critic.settings.samples = 40;
    critic.settings.horizon = 100;
    critic.settings.hidden = vec![32; 2];
    critic.settings.fit.epochs = 300;
    let (stop, mut progress) = (AtomicBool::new(false), |_| ());
    let dvp = critic.run(&system, 0, &mut Work::new(&stop, &mut progress)).unwrap().unwrap();
    let truth = DiscountedTruth { problem: small(), horizon: 1000, guess: 0.1 };
    let truth = truth.compute(&system).unwrap();
    let comparison = Comparison::new(&truth.v, &dvp.v, &trained(0).v).unwrap();
    assert!(comparison.median_ratio > 5.0, "{comparison:?}");
    assert!(comparison.pairs[0].median() < 1e-4, "{comparison:?}");
    assert!(dvp.path.cost < 1.05 * truth.path.cost, "{}", dvp.path.cost);
}

#[test]
fn a_learner_that_is_asked_to_stop_leaves_nothing() {
    let (stop, mut progress) = (AtomicBool::new(true), |_| ());
    let mut work = Work::new(&stop, &mut progress);
    assert_eq!(brief().run(&system().unwrap(), 0, &mut work).unwrap(), None);
}

#[test]
fn quantiles_shares_and_ratios_are_those_of_the_squares() {
    let (truth, dvp, ppo) = ([1.0; 4], [1.1, 0.9, 1.1, 0.9], [1.2, 1.3, 1.4, 1.5]);
    let found = Comparison::new(&truth, &dvp, &ppo).unwrap();
    // 0.2² is four times 0.1², the others more than five times.
    assert_eq!(found.clearly_better, 0.75);
    assert!((found.pairs[1].quantiles[0] - 0.04).abs() < 1e-12);
    assert!((found.pairs[1].quantiles[3] - 0.25).abs() < 1e-12);
    assert!((found.ppo_bias - 0.35).abs() < 1e-12 && found.dvp_bias.abs() < 1e-12);
    assert!((found.pairs[2].squares[1] - 0.16).abs() < 1e-12);
    assert!(Comparison::new(&truth, &dvp[..3], &ppo).is_err());
}

#[test]
fn learners_share_discount_box_and_grid() {
    let size = Size { profile: Profile::Quick, seeds: 3 };
    let cells = cells(&size, 1).unwrap();
    assert_eq!(cells.len(), 1 + 2 * 3);
    let problems = cells.iter().map(|cell| match &cell.experiment {
        Experiment::DiscountedTruth(truth) => &truth.problem,
        Experiment::DvpCritic(dvp) => {
            assert_eq!(dvp.settings.discount, dvp.problem.discount);
            assert_eq!(dvp.settings.start_spread, cell.system.spread);
            &dvp.problem
        }
        Experiment::PpoCritic(ppo) => &ppo.problem,
        other => panic!("{other:?}"),
    });
    assert!(problems.clone().all(|problem| problem.discount == 0.998));
    assert!(problems.clone().all(|problem| *problem == problems.clone().next().unwrap().clone()));
}
