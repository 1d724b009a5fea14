//! The theory as measurements: bias, variance and curvature against the horizon.

use agents::tracking::{GradientStatistics, Horizon, Recording, TrackingPolicy, return_hessian};
use anyhow::Result;
use bench_tasks::{
    PendulumControl, ReachPoint, ReachPointSettings, TrackLine, TrackLineSettings, Variant,
};
use dynamics::{Stream, Task};
use nalgebra::{DVector, dvector};

use crate::curves::power;
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::{Entry, Illustration, Kind, Table, Verdict};
use crate::runs::found::Found;
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/theory",
    title: "Bias, variance and curvature against the horizon",
    claim: "Where the closed loop contracts, bias grows at most as TΔ, variance as T², curvature as T; at its \
            margin as T³Δ, T⁴ and T⁴; and exponentially where it is unstable (Westenbroek et al. 2023, theorems 1 \
            to 3, with the corrected rates)",
    note: "Measured by the estimator itself, with a parameter for every decision and without a network, anew \
           for each report. On the line x' = a x + b u everything is linear and exact: bias at x₀ = 1, variance \
           for x₀ uniform in ±1, curvature of the return. On the pendulum the model has half the masses, \
           decisions come every 0.1 s, and means and variances are those of 64 starts; its relative bias is that \
           of the mean gradient, and the curvature that of the mean return from the first eight of them. On the pendulum \
           rewards are those of the states before each step; on the line the last state's counts too.",
    rule: "On the line: the closed loops 0.9 (stable), 1 (margin) and 1.1 (unstable) over T = 5 … 80. \
           Exponents are slopes of logarithms against log T from T = 20 on, for the unstable loop against T \
           in units of log α, with α the larger of plant and model, after the powers of T are taken off that \
           the bounds have where α is fixed (T for the bias, none for the others); bias and variance are in units of the largest ‖∇R‖ on the way, which the theorems hold bounded. \
           Reproduced: no exponent exceeds its bound by more than 0.1; the closed forms of the scalar example are met to \
           four digits; and on the pendulum bias, variance and curvature at T = 400 are \
           less than a tenth with feedback of what they are without. Not reproduced: otherwise.",
    sizes: |_: Profile| "",
    min_seeds: 0,
    overview: true,
    cells: |_: &Size| Ok(Vec::<Curve>::new()),
    judge,
};

/// What is measured at a horizon.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    gradient: f64,
    bias: f64,
    variance: f64,
    curvature: f64,
    /// Largest |∇R| on the way of the line, which the theorems hold bounded.
    reward_slope: f64,
}

const HORIZONS: [usize; 5] = [5, 10, 20, 40, 80];

/// The line, everything exact.
fn line(real: [f64; 2], nominal: [f64; 2], gain: Option<f64>, horizon: usize) -> Result<Measured> {
    let task = TrackLine::new(
        Variant::Real,
        &TrackLineSettings {
            horizon,
            real,
            nominal,
            gain: gain.unwrap_or(1.0),
            feedback: gain.is_some(),
        },
    )?;
    let policy = TrackingPolicy::tabled(&task, horizon)?;
    let starts = [dvector![1.0]];
    let recording = Recording::from_start(&task, &mut policy.follower(), &starts[0], None)?;
    let found = GradientStatistics::measure(&policy, Horizon::Full, &starts)?;
    let scales = &policy.tracker().shape().scales;
    let n_outputs = scales.len();
    let entries: Vec<_> = (0..horizon).map(|j| (j * n_outputs, scales[0].recip())).collect();
    // The return is quadratic: differences of any length are exact.
    let hessian = return_hessian(&policy, &entries, 1.0, &starts)?;
    Ok(Measured {
        gradient: found.exact().norm(),
        bias: found.bias().norm(),
        // Gradients are proportional to x₀, whose mean square is a third.
        variance: found.estimate().norm_squared() / 3.0,
        curvature: hessian.symmetric_eigenvalues().amax(),
        reward_slope: recording.xs.iter().map(|x| x[0].abs()).fold(0.0, f64::max),
    })
}

/// The table of the fact sheet, section 7: without and with feedback.
const PUBLISHED: [(usize, [f64; 4], [f64; 4]); 5] = [
    (5, [12.251, 0.4333, 47.856, 17.462], [0.276463, 0.016522, 0.022523, 1.140549]),
    (10, [56.109, 7.1764, 1293.24, 100.00], [0.276471, 0.016506, 0.022527, 1.248582]),
    (20, [522.30, 297.25, 2.1752e5, 1083.2], [0.276471, 0.016506, 0.022527, 1.289181]),
    (40, [25667.0, 66610.0, 2.8018e9, 55867.0], [0.276471, 0.016506, 0.022527, 1.301542]),
    (80, [5.276e7, 1.060e9, 4.121e17, 1.151e8], [0.276471, 0.016506, 0.022527, 1.304933]),
];

impl Measured {
    fn all(&self) -> [f64; 4] {
        [self.gradient, self.bias, self.variance, self.curvature]
    }

    /// Bias, variance and curvature where |∇R| is at most 1 on the way, as the theorems have it: the
    /// estimator is linear in it. Where a loop is unstable, −½x² has slopes that grow with the state.
    fn bounded(&self) -> [f64; 3] {
        let slope = self.reward_slope;
        [self.bias / slope, self.variance / (slope * slope), self.curvature]
    }
}

/// A closed loop of the line without feedback, and the powers of T and of α that bound bias, variance and
/// curvature.
struct Loop {
    name: &'static str,
    a: f64,
    a_hat: f64,
    powers: [f64; 3],
    exponents: [f64; 3],
}

const LOOPS: [Loop; 3] = [
    Loop {
        name: "stable, 0.9",
        a: 0.9,
        a_hat: 0.905,
        powers: [1.0, 2.0, 1.0],
        exponents: [0.0; 3],
    },
    Loop { name: "margin, 1", a: 1.0, a_hat: 0.9999, powers: [3.0, 4.0, 4.0], exponents: [0.0; 3] },
    Loop {
        name: "unstable, 1.1",
        a: 1.1,
        a_hat: 1.105,
        powers: [1.0, 0.0, 0.0],
        exponents: [1.0, 2.0, 3.0],
    },
];

/// Slope of a line of least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (xy, xx) = points
        .iter()
        .fold((0.0, 0.0), |(xy, xx), p| (xy + (p.0 - mx) * (p.1 - my), xx + (p.0 - mx).powi(2)));
    xy / xx
}

impl Loop {
    /// The exponent of a quantity: of T, or of α^T once the bound's power of T is taken off.
    fn exponent(&self, i: usize, found: &[Measured]) -> f64 {
        let values = HORIZONS.iter().zip(found).filter(|(t, _)| **t >= 20);
        let points: Vec<_> = values
            .map(|(&t, measured)| {
                let (t, value) = (t as f64, measured.bounded()[i].ln());
                match self.exponents[i] > 0.0 {
                    true => (t * self.a.max(self.a_hat).ln(), value - self.powers[i] * t.ln()),
                    false => (t.ln(), value),
                }
            })
            .collect();
        slope(&points)
    }

    fn bound(&self, i: usize) -> f64 {
        if self.exponents[i] > 0.0 { self.exponents[i] } else { self.powers[i] }
    }
}

/// The pendulum with half the masses in the model.
fn pendulum(feedback: bool, horizon: usize) -> Result<Measured> {
    let control =
        if feedback { PendulumControl::DiscreteLqr } else { PendulumControl::OpenLoopTime };
    let task = ReachPoint::new(
        Variant::Real,
        &ReachPointSettings { control, horizon, ..ReachPointSettings::default() },
    )?;
    let n_segments = horizon.div_ceil(10);
    let mut policy = TrackingPolicy::tabled(&task, n_segments)?;
    let n_outputs = policy.params().len() / n_segments;
    let free = if feedback { 4 } else { 2 };
    if feedback {
        // Set points in the middle of the starts, 5π/8, and not upright, in shares of π.
        policy.params_mut().chunks_exact_mut(n_outputs).for_each(|row| row[0] = 0.625 - 1.0);
    }
    let start = |i: u64| {
        let mut x0 = DVector::zeros(4);
        task.sample_x0(&mut Stream::new(0, "theory", i), &mut x0);
        x0
    };
    let starts: Vec<_> = (0..64).map(start).collect();
    // Per unit of the set point or the torque, not per share of its scale.
    let scales = &policy.tracker().shape().scales;
    let entries: Vec<_> = (0..n_segments)
        .flat_map(|j| (0..free).map(move |i| (j * n_outputs + i, scales[i].recip())))
        .collect();
    let found = GradientStatistics::measure(&policy, Horizon::Full, &starts)?.of_entries(&entries);
    let hessian = return_hessian(&policy, &entries, 1e-5, &starts[..8])?;
    Ok(Measured {
        gradient: found.exact().norm(),
        bias: found.bias().norm(),
        variance: found.variance(),
        curvature: hessian.symmetric_eigenvalues().amax(),
        reward_slope: f64::NAN,
    })
}

const PENDULUM_HORIZONS: [usize; 5] = [50, 100, 200, 300, 400];

fn judge(_: &Found) -> Result<Findings> {
    let mut tables = Vec::new();
    // The table of the scalar example.
    let (real, nominal) = ([1.1, 1.0], [1.15, 0.9]);
    let mut table = Table::new(
        &["T", "feedback", "‖∇J‖", "‖bias‖", "tr Var", "largest |λ|", "largest deviation"],
        2,
    );
    let mut worst: f64 = 0.0;
    for (horizon, open, closed) in PUBLISHED {
        for (name, gain, published) in [("no", None, open), ("yes", Some(0.8), closed)] {
            let found = line(real, nominal, gain, horizon)?.all();
            let deviation = found
                .iter()
                .zip(published)
                .map(|(found, published)| (found / published - 1.0).abs())
                .fold(0.0, f64::max);
            worst = worst.max(deviation);
            let mut row = vec![Entry::text(horizon.to_string()), Entry::text(name)];
            row.extend(found.map(|value| Entry::text(format!("{value:.5e}"))));
            row.push(Entry::text(power(deviation)));
            table.push(row);
        }
    }
    tables.push((
        "The scalar example: a = 1.1, b = 1, â = 1.15, b̂ = 0.9, k = 0.8; deviation from its closed forms"
            .to_owned(),
        table,
    ));

    // Exponents.
    let mut exponents =
        Table::new(&["closed loop", "bias", "bound", "variance", "bound", "curvature", "bound"], 1);
    let mut panels: Vec<_> = ["bias", "variance (N = 1)", "largest |λ| of the Hessian"]
        .into_iter()
        .map(|label| Panel {
            title: String::new(),
            x: Scale { label: "horizon T", marks: Marks::Decades },
            y: Scale { label, marks: Marks::Decades },
            lines: Vec::new(),
        })
        .collect();
    let mut excess = f64::NEG_INFINITY;
    for closed in &LOOPS {
        let found: Vec<_> = HORIZONS
            .iter()
            .map(|&horizon| line([closed.a, 1.0], [closed.a_hat, 1.0], None, horizon))
            .collect::<Result<_>>()?;
        let mut row = vec![Entry::text(closed.name)];
        for (i, panel) in panels.iter_mut().enumerate() {
            let (exponent, bound) = (closed.exponent(i, &found), closed.bound(i));
            excess = excess.max(exponent - bound);
            let unit = if closed.exponents[i] > 0.0 { "α^T: " } else { "T: " };
            row.push(Entry::text(format!("{unit}{exponent:.2}")));
            row.push(Entry::text(format!("{bound:.0}")));
            panel.lines.push(Line {
                name: closed.name.to_owned(),
                stroke: Stroke::Dotted,
                points: HORIZONS
                    .iter()
                    .zip(&found)
                    .map(|(&t, m)| (t as f64, m.all()[i + 1]))
                    .collect(),
            });
        }
        exponents.push(row);
    }
    tables.push(("Fitted exponents on the line".to_owned(), exponents));

    // The pendulum.
    let mut table = Table::new(
        &[
            "T",
            "open: relative bias",
            "open: variance",
            "open: largest |λ|",
            "closed: relative bias",
            "closed: variance",
            "closed: largest |λ|",
        ],
        1,
    );
    let mut last = [None; 2];
    let mut curves: Vec<_> = ["‖bias‖", "variance (N = 1)", "largest |λ| of the Hessian"]
        .into_iter()
        .map(|label| Panel {
            title: String::new(),
            x: Scale { label: "horizon T", marks: Marks::Decades },
            y: Scale { label, marks: Marks::Decades },
            lines: ["no feedback", "feedback"]
                .map(|name| Line {
                    name: name.to_owned(),
                    stroke: Stroke::Dotted,
                    points: Vec::new(),
                })
                .to_vec(),
        })
        .collect();
    for horizon in PENDULUM_HORIZONS {
        let mut row = vec![Entry::text(horizon.to_string())];
        for (k, feedback) in [false, true].into_iter().enumerate() {
            let found = pendulum(feedback, horizon)?;
            last[k] = Some(found);
            row.push(Entry::text(format!("{:.3}", found.bias / found.gradient)));
            row.push(Entry::text(format!("{:.3e}", found.variance)));
            row.push(Entry::text(format!("{:.3e}", found.curvature)));
            for (i, panel) in curves.iter_mut().enumerate() {
                panel.lines[k].points.push((horizon as f64, found.all()[i + 1]));
            }
        }
        table.push(row);
    }
    tables.push((
        "The pendulum: without feedback (open), and with the regulator of the discrete model (closed)"
            .to_owned(),
        table,
    ));
    let apart = match last {
        [Some(open), Some(closed)] => {
            let ratios: Vec<_> = open.all()[1..]
                .iter()
                .zip(&closed.all()[1..])
                .map(|(open, closed)| open / closed)
                .collect();
            ratios.into_iter().fold(f64::INFINITY, f64::min)
        }
        _ => f64::NAN,
    };
    Ok(Findings {
        verdict: decide(worst, excess, apart),
        pictures: vec![
            Illustration {
                name: "line",
                caption: "The line, by its closed loop.".to_owned(),
                picture: picture(
                    "Bias, variance and curvature of the line against the horizon",
                    &panels,
                ),
            },
            Illustration {
                name: "pendulum",
                caption: "The double pendulum, model of half the masses.".to_owned(),
                picture: picture(
                    "Bias, variance and curvature of the pendulum against the horizon",
                    &curves,
                ),
            },
        ],
        rollouts: Vec::new(),
        tables,
    })
}

fn decide(worst: f64, excess: f64, apart: f64) -> Verdict {
    let holds = worst < 5e-4 && excess <= 0.1 && apart > 10.0;
    Verdict {
        kind: if holds { Kind::Reproduced } else { Kind::NotReproduced },
        ours: format!(
            "Largest deviation from the scalar table {}; largest excess of an exponent over its bound \
             {excess:.2}; the pendulum without feedback has at least {apart:.0} times the bias, variance and \
             curvature at T = 400",
            power(worst)
        ),
        reason: if holds { "All three parts hold" } else { "A part does not hold" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_table_is_met() {
        for (horizon, open, closed) in PUBLISHED.into_iter().take(3) {
            for (gain, published) in [(None, open), (Some(0.8), closed)] {
                let found = line([1.1, 1.0], [1.15, 0.9], gain, horizon).unwrap().all();
                for (found, published) in found.iter().zip(published) {
                    assert!(
                        (found / published - 1.0).abs() < 2e-4,
                        "{horizon}: {found} {published}"
                    );
                }
            }
        }
    }

    #[test]
    fn all_parts_count() {
        assert_eq!(decide(1e-5, 0.0, 100.0).kind, Kind::Reproduced);
        assert_eq!(decide(1e-2, 0.0, 100.0).kind, Kind::NotReproduced);
        assert_eq!(decide(1e-5, 0.5, 100.0).kind, Kind::NotReproduced);
    }
}
