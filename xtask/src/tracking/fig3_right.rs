//! Figure 3, right: laps of the quadruped.

use agents::tracking::Horizon;
use anyhow::Result;
use bench_tasks::Preset;

use super::arms::{Lap, MIN_SEEDS, QUADRUPED, laps, too_few, untrained};
use super::measures::{after, panel, shown, table};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::picture;
use crate::report::stats::mean;
use crate::report::{Illustration, Kind, Verdict};
use crate::runs::found::Found;
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/fig3-right",
    title: "The quadruped on a figure of eight",
    claim: "In seven steps, 5.9 minutes of walking, the distance to the track falls from 0.25 m or more to \
            0.10 m, and the speed comes to the 0.50 m/s that are wanted (Westenbroek et al. 2023, figure 3 \
            right)",
    note: "The plant is simulated: velocities with lag, dead times, scale and drift as identified from the \
           paper's hardware logs; the model does what it is told. Evaluations are ten roll-outs from fixed \
           starts, of which the first quarter of a lap does not count.",
    rule: "Reproduced: over the whole horizon, after seven steps, the mean distance is at most 0.10 m and the \
           speed within 0.02 m/s of 0.50, from a distance of at least 0.2 m. Partly: the distance has at \
           least halved. Not reproduced: otherwise.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: false,
    cells,
    judge,
};

const ARMS: [Lap; 2] =
    [Lap { horizon: Horizon::Full, rate: 1e-4 }, Lap { horizon: Horizon::Segment, rate: 2.6e-3 }];

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: two steps, small networks.",
        _ => "Ten steps of one roll-out, 60 s of walking, each.",
    }
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let curve = |lap: Lap| {
        let name = (lap.name(), lap.name().to_owned());
        laps(size, name, (Preset::Paper, QUADRUPED), lap, 10, &[])
    };
    ARMS.into_iter().map(curve).collect()
}

/// Seconds of a roll-out of the plant.
const SECONDS: f64 = 57.6;

fn judge(found: &Found) -> Result<Findings> {
    let group = |lap: Lap, n| found.group(QUADRUPED, lap.name()).filter(|group| group.has(n));
    let shown = shown(found, QUADRUPED, &ARMS);
    let panel = |label, column| panel(&shown, ("minutes of walking", SECONDS), (label, column));
    let panels = [
        panel("distance to the track [m]", "track_distance"),
        panel("speed [m/s]", "speed"),
        panel("cost per step", "cost_per_step"),
    ];
    let table = table(&shown, &[2, 4, 7, 10])?;
    let verdict = match group(ARMS[0], MIN_SEEDS) {
        Some(group) => {
            let before = untrained(&group.runs[0])?;
            let now = |column| mean(&after(group, column, 7)).unwrap_or(f64::NAN);
            decide(before[1], now("track_distance"), now("speed"))
        }
        None => too_few(),
    };
    Ok(Findings {
        verdict,
        pictures: vec![Illustration {
            name: "curves",
            caption: "Evaluations after each step of the policy: interquartile mean over seeds with 95 % band."
                .to_owned(),
            picture: picture("Distance, speed and cost against minutes of walking", &panels),
        }],
        rollouts: shown.first().map_or_else(Vec::new, |(_, group)| group.before_and_after()),
        tables: vec![("Before training and after so many steps of the policy".to_owned(), table)],
    })
}

fn decide(before: f64, distance: f64, speed: f64) -> Verdict {
    let kind = match () {
        () if before >= 0.2 && distance <= 0.10 && (speed - 0.5).abs() <= 0.02 => Kind::Reproduced,
        () if distance <= 0.5 * before => Kind::Partly,
        () => Kind::NotReproduced,
    };
    Verdict {
        kind,
        ours: format!(
            "Distance {before:.3} → {distance:.3} m, speed {speed:.3} m/s after seven steps"
        ),
        reason: format!("The distance has fallen to {:.0} %", 100.0 * distance / before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_and_speed_count() {
        assert_eq!(decide(0.26, 0.08, 0.51).kind, Kind::Reproduced);
        assert_eq!(decide(0.26, 0.08, 0.56).kind, Kind::Partly);
        assert_eq!(decide(0.26, 0.2, 0.5).kind, Kind::NotReproduced);
    }
}
