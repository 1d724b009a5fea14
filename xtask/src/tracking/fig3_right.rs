//! Figure 3, right: laps of the quadruped.

use agents::tracking::Horizon;
use anyhow::Result;
use bench_tasks::Preset;

use super::arms::{Lap, MIN_SEEDS, QUADRUPED, laps, too_few, untrained};
use super::driven::{Driven, Part, drive, lap_picture};
use super::measures::{after, panel, shown, table};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::picture;
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Kind, Verdict};
use crate::runs::found::Found;
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/fig3-right",
    title: "The quadruped on a figure of eight",
    claim: "In seven steps, 5.9 minutes of walking, the distance to the track falls from 0.25 m or more to \
            0.10 m, and the speed comes to the 0.50 m/s that are wanted; the corrected way points lie outside the \
            track where the robot had cut inside (Westenbroek et al. 2023, figure 3 right)",
    note: "The plant is simulated: velocities with lag, dead times, scale and drift as identified from the \
           paper's hardware logs; the model does what it is told. Untrained, this robot walks outside the track where \
           the paper's cuts inside: its way points have to move inwards. Evaluations are ten roll-outs from fixed \
           starts, of which the first quarter of a lap does not count.",
    rule: "Reproduced: over the whole horizon, after seven steps, the mean distance is at most 0.10 m and the \
           speed within 0.02 m/s of 0.50, from a distance of at least 0.2 m, and after training corrected way \
           points lie outside the track on average. Partly: the distance has at least halved. Not \
           reproduced: otherwise.",
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

/// The lap that is shown: 42 decisions of nine steps, a little more than a lap, after the 10 in which the robot settles.
const LAP: Part = Part { settled: 10, decisions: 42 };

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
    let mut pictures = vec![Illustration {
        name: "curves",
        caption: "Evaluations after each step of the policy: interquartile mean over seeds with 95 % band."
            .to_owned(),
        picture: picture("Distance, speed and cost against minutes of walking", &panels),
    }];
    let mut table = table(&shown, (&[2, 4, 7, 10], SECONDS))?;
    let mut verdict = too_few();
    if let Some(full) = group(ARMS[0], 1) {
        let all: Vec<_> =
            full.runs.iter().map(|run| drive(run, true, LAP)).collect::<Result<_>>()?;
        pictures.push(lap_picture(&full.runs[0], LAP, &all[0])?);
        let outwards: Vec<f64> = all.iter().map(Driven::mean_outwards).collect();
        let mut row = vec![
            Entry::text(ARMS[0].name()),
            Entry::text(full.runs.len().to_string()),
            Entry::text(""),
            Entry::text("way points, outwards [m]"),
        ];
        row.extend(["–"; 4].map(Entry::text));
        row.push(Entry::estimate(&Estimate::mean(&outwards), Some(3)));
        table.push(row);
        if full.has(MIN_SEEDS) {
            let before = untrained(&full.runs[0])?;
            let now = |column| mean(&after(full, column, 7)).unwrap_or(f64::NAN);
            verdict = decide(&Outcome {
                distance: [before[1], now("track_distance")],
                speed: now("speed"),
                strayed: drive(&full.runs[0], false, LAP)?.mean_strayed(),
                outwards: mean(&outwards).unwrap_or(f64::NAN),
            });
        }
    }
    Ok(Findings {
        verdict,
        pictures,
        rollouts: shown.first().map_or_else(Vec::new, |(_, group)| group.before_and_after()),
        tables: vec![("Before training and after so many steps of the policy".to_owned(), table)],
    })
}

/// What a verdict is about.
struct Outcome {
    /// Before training and after seven steps (m).
    distance: [f64; 2],
    /// After seven steps [m/s].
    speed: f64,
    /// How far outside the track the untrained robot is, on average (m).
    strayed: f64,
    /// Mean of the corrections of way points at the end, outwards (m).
    outwards: f64,
}

fn decide(o: &Outcome) -> Verdict {
    let [before, distance] = o.distance;
    let parts = [
        ("the distance was less than 0.2 m before", before >= 0.2),
        ("the distance is above 0.10 m", distance <= 0.10),
        ("the speed is not within 0.02 m/s of 0.50", (o.speed - 0.5).abs() <= 0.02),
        (
            if o.strayed > 0.0 {
                "way points lie inside the track, against this robot's error"
            } else {
                "way points lie inside the track"
            },
            o.outwards > 0.0,
        ),
    ];
    let missed: Vec<_> = parts.iter().filter(|part| !part.1).map(|part| part.0).collect();
    let kind = match () {
        () if missed.is_empty() => Kind::Reproduced,
        () if distance <= 0.5 * before => Kind::Partly,
        () => Kind::NotReproduced,
    };
    let missed = if missed.is_empty() { "all parts hold".to_owned() } else { missed.join(", ") };
    Verdict {
        kind,
        ours: format!(
            "Distance {before:.3} → {distance:.3} m, speed {:.3} m/s after seven steps; way points {:+.3} m \
             outwards, the untrained robot {:+.3} m",
            o.speed, o.outwards, o.strayed
        ),
        reason: format!("The distance has fallen to {:.0} %; {missed}", 100.0 * distance / before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_speed_and_way_points_count() {
        let kind = |distance, speed, outwards| {
            decide(&Outcome { distance: [0.26, distance], speed, strayed: -0.2, outwards }).kind
        };
        assert_eq!(kind(0.08, 0.51, 0.1), Kind::Reproduced);
        assert_eq!(kind(0.08, 0.56, 0.1), Kind::Partly);
        assert_eq!(kind(0.08, 0.51, -0.1), Kind::Partly);
        assert_eq!(kind(0.2, 0.5, 0.1), Kind::NotReproduced);
    }
}
