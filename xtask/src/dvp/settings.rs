//! Sizes of the experiments at each profile.

use std::f64::consts::PI;

use agents::dvp::DvpSettings;
use critics::{FitSettings, Head};
use ddp::Method;

use super::fits::Fit;
use super::system::System;
use super::truth::{States, Truth};
use crate::figure::Size;
use crate::plan::Profile;

impl Size {
    /// The network of the paper: three hidden layers of 64.
    fn hidden(&self) -> Vec<usize> {
        self.pick(vec![8; 2], vec![64; 3], vec![64; 3])
    }

    /// Long-horizon values at random states.
    pub(super) fn truth(&self) -> Truth {
        let states = States::Box { n: self.pick(10, 500, 1000) };
        Truth { horizon: self.pick(150, 1000, 1000), states }
    }

    /// The loop of the paper on a system. Samples and epochs of the small systems are not
    /// published.
    pub(super) fn dvp(&self, system: &System, horizon: usize) -> DvpSettings {
        // The unicycle's box is wide, and its value has creases.
        let samples = match system.task.as_str() {
            "unicycle" => self.pick(10, 200, 400),
            _ => self.pick(10, 100, 200),
        };
        DvpSettings {
            iterations: self.pick(3, 10, 10),
            samples,
            horizon,
            start_spread: system.spread.clone(),
            anchor: system.goal().as_slice().to_vec(),
            hidden: self.hidden(),
            fit: FitSettings { epochs: self.pick(40, 2000, 5000), ..FitSettings::default() },
            ..DvpSettings::default()
        }
    }

    /// A regression on labels of 50 steps, of order 1 with 100 samples unless changed.
    pub(super) fn fit(&self, head: Head) -> Fit {
        Fit {
            horizon: 50,
            method: Method::Fddp,
            samples: self.pick(20, 100, 100),
            validation: self.pick(10, 300, 1000),
            hidden: self.hidden(),
            head,
            residuals: 3,
            fit: FitSettings { epochs: self.pick(60, 5000, 5000), ..FitSettings::default() },
            record_every: self.pick(20, 100, 100),
        }
    }

    /// The plane of figures 6 and 7.
    pub(super) fn plane(&self, horizon: usize, half: f64) -> Truth {
        let states = States::Plane { n: self.pick(6, 24, 32), half, turn: 0.1 * PI };
        Truth { horizon, states }
    }

    /// What a profile changes for figures that measure the loop against the truth, in words.
    pub(super) fn truth_note(profile: Profile) -> &'static str {
        match profile {
            Profile::Smoke => SMOKE,
            Profile::Quick => {
                "Quick profile: 200 samples per iteration on the unicycle and 100 elsewhere, 2 000 \
                 epochs per iteration, ground truth at 500 states over 1 000 steps."
            }
            Profile::Paper => {
                "Paper profile: 400 samples per iteration on the unicycle and 200 elsewhere, 5 000 \
                 epochs per iteration, ground truth at 1 000 states over 1 000 steps."
            }
        }
    }

    /// The same for figures that use the loop's value on the unicycle.
    pub(super) fn loop_note(profile: Profile) -> &'static str {
        match profile {
            Profile::Smoke => SMOKE,
            Profile::Quick => "Quick profile: 200 samples and 2 000 epochs per iteration.",
            Profile::Paper => "Paper profile: 400 samples and 5 000 epochs per iteration.",
        }
    }

    /// The same for single regressions.
    pub(super) fn fit_note(profile: Profile) -> &'static str {
        match profile {
            Profile::Smoke => SMOKE,
            Profile::Quick => "Quick profile: 3 000 epochs, errors at 300 states.",
            Profile::Paper => "Paper profile: 5 000 epochs, errors at 1 000 states.",
        }
    }

    /// The same for figures whose profiles differ in seeds and grids alone.
    pub(super) fn seeds_note(profile: Profile) -> &'static str {
        match profile {
            Profile::Smoke => SMOKE,
            Profile::Quick | Profile::Paper => "",
        }
    }
}

const SMOKE: &str = "Smoke profile: tiny networks, a few samples and iterations.";
