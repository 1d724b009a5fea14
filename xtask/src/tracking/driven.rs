//! A lap of a tracking policy, decision by decision, and its picture.

use agents::Policy as _;
use agents::tracking::TrackingPolicy;
use anyhow::{Context as _, Result};
use dynamics::{Environment, Stream, Task};
use nalgebra::DVector;

use crate::cell::CellConfig;
use crate::report::Illustration;
use crate::report::cells::Cell;
use crate::report::laps::{Path, overlay};
use crate::report::stats::mean;

/// How far from the crossing a set point is still near it (m).
const CROSSING: f64 = 0.75;

/// A lap of a policy, decision by decision.
pub(super) struct Driven {
    /// x, y at every step.
    path: Vec<(f64, f64)>,
    /// Corrected set points.
    set_points: Vec<(f64, f64)>,
    /// Time into the lap, and corrections of the gains as they are, at every decision.
    pub(super) gains: Vec<(f64, Vec<f64>)>,
    /// Whether the task's set point is near the crossing, at every decision.
    crossing: Vec<bool>,
    /// Of the track's circles (m).
    radius: f64,
    /// How far corrected set points lie beyond the track's own (m), outwards.
    outwards: Vec<f64>,
    /// How far outside the track the robot is at decisions (m).
    strayed: Vec<f64>,
}

/// Which part of an episode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Decisions before it.
    pub(super) settled: usize,
    /// Decisions that it has.
    pub(super) decisions: usize,
}

/// A part of an episode of the policy of a run, as trained or as it was before, from one start for all.
pub(super) fn drive(run: &Cell, trained: bool, part: Part) -> Result<Driven> {
    let config = CellConfig::read(&run.folder)?;
    let task = config.build_task()?;
    let task: &dyn Task = task.as_task();
    let policy = if trained {
        TrackingPolicy::load(task, &run.folder.join("policy.safetensors"))?
    } else {
        TrackingPolicy::new(task, &[8], config.seed)?
    };
    let track_radius = config.task_settings.get("track").and_then(|track| track.get("radius"));
    let track_radius =
        track_radius.and_then(toml::Value::as_float).context("the task has no track")?;
    let tracker = task.tracker().context("the task has no tracker")?;
    let shape = tracker.shape();
    let mut env = Environment::new(task, None);
    env.reset(&mut Stream::new(0, "lap", 0));
    let clock = env.x().len() - 1;
    let mut follower = policy.follower();
    let mut u = DVector::zeros(task.plant().any_nu());
    let mut nominal = vec![0.0; shape.n_set_point];
    let mut driven = Driven {
        path: Vec::new(),
        set_points: Vec::new(),
        gains: Vec::new(),
        crossing: Vec::new(),
        radius: track_radius,
        outwards: Vec::new(),
        strayed: Vec::new(),
    };
    let settled = part.settled * shape.segment;
    let last = (settled + part.decisions * shape.segment).min(task.horizon());
    let mut begun = 0.0;
    while env.t() < last {
        let t = env.t();
        follower.act(t, env.x(), &mut u);
        if t == settled {
            begun = env.x()[clock];
        }
        if t >= settled.min(last / 2) {
            driven.path.push((env.x()[0], env.x()[1]));
            if t.is_multiple_of(shape.segment) {
                tracker.set_point(t, env.x(), &mut nominal);
                let set_point = follower.set_point();
                driven.set_points.push((set_point[0], set_point[1]));
                driven.crossing.push(nominal[0].hypot(nominal[1]) < CROSSING);
                // Outwards from the centre of the circle on which the set point lies.
                let side = track_radius.copysign(nominal[0]);
                let radius = |p: &[f64]| (p[0] - side).hypot(p[1]);
                driven.outwards.push(radius(set_point) - radius(&nominal));
                driven.strayed.push(radius(env.x().as_slice()) - track_radius);
                let scaled = follower.outputs().iter().zip(&shape.scales).map(|(o, s)| o * s);
                let gains = scaled.skip(shape.n_set_point).collect();
                driven.gains.push((env.x()[clock] - begun, gains));
            }
        }
        if env.step(&u)?.end.is_some() {
            break;
        }
    }
    Ok(driven)
}

impl Driven {
    /// Mean of [`Driven::outwards`].
    pub(super) fn mean_outwards(&self) -> f64 {
        mean(&self.outwards).unwrap_or(f64::NAN)
    }

    /// Share of decisions whose corrections of the gains are so.
    pub(super) fn share(&self, keep: impl Fn(&[f64]) -> bool) -> f64 {
        let kept = self.gains.iter().filter(|(_, gains)| keep(gains)).count();
        kept as f64 / self.gains.len() as f64
    }

    /// Mean correction of the third gain, the speed's, at decisions near the crossing, or at the others.
    pub(super) fn speed_gain(&self, crossing: bool) -> f64 {
        let there = self.gains.iter().zip(&self.crossing).filter(|(_, there)| **there == crossing);
        mean(&there.map(|((_, gains), _)| gains[2]).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    }

    /// Mean of [`Driven::strayed`].
    pub(super) fn mean_strayed(&self) -> f64 {
        mean(&self.strayed).unwrap_or(f64::NAN)
    }
}

/// The lap of a run before training, and `after` it with its corrected set points.
pub(super) fn lap_picture(run: &Cell, part: Part, after: &Driven) -> Result<Illustration> {
    let before = drive(run, false, part)?;
    let paths = [
        Path { name: "before", points: &before.path, marks: &[] },
        Path { name: "after", points: &after.path, marks: &after.set_points },
    ];
    Ok(Illustration {
        name: "lap",
        caption: "One lap from the same start, before and after training (seed 0), on the track; circles are the \
                  corrected set points."
            .to_owned(),
        picture: overlay(after.radius, &paths),
    })
}
