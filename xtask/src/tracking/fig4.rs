//! Figures 1 and 4: laps of the car, before and after, and what the network does along them.

use agents::tracking::Horizon;
use anyhow::Result;
use bench_tasks::{CarLapSettings, Preset};

use super::arms::{CAR, CAR_SECONDS, Lap, MIN_SEEDS, laps, too_few, untrained};
use super::driven::{Driven, Part, drive, lap_picture};
use super::measures::{after, panel, shown, table};
use crate::figure::{Findings, Size};
use crate::plan::Profile;
use crate::report::lines::{Line, Marks, Panel, Scale, Stroke, picture};
use crate::report::stats::mean;
use crate::report::{Entry, Estimate, Illustration, Kind, Table, Verdict};
use crate::runs::found::Found;
use crate::runs::{Curve, Figure};

pub(super) const FIGURE: Figure = Figure {
    id: "tracking-feedback/fig4",
    title: "The car on a figure of eight",
    claim: "A few minutes of driving bring the car onto the track and to its speed; the network moves set \
            points outwards, takes back the feed-forward of the steering and drives the speed harder (Westenbroek et al. 2023, \
            figures 1 and 4)",
    note: "The plant is simulated, since the paper's high-fidelity car is not published: tyres, motor and \
           steering that lag, dead times, drag and a steering bias, identified from the paper's hardware logs. \
           The model (11) has none of it, and unit scales. A step of the policy takes one roll-out of 21.8 s, of \
           which 5.6 s do not count.",
    rule: "Over the whole horizon, after 20 steps: (a) the mean distance to the track has at least halved and \
           the speed has come nearer to 3.43 m/s; (b) corrected set points lie outside the track on average; \
           (c) the correction of the steering's feed-forward is negative for at least three quarters of a lap, as \
           on the hardware, whose steering is biased to the left too; (d) the correction of the speed's gain is \
           positive for most of it, and (e) lower within 0.75 m of the crossing than elsewhere. Reproduced: all. \
           Partly: (a) and one of the others. Not reproduced: otherwise. Fast: within 8 roll-outs a \
           cost per step of at most 0.045 is reported beside it.",
    sizes,
    min_seeds: MIN_SEEDS,
    overview: true,
    cells,
    judge,
};

const ARMS: [Lap; 2] =
    [Lap { horizon: Horizon::Full, rate: 1e-4 }, Lap { horizon: Horizon::Segment, rate: 2e-2 }];

fn sizes(profile: Profile) -> &'static str {
    match profile {
        Profile::Smoke => "Smoke profile: two steps, small networks.",
        _ => "20 steps of one roll-out each.",
    }
}

fn cells(size: &Size) -> Result<Vec<Curve>> {
    let curve = |lap: Lap| {
        laps(size, (lap.name(), lap.name().to_owned()), (Preset::Paper, CAR), lap, 20, &[])
    };
    ARMS.into_iter().map(curve).collect()
}

/// The lap that is shown: 40 decisions after the 40 in which the car settles.
const LAP: Part = Part { settled: 40, decisions: 40 };

const GAINS: [&str; 6] = ["Δkx", "Δky", "Δkv", "Δkφ", "Δka", "Δkω"];

fn judge(found: &Found) -> Result<Findings> {
    let group = |lap: Lap, n| found.group(CAR, lap.name()).filter(|group| group.has(n));
    let shown = shown(found, CAR, &ARMS);
    let panel = |label, column| panel(&shown, ("minutes of driving", CAR_SECONDS), (label, column));
    let panels = [
        panel("cost per step", "cost_per_step"),
        panel("distance to the track [m]", "track_distance"),
        panel("speed [m/s]", "speed"),
    ];
    let mut pictures = vec![Illustration {
        name: "curves",
        caption: "Evaluations after each step of the policy: interquartile mean over seeds with 95 % band."
            .to_owned(),
        picture: picture("Cost, distance and speed against minutes of driving", &panels),
    }];
    let table = table(&shown, (&[4, 8, 20], CAR_SECONDS))?;
    let mut tables =
        vec![("Before training and after so many steps of the policy".to_owned(), table)];
    let mut verdict = too_few();
    if let Some(full) = group(ARMS[0], 1) {
        let all: Vec<_> =
            full.runs.iter().map(|run| drive(run, true, LAP)).collect::<Result<_>>()?;
        pictures.push(lap_picture(&full.runs[0], LAP, &all[0])?);
        pictures.push(outputs(&all[0]));
        let lap_means: Vec<Vec<f64>> = all.iter().map(lap_means).collect();
        let column = |i: usize| lap_means.iter().map(|means| means[i]).collect::<Vec<_>>();
        let mut means = Table::new(&["correction", "mean over a lap"], 1);
        for (i, name) in GAINS.iter().enumerate() {
            means.push(vec![
                Entry::text(*name),
                Entry::estimate(&Estimate::mean(&column(i)), Some(5)),
            ]);
        }
        let outwards: Vec<f64> = all.iter().map(Driven::mean_outwards).collect();
        means.push(vec![
            Entry::text("set points, outwards [m]"),
            Entry::estimate(&Estimate::mean(&outwards), Some(3)),
        ]);
        tables.push((
            "What the network does after training, seed by seed on average".to_owned(),
            means,
        ));
        if full.has(MIN_SEEDS) {
            let start = untrained(&full.runs[0])?;
            let end = |column| mean(&after(full, column, 20)).unwrap_or(f64::NAN);
            let over_seeds = |of: fn(&Driven) -> f64| {
                mean(&all.iter().map(of).collect::<Vec<_>>()).unwrap_or(f64::NAN)
            };
            verdict = decide(&Outcome {
                distance: [start[1], end("track_distance")],
                speed: [start[2], end("speed")],
                outwards: mean(&outwards).unwrap_or(f64::NAN),
                steered_back: over_seeds(|driven| driven.share(|gains| gains[5] < 0.0)),
                driven_harder: over_seeds(|driven| driven.share(|gains| gains[2] > 0.0)),
                speed_gain: over_seeds(|driven| driven.speed_gain(false))
                    - over_seeds(|driven| driven.speed_gain(true)),
                early: mean(&after(full, "cost_per_step", 8)).unwrap_or(f64::NAN),
            });
        }
    }
    Ok(Findings {
        verdict,
        pictures,
        rollouts: shown.first().map_or_else(Vec::new, |(_, group)| group.before_and_after()),
        tables,
    })
}

/// Mean corrections of the gains over a lap.
fn lap_means(driven: &Driven) -> Vec<f64> {
    let n = driven.gains.len() as f64;
    (0..GAINS.len())
        .map(|i| driven.gains.iter().map(|(_, gains)| gains[i]).sum::<f64>() / n)
        .collect()
}

/// Corrections of the gains along the lap, in percent of the nominal ones where those are not 0.
fn outputs(driven: &Driven) -> Illustration {
    let line = |i: usize, scale: f64, name: &str| Line {
        name: name.to_owned(),
        stroke: Stroke::Plain,
        points: driven.gains.iter().map(|(t, gains)| (*t, scale * gains[i])).collect(),
    };
    let panel = |title: &str, label, lines| Panel {
        title: title.to_owned(),
        x: Scale { label: "time into the lap [s]", marks: Marks::Linear },
        y: Scale { label, marks: Marks::Linear },
        lines,
    };
    let percent = |i: usize, nominal: f64| line(i, 100.0 / nominal, GAINS[i]);
    Illustration {
        name: "outputs",
        caption: "The network's outputs along the lap (seed 0): gains of position, speed and heading as a share \
                  of the nominal ones, and that of the steering's feed-forward, whose nominal one is 0."
            .to_owned(),
        picture: picture(
            "Corrections of the gains along a lap",
            &[
                panel(
                    "",
                    "correction [% of nominal]",
                    vec![percent(0, 0.45), percent(1, 0.45), percent(2, 0.35), percent(3, 0.35)],
                ),
                panel("", "100 × correction", vec![line(5, 100.0, GAINS[5])]),
            ],
        ),
    }
}

/// What is judged.
struct Outcome {
    /// Before and after (m).
    distance: [f64; 2],
    /// Before and after [m/s].
    speed: [f64; 2],
    /// Mean of the corrections of set points, outwards (m).
    outwards: f64,
    /// Share of a lap with Δk_ω < 0.
    steered_back: f64,
    /// Share of a lap with Δk_v > 0.
    driven_harder: f64,
    /// Mean Δk_v elsewhere than at the crossing, beyond that at the crossing.
    speed_gain: f64,
    /// Cost per step after 8 steps of the policy.
    early: f64,
}

fn decide(o: &Outcome) -> Verdict {
    let wanted = CarLapSettings::preset(Preset::Paper).common.track.speed();
    let better = 2.0 * o.distance[1] <= o.distance[0]
        && (o.speed[1] - wanted).abs() < (o.speed[0] - wanted).abs();
    let signs = [
        ("set points do not lie outside", o.outwards > 0.0),
        ("Δkω changes its sign along the lap", o.steered_back >= 0.75),
        ("Δkv is not positive for most of a lap", o.driven_harder > 0.5),
        ("Δkv is not lower at the crossing", o.speed_gain > 0.0),
    ];
    let missed: Vec<_> = signs.iter().filter(|sign| !sign.1).map(|sign| sign.0).collect();
    let missed =
        if missed.is_empty() { "all signs are as published".into() } else { missed.join(", ") };
    let n = signs.iter().filter(|sign| sign.1).count();
    let kind = match (better, n) {
        (true, 4) => Kind::Reproduced,
        (true, 1..) => Kind::Partly,
        _ => Kind::NotReproduced,
    };
    Verdict {
        kind,
        ours: format!(
            "Distance {:.3} → {:.3} m, speed {:.2} → {:.2} m/s; set points {:+.3} m outwards, Δkω negative for {:.0} \
             % of a lap, Δkv positive for {:.0} %",
            o.distance[0],
            o.distance[1],
            o.speed[0],
            o.speed[1],
            o.outwards,
            100.0 * o.steered_back,
            100.0 * o.driven_harder
        ),
        reason: format!("{missed}; the cost per step after 8 roll-outs is {:.3}", o.early),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lap_and_the_signs_count() {
        let outcome = |distance, steered_back| Outcome {
            distance: [0.26, distance],
            speed: [2.8, 3.3],
            outwards: 0.1,
            steered_back,
            driven_harder: 0.9,
            speed_gain: 0.01,
            early: 0.03,
        };
        assert_eq!(decide(&outcome(0.1, 0.9)).kind, Kind::Reproduced);
        assert_eq!(decide(&outcome(0.1, 0.5)).kind, Kind::Partly);
        assert_eq!(decide(&outcome(0.2, 0.9)).kind, Kind::NotReproduced);
    }
}
