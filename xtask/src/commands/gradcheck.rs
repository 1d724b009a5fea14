//! `gradcheck`: every derivative of tasks against independent sources.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use bench_tasks::{BenchTask, CheckedModel, Entry, Variant};
use clap::Args;
use dynamics::check::{
    BlockCheck, check_against_differences, check_against_duals, check_rollout_against_duals,
};
use dynamics::{AnyPlant, DynamicsError, Move, RewardGradient, Stream, Task, difference_reward};
use nalgebra::{DMatrix, DVector};

use crate::settings::{PRESETS, VARIANTS};

/// Arguments of `gradcheck`.
#[derive(Args)]
pub(crate) struct GradcheckArgs {
    /// Tasks to check; all by default
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    /// Points at which each model is checked
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    points: u32,
    /// Seed of the random points
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Largest error of one step against dual numbers.
const DUALS_BOUND: f64 = 1e-10;
/// Largest error of a roll-out against dual numbers.
const ROLLOUT_BOUND: f64 = 1e-9;
/// Largest error against central differences.
const DIFFERENCES_BOUND: f64 = 1e-6;
/// Roll-outs of each model.
const N_ROLLOUTS: usize = 10;
/// Steps of a roll-out.
const ROLLOUT_STEPS: usize = 50;
/// A reward whose slopes to either side differ by more than this has a kink there.
const KINK: f64 = 1e-3;

/// A state and an action.
type Point = (DVector<f64>, DVector<f64>);

impl GradcheckArgs {
    /// Prints the table of worst errors.
    ///
    /// # Errors
    /// An unknown task, a model that reports an error, a derivative beyond its bound.
    pub(crate) fn run(self) -> Result<()> {
        let entries: Vec<Entry> = match self.tasks.as_slice() {
            [] => bench_tasks::registry().to_vec(),
            names => names
                .iter()
                .map(|name| bench_tasks::find(name).copied())
                .collect::<Result<_, _>>()?,
        };
        let mut rows = Vec::new();
        for entry in entries {
            rows.extend(check_task(&entry, self.points as usize, self.seed)?);
        }
        super::print(&describe(&rows))?;
        let failed = rows.iter().filter(|row| !row.is_ok()).count();
        match failed {
            0 => Ok(()),
            _ => bail!("{failed} of {} blocks of derivatives are out of bounds", rows.len()),
        }
    }
}

/// The checks of one block of derivatives.
struct Row {
    /// Task, preset, model and block.
    labels: [String; 4],
    duals: Worst,
    differences: Worst,
    rollout: Worst,
    /// Entries of the reward's gradient that were looked at, over all points.
    n_entries: usize,
    /// Those of them that were not compared, since the reward has a kink there.
    n_left_out: usize,
}

impl Row {
    fn new(labels: [&str; 4]) -> Self {
        Self {
            labels: labels.map(str::to_owned),
            duals: Worst::new("dual numbers", DUALS_BOUND),
            differences: Worst::new("differences", DIFFERENCES_BOUND),
            rollout: Worst::new("dual numbers along a roll-out from here", ROLLOUT_BOUND),
            n_entries: 0,
            n_left_out: 0,
        }
    }

    fn checks(&self) -> [&Worst; 3] {
        [&self.duals, &self.differences, &self.rollout]
    }

    /// Within all bounds; a block that nothing was compared with is not.
    fn is_ok(&self) -> bool {
        let mut compared = self
            .checks()
            .into_iter()
            .filter_map(|worst| worst.found.as_ref().map(|(check, _)| check.error <= worst.bound));
        compared.next().is_some_and(|first| first && compared.all(|ok| ok))
    }
}

/// The largest error against one source.
struct Worst {
    source: &'static str,
    bound: f64,
    /// Error and where; `None` if there was nothing to compare with.
    found: Option<(BlockCheck, Point)>,
}

impl Worst {
    fn new(source: &'static str, bound: f64) -> Self {
        Self { source, bound, found: None }
    }

    fn add(&mut self, check: BlockCheck, x: &DVector<f64>, u: &DVector<f64>) {
        if self.found.as_ref().is_none_or(|(worst, _)| check.error > worst.error) {
            self.found = Some((check, (x.clone(), u.clone())));
        }
    }
}

fn check_task(entry: &Entry, n_points: usize, seed: u64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (preset_name, preset) in PRESETS {
        let settings = (entry.settings)(preset)?;
        let task = (entry.build)(Variant::Real, &settings)?;
        let points = task.check_points(&mut Stream::new(seed, "gradcheck-points", 0), n_points);
        let rollouts = sample_rollouts(&*task, seed);
        for checked in task.checked_models() {
            let label = |block| Row::new([entry.name, preset_name, checked.label, block]);
            let mut blocks = [label("fx"), label("fu")];
            check_model(&checked, &points, &rollouts, &mut blocks)?;
            rows.extend(blocks);
        }
        for (variant_name, variant) in VARIANTS {
            let task = (entry.build)(variant, &settings)?;
            let mut blocks = ["r_x", "r_u", "r_xnext"]
                .map(|block| Row::new([entry.name, preset_name, variant_name, block]));
            check_reward(task.as_task(), &points, &mut blocks)?;
            rows.extend(blocks);
        }
    }
    Ok(rows)
}

/// Starts of the task with random actions.
fn sample_rollouts(task: &dyn BenchTask, seed: u64) -> Vec<(DVector<f64>, Vec<DVector<f64>>)> {
    let mut stream = Stream::new(seed, "gradcheck-rollouts", 0);
    let plant = task.plant();
    let mut rollout = || {
        let mut x0 = DVector::zeros(plant.any_nx());
        task.sample_x0(&mut stream, &mut x0);
        let mut action = || {
            let mut u = DVector::zeros(plant.any_nu());
            task.action_bounds().sample(&mut stream, u.as_mut_slice());
            u
        };
        (x0, (0..ROLLOUT_STEPS).map(|_| action()).collect())
    };
    (0..N_ROLLOUTS).map(|_| rollout()).collect()
}

/// Checks fx and fu of one model: `rows[0]` and `rows[1]`.
fn check_model(
    checked: &CheckedModel<'_>,
    points: &[Point],
    rollouts: &[(DVector<f64>, Vec<DVector<f64>>)],
    rows: &mut [Row; 2],
) -> Result<(), DynamicsError> {
    let CheckedModel { model, oracle, .. } = *checked;
    for (x, u) in points {
        for (row, check) in rows.iter_mut().zip(check_against_differences(model, x, u)?) {
            row.differences.add(check, x, u);
        }
    }
    // A model that is not written for every scalar has differences only.
    let Some(oracle) = oracle else { return Ok(()) };
    for (x, u) in points {
        for (row, check) in rows.iter_mut().zip(check_against_duals(model, oracle, x, u)?) {
            row.duals.add(check, x, u);
        }
    }
    for (x0, us) in rollouts {
        let checks = check_rollout_against_duals(model, oracle, x0, us)?;
        for (row, check) in rows.iter_mut().zip(checks) {
            row.rollout.add(check, x0, &us[0]);
        }
    }
    Ok(())
}

/// Checks r_x, r_u and r_xnext, in this order, at the transitions that the plant makes from
/// `points`.
fn check_reward(
    task: &dyn Task,
    points: &[Point],
    rows: &mut [Row; 3],
) -> Result<(), DynamicsError> {
    let plant: &dyn AnyPlant = task.plant();
    let (ndx, nu) = (plant.any_ndx(), plant.any_nu());
    let mut plant_scratch = plant.any_workspace();
    let mut scratch = task.reward_scratch();
    let mut expected = RewardGradient::zeros(ndx, nu);
    let mut x_next = DVector::zeros(plant.any_nx());
    for (x, u) in points {
        plant.any_step(&mut plant_scratch, x, u, &[], &mut x_next)?;
        task.wrap(&mut x_next);
        let m = Move { t: 0, x, u, x_next: &x_next };
        // Filled with NaN, so that an entry that the task forgets to write is seen.
        let mut found = RewardGradient::zeros(ndx, nu);
        for block in [&mut found.r_x, &mut found.r_u, &mut found.r_xnext] {
            block.fill(f64::NAN);
        }
        task.reward_gradient(&mut scratch, &m, &mut found);
        difference_reward(task, &mut scratch, &m, &mut expected);
        let mut reward = |m: &Move<'_>| task.reward(&mut scratch, m);
        let kinks = [
            find_kinks(x, |x| reward(&Move { x, ..m })),
            find_kinks(u, |u| reward(&Move { u, ..m })),
            find_kinks(&x_next, |x_next| reward(&Move { x_next, ..m })),
        ];
        let blocks = [
            ("r_x", &found.r_x, &expected.r_x),
            ("r_u", &found.r_u, &expected.r_u),
            ("r_xnext", &found.r_xnext, &expected.r_xnext),
        ];
        for ((row, kinks), (name, found, expected)) in rows.iter_mut().zip(kinks).zip(blocks) {
            row.n_entries += kinks.len();
            row.n_left_out += kinks.iter().filter(|kink| **kink).count();
            let smooth: Vec<usize> = (0..found.len()).filter(|i| !kinks[*i]).collect();
            let select = |v: &DVector<f64>| DMatrix::from_fn(smooth.len(), 1, |i, _| v[smooth[i]]);
            if !smooth.is_empty() {
                let mut check = BlockCheck::compare(name, &select(found), &select(expected));
                check.row = smooth[check.row];
                row.differences.add(check, x, u);
            }
        }
    }
    Ok(())
}

/// The entries along which `value` has a kink or a jump within the reach of central differences
/// from z: its slopes to either side differ.
fn find_kinks(z: &DVector<f64>, mut value: impl FnMut(&DVector<f64>) -> f64) -> Vec<bool> {
    let here = value(z);
    let mut moved = z.clone();
    let has_kink = |i: usize| {
        let h = f64::EPSILON.cbrt() * z[i].abs().max(1.0);
        let mut slope = |h: f64| {
            moved[i] = z[i] + h;
            let slope = (value(&moved) - here) / h;
            moved[i] = z[i];
            slope
        };
        let (forward, backward) = (slope(h), slope(-h));
        (forward - backward).abs() > KINK * forward.abs().max(1.0)
    };
    (0..z.len()).map(has_kink).collect()
}

/// The table, notes on entries left out, and where derivatives are out of bounds.
fn describe(rows: &[Row]) -> String {
    let mut table = super::table([
        "task",
        "preset",
        "model",
        "block",
        "vs duals",
        "vs differences",
        "50 steps vs duals",
        "tolerances",
        "ok",
    ]);
    let mut notes = String::new();
    for row in rows {
        let errors = row.checks().map(|worst| {
            worst.found.as_ref().map_or_else(
                || ("–".to_owned(), "–".to_owned()),
                |(check, _)| (format!("{:.1e}", check.error), format!("{:.0e}", worst.bound)),
            )
        });
        let bounds = errors.each_ref().map(|(_, bound)| bound.as_str()).join(" / ");
        let verdict = if row.is_ok() { "yes" } else { "NO" };
        let cells = row.labels.iter().chain(errors.iter().map(|(error, _)| error));
        table.add_row(cells.map(String::as_str).chain([bounds.as_str(), verdict]));

        // Writing to a string cannot fail.
        let name = row.labels.join(" ");
        if row.n_left_out > 0 {
            let (n, all) = (row.n_left_out, row.n_entries);
            let _ =
                writeln!(notes, "{name}: {n} of {all} entries left out, at a kink of the reward");
        }
        for Worst { source, bound, found } in row.checks() {
            if let Some((check, (x, u))) = found.as_ref().filter(|(c, _)| c.error > *bound) {
                let BlockCheck { row, column, found, expected, .. } = check;
                let (x, u) = (x.as_slice(), u.as_slice());
                let _ = writeln!(
                    notes,
                    "{name}: entry ({row}, {column}) is {found:?}, but {expected:?} by {source}; \
                     x = {x:?}, u = {u:?}"
                );
            }
        }
    }
    format!("{table}\n{notes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench_tasks::{CartpoleSettings, Preset};
    use dynamics::models::Cartpole;
    use dynamics::{Dynamics, Linearization, Plant, Rk4};
    use nalgebra::dvector;

    fn rk4() -> Rk4<Cartpole> {
        let settings = CartpoleSettings::preset(Preset::Released);
        Rk4::new(Cartpole::new(settings.real).unwrap(), settings.dt).unwrap()
    }

    /// The cartpole with one wrong entry of fx.
    struct Wrong(Rk4<Cartpole>, f64);

    impl Plant for Wrong {
        type Workspace = <Rk4<Cartpole> as Plant>::Workspace;
        fn name(&self) -> &str {
            "wrong"
        }
        fn nx(&self) -> usize {
            4
        }
        fn nu(&self) -> usize {
            1
        }
        fn workspace(&self) -> Self::Workspace {
            self.0.workspace()
        }
        fn step(
            &self,
            ws: &mut Self::Workspace,
            x: &DVector<f64>,
            u: &DVector<f64>,
            x_next: &mut DVector<f64>,
        ) -> Result<(), DynamicsError> {
            self.0.step(ws, x, u, x_next)
        }
    }

    impl Dynamics for Wrong {
        fn linearize(
            &self,
            ws: &mut Self::Workspace,
            x: &DVector<f64>,
            u: &DVector<f64>,
            out: &mut Linearization,
        ) -> Result<(), DynamicsError> {
            self.0.linearize(ws, x, u, out)?;
            out.fx[(2, 1)] += self.1;
            Ok(())
        }
    }

    fn check(offset: f64, with_oracle: bool) -> [Row; 2] {
        let wrong = Wrong(rk4(), offset);
        let checked = CheckedModel {
            label: "real",
            model: &wrong,
            oracle: if with_oracle { Some(&wrong.0) } else { None },
        };
        let mut rows = ["fx", "fu"].map(|block| Row::new(["cartpole", "released", "real", block]));
        let (x, u) = (dvector![0.1, 2.0, -0.3, 1.0], dvector![5.0]);
        let rollouts = [(x.clone(), vec![u.clone(); 3])];
        check_model(&checked, &[(x, u)], &rollouts, &mut rows).unwrap();
        rows
    }

    #[test]
    fn a_wrong_entry_is_found_by_every_source_and_named() {
        let [fx, fu] = check(1e-4, true);
        for worst in fx.checks() {
            let (check, _) = worst.found.as_ref().unwrap();
            assert!(check.error > worst.bound, "{}: {check:?}", worst.source);
        }
        assert!(!fx.is_ok());
        assert!(fu.duals.found.as_ref().unwrap().0.error <= DUALS_BOUND);
        let text = describe(&[fx]);
        assert!(text.contains("cartpole released real fx: entry (2, 1) is "), "{text}");
        assert!(text.contains("by differences; x = [0.1, 2.0, -0.3, 1.0], u = [5.0]"), "{text}");
        assert!(text.contains(" NO "), "{text}");
    }

    #[test]
    fn an_error_too_small_for_differences_is_found_by_dual_numbers() {
        let [fx, _] = check(1e-8, true);
        assert!(fx.differences.found.as_ref().unwrap().0.error <= DIFFERENCES_BOUND);
        assert!(!fx.is_ok());
    }

    #[test]
    fn a_model_without_dual_numbers_is_judged_by_differences() {
        assert!(check(0.0, false).iter().all(Row::is_ok));
        assert!(!check(1e-4, false)[0].is_ok());
        assert!(describe(&check(0.0, false)).contains("– / 1e-6 / –"));
    }

    #[test]
    fn nothing_compared_is_not_ok() {
        assert!(!Row::new(["", "", "", ""]).is_ok());
    }

    #[test]
    fn kinks_are_told_from_curvature() {
        let function = |z: &DVector<f64>| {
            z[0].abs()
                + 50.0 * z[1] * z[1]
                + if z[2] > 0.0 { 1.0 } else { 0.0 }
                + (7.0 * z[3]).exp()
        };
        assert_eq!(find_kinks(&dvector![0.0, 0.0, 0.0, 0.0], function), [true, false, true, false]);
        assert_eq!(
            find_kinks(&dvector![1e-6, 3.0, -1e-6, 1.0], function),
            [true, false, true, false]
        );
        assert_eq!(find_kinks(&dvector![1e-4, 3.0, 1e-4, 1.0], function), [false; 4]);
    }
}
