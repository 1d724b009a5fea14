//! The plots of one figure: returns against steps and against time, and the ratios.

use serde_json::json;

use super::analysis::{Band, FigureData, GroupData};
use super::axis::{Axis, extent, number};
use super::svg::{Picture, series_class};

/// Width of every plot.
pub(crate) const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 350.0;
const LEFT: f64 = 66.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = HEIGHT - 48.0;

/// What returns are plotted against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abscissa {
    /// Environment steps.
    Steps,
    /// Seconds of training.
    Time,
}

/// Mean returns with 95 % bands, single seeds behind them, names at the curves' ends.
pub(crate) fn curves(figure: &FigureData, abscissa: Abscissa, id: &str) -> Picture {
    let (scale, unit) = time_unit(figure, abscissa);
    let label = match abscissa {
        Abscissa::Steps => "environment steps".to_owned(),
        Abscissa::Time => format!("training time [{unit}]"),
    };
    let alt = format!("{}: evaluation return against {label}", figure.title);
    let mut picture = Picture::new(WIDTH, HEIGHT, &alt);
    let seeds: Vec<SeedLine> = figure
        .groups
        .iter()
        .enumerate()
        .flat_map(|(i, g)| seed_lines(i, g, abscissa, scale))
        .collect();
    let names: Vec<Vec<String>> = figure.groups.iter().map(|g| wrap(&g.label, 20)).collect();
    let longest = names.iter().flatten().map(|n| n.chars().count()).max().unwrap_or(0);
    let right = WIDTH - 26.0 - longest.max(6) as f64 * 7.2;
    let last = seeds.iter().filter_map(|s| s.x.last().copied());
    let x = Axis::linear(&label, (0.0, last.fold(0.0, f64::max)), (LEFT, right), 8);
    let range = figure.return_range.or_else(|| extent(seeds.iter().flat_map(|s| s.y.to_vec())));
    let y = Axis::rounded("return per episode", range.unwrap_or((0.0, 1.0)), (BOTTOM, TOP), 6);
    picture.frame(&x, &y);
    if seeds.is_empty() {
        let why = match abscissa {
            Abscissa::Steps => "no complete cells yet",
            Abscissa::Time => "no complete cells with times yet",
        };
        picture.text("small mid", ((LEFT + right) / 2.0, (TOP + BOTTOM) / 2.0), why);
        return picture;
    }
    for level in &figure.levels {
        if let Some(at) = y.at(*level).filter(|at| (TOP..=BOTTOM).contains(at)) {
            picture.line("level", (LEFT, at), (right, at));
        }
    }
    picture.clipped(&format!("{id}-clip"), &x, &y);
    for seed in &seeds {
        let points = seed.x.iter().zip(seed.y).map(|(&a, &b)| x.at(a).zip(y.at(b)));
        picture.polyline(&format!("seed {}", series_class(seed.group)), points);
    }
    let bands: Vec<(usize, Band)> = figure
        .groups
        .iter()
        .enumerate()
        .filter_map(|(i, g)| Some((i, scaled(band_of(g, abscissa)?, scale))))
        .collect();
    for (i, band) in &bands {
        draw_band(&mut picture, *i, band, &x, &y);
    }
    picture.end();
    name_curves(&mut picture, &bands, &names, &x, &y);
    picture.line("cursor", (LEFT, TOP), (LEFT, BOTTOM));
    picture.data = Some(hover(figure, &bands, &x, abscissa, unit));
    picture
}

struct SeedLine<'a> {
    group: usize,
    x: Vec<f64>,
    y: &'a [f64],
}

fn seed_lines(
    index: usize,
    group: &GroupData,
    abscissa: Abscissa,
    scale: f64,
) -> Vec<SeedLine<'_>> {
    let line = |s: &'_ super::analysis::SeedData| -> Option<Vec<f64>> {
        let x = match abscissa {
            Abscissa::Steps => &s.curve.env_steps,
            Abscissa::Time => &s.timing.as_ref()?.train_seconds,
        };
        Some(x.iter().map(|v| v / scale).collect())
    };
    let seeds = group.seeds.iter();
    seeds
        .filter_map(|s| Some(SeedLine { group: index, x: line(s)?, y: &s.curve.returns }))
        .collect()
}

fn band_of(group: &GroupData, abscissa: Abscissa) -> Option<&Band> {
    match abscissa {
        Abscissa::Steps => group.by_steps.as_ref(),
        Abscissa::Time => group.by_seconds.as_ref(),
    }
}

fn scaled(band: &Band, scale: f64) -> Band {
    Band { x: band.x.iter().map(|v| v / scale).collect(), ..band.clone() }
}

/// Seconds, minutes or hours, by the longest run.
fn time_unit(figure: &FigureData, abscissa: Abscissa) -> (f64, &'static str) {
    let seconds = figure.groups.iter().flat_map(GroupData::seconds).fold(0.0, f64::max);
    match (abscissa, seconds) {
        (Abscissa::Steps, _) => (1.0, ""),
        (_, s) if s > 3.0 * 3_600.0 => (3_600.0, "h"),
        (_, s) if s > 240.0 => (60.0, "min"),
        _ => (1.0, "s"),
    }
}

fn draw_band(picture: &mut Picture, index: usize, band: &Band, x: &Axis, y: &Axis) {
    let class = series_class(index);
    if let Some(interval) = &band.interval {
        let place = |(a, b): (&f64, f64)| x.at(*a).zip(y.at(b));
        let above = band.x.iter().zip(interval.iter().map(|i| i.high)).filter_map(place);
        let below = band.x.iter().zip(interval.iter().map(|i| i.low)).rev().filter_map(place);
        picture.polygon(&format!("band {class}"), &above.chain(below).collect::<Vec<_>>());
    }
    let points = band.x.iter().zip(&band.mean).map(|(&a, &b)| x.at(a).zip(y.at(b)));
    picture.polyline(&format!("mean {class}"), points);
}

/// Names at the right edge, level with the curves' ends, moved apart where they would collide.
fn name_curves(
    p: &mut Picture,
    bands: &[(usize, Band)],
    names: &[Vec<String>],
    x: &Axis,
    y: &Axis,
) {
    let ends = bands.iter().filter_map(|(i, band)| {
        let end = x.at(*band.x.last()?)?;
        Some((*i, end, y.clamped(*band.mean.last()?)?))
    });
    let mut ends: Vec<(usize, f64, f64)> = ends.collect();
    ends.sort_by(|a, b| a.2.total_cmp(&b.2));
    let height = |i: usize| names[i].len() as f64 * 15.0 + 5.0;
    let mut places: Vec<f64> = Vec::new();
    for (i, _, at) in &ends {
        let top = at - height(*i) / 2.0;
        let previous = places.last().zip(places.len().checked_sub(1));
        places.push(previous.map_or(top, |(last, k)| top.max(last + height(ends[k].0))));
    }
    // Whatever was pushed below the axis moves all names up.
    let overflow = places.last().zip(ends.last());
    let excess = overflow.map_or(0.0, |(top, e)| (top + height(e.0) - BOTTOM - 12.0).max(0.0));
    let right = x.pixels.1;
    for ((i, end, at), top) in ends.iter().zip(&places) {
        let class = series_class(*i);
        let (top, middle) = (top - excess, top - excess + height(*i) / 2.0);
        p.line(&format!("leader {class}"), (*end + 3.0, *at), (right + 8.0, middle));
        for (line, text) in names[*i].iter().enumerate() {
            let baseline = top + 14.0 + line as f64 * 15.0;
            p.text(&format!("name {class}"), (right + 13.0, baseline), text);
        }
    }
}

fn hover(
    figure: &FigureData,
    bands: &[(usize, Band)],
    x: &Axis,
    abscissa: Abscissa,
    unit: &str,
) -> serde_json::Value {
    let series: Vec<_> = bands
        .iter()
        .map(|(i, band)| {
            let text = |k: usize| {
                let mean = number(band.mean[k], 1);
                match band.interval.as_ref().map(|v| v[k]) {
                    Some(i) => format!("{mean} [{}, {}]", number(i.low, 1), number(i.high, 1)),
                    None => mean,
                }
            };
            json!({
                "name": figure.groups[*i].label, "class": series_class(*i),
                "x": band.x.iter().map(|v| (v * 1e3).round() / 1e3).collect::<Vec<_>>(),
                "text": (0..band.x.len()).map(text).collect::<Vec<_>>(),
            })
        })
        .collect();
    let decimals = usize::from(abscissa == Abscissa::Time);
    let unit = if abscissa == Abscissa::Steps { "steps" } else { unit };
    json!({ "range": x.range, "pixels": x.pixels, "unit": unit, "decimals": decimals,
            "series": series })
}

/// Dots with whiskers: what the baseline needs over what the method needs, at every level.
pub(crate) fn ratios(figure: &FigureData) -> Picture {
    let rows = figure.ratios.len();
    let gap = 14.0;
    let block = rows as f64 * 20.0 + gap;
    let top = 18.0 + rows as f64 * 19.0;
    let bottom = top + figure.levels.len().max(1) as f64 * block;
    let alt = format!("{}: ratios of steps and time at each level of return", figure.title);
    let mut p = Picture::new(WIDTH, bottom + 48.0, &alt);
    let (left, right) = (110.0, WIDTH - 190.0);
    let points = figure.ratios.iter().flat_map(|s| &s.points);
    let values = points.flat_map(|point| {
        let interval = point.ratio.interval.map(|i| [i.low, i.high]);
        interval.into_iter().flatten().chain(point.ratio.value)
    });
    let range = extent(values).map_or((0.5, 2.0), |(a, b)| (a.min(0.7) / 1.1, b.max(1.5) * 1.1));
    let label = "ratio, baseline over method (log scale); right of 1 the method needs less";
    let x = Axis::logarithmic(label, range, (left, right));
    for (value, text) in &x.ticks {
        if let Some(at) = x.at(*value) {
            p.line("grid", (at, top), (at, bottom));
            p.text("tick mid", (at, bottom + 17.0), text);
        }
    }
    if let Some(one) = x.at(1.0) {
        p.line("one", (one, top - 4.0), (one, bottom));
    }
    p.line("axis", (left, bottom), (right, bottom));
    p.text("label mid", ((left + right) / 2.0, bottom + 37.0), label);
    for (k, series) in figure.ratios.iter().enumerate() {
        let at = (left + 5.0, 14.0 + k as f64 * 19.0);
        marker(&mut p, series.seconds, &series_class(series.method), at, &series.label);
        p.text("label", (at.0 + 13.0, at.1 + 4.0), &series.label);
    }
    for (i, level) in figure.levels.iter().enumerate() {
        let above = top + i as f64 * block;
        let middle = above + (block - gap) / 2.0 + gap / 2.0 + 4.0;
        p.text("label end", (left - 14.0, middle), &format!("return {}", number(*level, 0)));
        if i > 0 {
            p.line("grid", (left, above), (right, above));
        }
        for (k, series) in figure.ratios.iter().enumerate() {
            let Some(point) = series.points.get(i) else { continue };
            let class = series_class(series.method);
            let at = above + gap / 2.0 + 10.0 + k as f64 * 20.0;
            if let Some((a, b)) = point.ratio.interval.and_then(|v| x.at(v.low).zip(x.at(v.high))) {
                let thin = if series.seconds { "thin" } else { "" };
                p.line(&format!("whisker {thin} {class}"), (a, at), (b, at));
            }
            if let Some(centre) = point.ratio.value.and_then(|v| x.at(v)) {
                let tip = format!("{}: {}", series.label, point.text());
                marker(&mut p, series.seconds, &class, (centre, at), &tip);
            }
            p.text("tick", (right + 14.0, at + 4.0), &point.text());
        }
    }
    p
}

fn marker(p: &mut Picture, hollow: bool, class: &str, at: (f64, f64), tip: &str) {
    let (kind, radius) = if hollow { ("ring", 4.0) } else { ("dot", 5.5) };
    p.circle(&format!("{kind} {class}"), at, radius, tip);
}

/// Breaks a name into lines of at most `width` characters where it has spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::analysis::Report;
    use super::super::cells::fixture;
    use super::super::svg::assert_well_formed;
    use super::super::{FigureSpec, Group, Rule, RunInfo};
    use super::*;

    fn figure(cells: &[&[f64]], root: &std::path::Path) -> FigureData {
        let cells = cells.iter().enumerate();
        let cells =
            cells.map(|(i, r)| fixture::write(root, &format!("c{i}"), i as u64, r)).collect();
        let group =
            |label: &str, cells| Group { label: label.to_owned(), cells, command: String::new() };
        let spec = FigureSpec {
            id: "f".to_owned(),
            title: "a < b & c".to_owned(),
            claim: String::new(),
            note: String::new(),
            groups: vec![group("SAC <1>", cells), group("VG-SAC, finite differences", Vec::new())],
            rule: Rule::FewerSamples { baseline: 0, method: 1 },
            return_range: None,
            levels: vec![2.0, 4.0],
        };
        Report::new("", &RunInfo::default(), &[spec]).figures.remove(0)
    }

    #[test]
    fn plots_are_well_formed_for_full_single_and_empty_groups() {
        let sets: [&[&[f64]]; 4] = [
            &[&[1.0, 3.0, 5.0, 6.0], &[0.0, 2.0, 4.0, 5.0], &[1.0, 1.0]],
            &[&[1.0, 2.0, 9.0]],
            &[&[1.0], &[1.0]],
            &[],
        ];
        for cells in sets {
            let root = tempfile::tempdir().unwrap();
            let figure = figure(cells, root.path());
            for abscissa in [Abscissa::Steps, Abscissa::Time] {
                let picture = curves(&figure, abscissa, "f-a");
                assert_well_formed(&picture.inline());
                assert_well_formed(&picture.file());
                assert_eq!(picture.inline().contains("no complete cells"), cells.is_empty());
            }
            assert_well_formed(&ratios(&figure).file());
        }
    }

    #[test]
    fn curves_show_every_seed_and_name_the_group() {
        let root = tempfile::tempdir().unwrap();
        let figure = figure(&[&[1.0, 3.0, 5.0], &[0.0, 2.0, 4.0]], root.path());
        let svg = curves(&figure, Abscissa::Steps, "f-a").inline();
        assert_eq!(svg.matches("class=\"seed s0\"").count(), 2);
        assert_eq!(svg.matches("class=\"mean s0\"").count(), 1);
        assert_eq!(svg.matches("class=\"band s0\"").count(), 1);
        assert!(svg.contains("SAC &lt;1&gt;") && svg.contains("environment steps"));
        let svg = curves(&figure, Abscissa::Time, "f-b").inline();
        assert!(svg.contains("training time [s]"));
    }

    #[test]
    fn long_names_break_at_spaces() {
        assert_eq!(wrap("VG-SAC, finite differences", 20), ["VG-SAC, finite", "differences"]);
        assert_eq!(wrap("SAC", 20), ["SAC"]);
    }
}
