//! DVP on the unicycle: labels, rejection, and a value that grows to that of a long horizon.
#![allow(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use agents::LearnError;
use agents::dvp::{Dvp, DvpSettings, ValueLabels, mean_squared_difference, values};
use bench_tasks::{BenchTask, Preset, Variant};
use critics::FitSettings;
use dynamics::Stream;
use nalgebra::DVector;

fn unicycle(horizon: i64) -> Box<dyn BenchTask> {
    let entry = bench_tasks::find("unicycle").unwrap();
    let mut table = (entry.settings)(Preset::Released).unwrap();
    for (key, value) in [("state_weight", 0.1), ("control_weight", 0.2)] {
        table.insert(key.to_owned(), value.into());
    }
    table.insert("x0".to_owned(), vec![0.0; 3].into());
    table.insert("horizon".to_owned(), horizon.into());
    (entry.build)(Variant::Nominal, &table).unwrap()
}

fn settings(horizon: usize, epochs: usize) -> DvpSettings {
    DvpSettings {
        samples: 60,
        horizon,
        start_spread: vec![1.0, 1.0, 1.0],
        fit: FitSettings { epochs, ..FitSettings::default() },
        ..DvpSettings::default()
    }
}

#[test]
fn short_horizons_grow_to_the_value_of_a_long_one() {
    let task = unicycle(60);
    let mut dvp = Dvp::new(task.as_task(), &settings(15, 600), 0).unwrap();
    let points = dvp.starts(&mut Stream::new(7, "validation", 0), 40);
    // The truth: one solve over 400 steps.
    let long = DvpSettings { horizon: 400, ..settings(15, 1) };
    let truth = Dvp::new(task.as_task(), &long, 0).unwrap().solve(&points).unwrap();
    let truth: Vec<_> = truth.iter().map(|solution| solution.cost).collect();
    let mut errors = Vec::new();
    for _ in 0..5 {
        let report = dvp.iterate().unwrap();
        assert_eq!((report.solved, report.rejected), (60, 0));
        errors.push(mean_squared_difference(&values(dvp.network(), &points), &truth));
    }
    assert!(errors.windows(2).all(|e| e[1] < e[0]) && errors[4] < 0.2 * errors[0], "{errors:?}");
}

#[test]
fn equal_seeds_give_equal_bits_and_others_do_not() {
    let task = unicycle(60);
    let run = |seed| {
        let mut dvp = Dvp::new(task.as_task(), &settings(10, 20), seed).unwrap();
        dvp.iterate().unwrap();
        dvp.iterate().unwrap();
        dvp.network().net().params().to_vec()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_biased_first_terminal_cost_shifts_the_first_labels() {
    let task = unicycle(60);
    let solve = |first_bias| {
        let settings = DvpSettings { first_bias, ..settings(10, 1) };
        let dvp = Dvp::new(task.as_task(), &settings, 0).unwrap();
        let starts = dvp.starts(&mut Stream::new(1, "starts", 0), 3);
        dvp.solve(&starts).unwrap()
    };
    for (plain, biased) in solve(0.0).iter().zip(&solve(0.5)) {
        assert!((biased.cost - plain.cost - 0.5).abs() < 1e-9);
        assert!((&biased.vx[0] - &plain.vx[0]).amax() < 1e-6);
    }
}

#[test]
fn an_anchored_terminal_cost_forgets_the_bias() {
    let task = unicycle(60);
    let value_at_goal = |anchor: Vec<f64>| {
        let settings = DvpSettings { first_bias: 0.5, anchor, ..settings(10, 300) };
        let mut dvp = Dvp::new(task.as_task(), &settings, 0).unwrap();
        dvp.iterate().unwrap();
        dvp.solve(&[DVector::zeros(3)]).unwrap()[0].cost
    };
    assert!((value_at_goal(Vec::new()) - 0.5).abs() < 0.05);
    // Resting at the goal costs nothing, and what the network says of it is taken off.
    let anchored = value_at_goal(vec![0.0; 3]);
    assert!((-0.05..=0.0).contains(&anchored), "{anchored}");
}

#[test]
fn warm_starts_change_the_work_and_not_the_values() {
    let task = unicycle(60);
    let run = |warm_start| {
        let settings = DvpSettings { warm_start, ..settings(30, 200) };
        let mut dvp = Dvp::new(task.as_task(), &settings, 0).unwrap();
        dvp.iterate().unwrap();
        (dvp.iterate().unwrap(), dvp)
    };
    let ((long, cold), (short, warm)) = (run(false), run(true));
    assert!(short.solver_iterations < 0.9 * long.solver_iterations, "{short:?} {long:?}");
    let points = cold.starts(&mut Stream::new(3, "validation", 0), 20);
    let difference =
        mean_squared_difference(&values(cold.network(), &points), &values(warm.network(), &points));
    assert!(difference < 1e-3, "{difference}");
}

#[test]
fn labels_of_the_last_pass_are_close_but_not_the_same() {
    let task = unicycle(60);
    let run = |labels| {
        let settings = DvpSettings { labels, all_nodes: true, ..settings(10, 5) };
        let mut dvp = Dvp::new(task.as_task(), &settings, 0).unwrap();
        dvp.iterate().unwrap();
        dvp.network().net().params().to_vec()
    };
    let (solution, last) = (run(ValueLabels::Solution), run(ValueLabels::LastPass));
    assert_ne!(solution, last);
    for (a, b) in solution.iter().zip(&last) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

#[test]
fn solves_that_need_much_regularisation_are_rejected_and_counted() {
    let task = unicycle(60);
    // Below the least that the solver works with: no solve is good enough.
    let settings = DvpSettings { max_regularization: 1e-30, ..settings(10, 1) };
    let error = Dvp::new(task.as_task(), &settings, 0).unwrap().iterate().unwrap_err();
    assert!(matches!(error, LearnError::NoLabels { rejected: 60, .. }), "{error}");
}

#[test]
fn settings_and_tasks_that_do_not_fit_are_refused() {
    let task = unicycle(60);
    let refused =
        |settings: DvpSettings| Dvp::new(task.as_task(), &settings, 0).err().unwrap().to_string();
    let text = refused(DvpSettings { samples: 0, ..settings(10, 1) });
    assert!(text.contains("method.samples"), "{text}");
    let text = refused(DvpSettings { learning_rate: f64::NAN, ..settings(10, 1) });
    assert!(text.contains("method.learning_rate"), "{text}");
    let text = refused(DvpSettings { anchor: vec![0.0; 2], ..settings(10, 1) });
    assert!(text.contains("method.anchor"), "{text}");
    let text = refused(DvpSettings { start_spread: vec![1.0], ..settings(10, 1) });
    assert!(text.contains("method.start_spread"), "{text}");
    let entry = bench_tasks::find("hopper").unwrap();
    let hopper = (entry.build)(Variant::Nominal, &(entry.settings)(Preset::Released).unwrap());
    let hopper = hopper.unwrap();
    let text = Dvp::new(hopper.as_task(), &settings(10, 1), 0).err().unwrap().to_string();
    assert!(text.contains("`dvp` cannot learn on task `hopper`"), "{text}");
}
