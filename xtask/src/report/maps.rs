//! Maps of a function over a rectangle: panels in rows under one scale of colours per row.

use super::axis::Axis;
use super::svg::Picture;

/// Steps of a scale of colours.
const LEVELS: usize = 17;
/// Pixels of a panel, and around it.
const SIDE: f64 = 210.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 46.0;
/// Pixels for the scale of colours at the end of a row.
const SCALE: f64 = 96.0;

/// What colours mean in a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colours {
    /// From −limit (blue) over 0 (white) to +limit (red); what lies beyond has the end's colour.
    Around0 {
        /// The largest size that has a colour of its own.
        limit: f64,
    },
    /// From `low` (light) to `high` (dark) in equal steps of the logarithm.
    Decades {
        /// Smallest value.
        low: f64,
        /// Largest value.
        high: f64,
    },
}

/// A function on a grid.
#[derive(Debug, Clone)]
pub(crate) struct Map {
    /// Words above it.
    pub(crate) title: String,
    /// Grid lines of the horizontal axis, evenly spaced and rising.
    pub(crate) xs: Vec<f64>,
    /// Grid lines of the vertical axis, likewise.
    pub(crate) ys: Vec<f64>,
    /// Values row by row from the lowest y; what is not finite stays white.
    pub(crate) values: Vec<f64>,
}

impl Colours {
    /// The step of a value.
    fn level(self, value: f64) -> Option<usize> {
        let share = match self {
            Self::Around0 { limit } => 0.5 + 0.5 * value / limit,
            Self::Decades { low, high } => (value.max(low) / low).ln() / (high / low).ln(),
        };
        let steps = LEVELS as f64;
        (value.is_finite() && share.is_finite())
            .then(|| (share * steps).clamp(0.0, steps - 1.0) as usize)
    }

    /// Red, green and blue of a step.
    fn rgb(self, level: usize) -> [f64; 3] {
        const BLUE: [f64; 3] = [33.0, 102.0, 172.0];
        const RED: [f64; 3] = [178.0, 24.0, 43.0];
        const WHITE: [f64; 3] = [247.0, 247.0, 247.0];
        const NIGHT: [f64; 3] = [49.0, 10.0, 92.0];
        let share = level as f64 / (LEVELS - 1) as f64;
        let mix = |a: [f64; 3], b: [f64; 3], s: f64| [0, 1, 2].map(|i| a[i] + s * (b[i] - a[i]));
        match self {
            Self::Around0 { .. } if share < 0.5 => mix(BLUE, WHITE, 2.0 * share),
            Self::Around0 { .. } => mix(WHITE, RED, 2.0 * share - 1.0),
            Self::Decades { .. } => mix(WHITE, NIGHT, share),
        }
    }

    fn colour(self, level: usize) -> String {
        let [r, g, b] = self.rgb(level).map(|c| c.round() as u8);
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// Ends and middle of the scale as shares with their texts.
    fn marks(self) -> [(f64, String); 3] {
        match self {
            Self::Around0 { limit } => {
                [(0.0, format!("−{limit:.2}")), (0.5, "0".to_owned()), (1.0, format!("{limit:.2}"))]
            }
            Self::Decades { low, high } => [
                (0.0, format!("{low:.0e}")),
                (0.5, format!("{:.0e}", (low * high).sqrt())),
                (1.0, format!("{high:.0e}")),
            ],
        }
    }
}

/// Rows of maps, each under its scale of colours; `axes` labels both axes, `alt` says what is seen.
pub(crate) fn draw(alt: &str, axes: [&str; 2], rows: &[(Colours, Vec<Map>)]) -> Picture {
    let columns = rows.iter().map(|(_, maps)| maps.len()).max().unwrap_or(0);
    let (width, height) = (LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM);
    let mut picture = Picture::new(width * columns as f64 + SCALE, height * rows.len() as f64, alt);
    for (i, (colours, maps)) in rows.iter().enumerate() {
        let top = i as f64 * height + TOP;
        for (j, map) in maps.iter().enumerate() {
            panel(&mut picture, axes, *colours, map, (j as f64 * width + LEFT, top));
        }
        scale(&mut picture, *colours, (maps.len() as f64 * width + 10.0, top));
    }
    picture
}

fn panel(
    picture: &mut Picture,
    [x_label, y_label]: [&str; 2],
    colours: Colours,
    map: &Map,
    (left, top): (f64, f64),
) {
    let ends = |grid: &[f64]| grid.first().copied().zip(grid.last().copied());
    let (Some(x_range), Some(y_range)) = (ends(&map.xs), ends(&map.ys)) else { return };
    let (columns, rows) = (map.xs.len(), map.ys.len());
    let (w, h) = (SIDE / columns as f64, SIDE / rows as f64);
    let level = |row: usize, column: usize| {
        map.values.get(row * columns + column).and_then(|value| colours.level(*value))
    };
    // Neighbours of one colour are one rectangle, so that the drawing stays small.
    for row in 0..rows {
        let mut start = 0;
        while start < columns {
            let colour = level(row, start);
            let end = (start..columns).find(|c| level(row, *c) != colour).unwrap_or(columns);
            if let Some(step) = colour {
                let corner = (left + start as f64 * w, top + SIDE - (row + 1) as f64 * h);
                picture.filled(&colours.colour(step), corner, ((end - start) as f64 * w, h));
            }
            start = end;
        }
    }
    // Grid lines are the middles of cells, so the axes go on for half a cell.
    let whole = |(low, high): (f64, f64), n: usize| {
        let half = 0.5 * (high - low) / n.saturating_sub(1).max(1) as f64;
        (low - half, high + half)
    };
    picture.frame(
        &Axis::linear(x_label, whole(x_range, columns), (left, left + SIDE), 4),
        &Axis::linear(y_label, whole(y_range, rows), (top + SIDE, top), 4),
    );
    picture.text("name mid", (left + SIDE / 2.0, top - 10.0), &map.title);
}

fn scale(picture: &mut Picture, colours: Colours, (left, top): (f64, f64)) {
    let h = SIDE / LEVELS as f64;
    for level in 0..LEVELS {
        let corner = (left, top + SIDE - (level + 1) as f64 * h);
        picture.filled(&colours.colour(level), corner, (14.0, h));
    }
    for (share, text) in colours.marks() {
        picture.text("tick", (left + 20.0, top + SIDE * (1.0 - share) + 4.0), &text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn values_have_the_colour_of_their_step() {
        let colours = Colours::Around0 { limit: 2.0 };
        assert_eq!(colours.level(-9.0), Some(0));
        assert_eq!(colours.level(0.0), Some(LEVELS / 2));
        assert_eq!(colours.level(2.0), Some(LEVELS - 1));
        assert_eq!(colours.level(f64::NAN), None);
        assert_eq!(colours.colour(LEVELS / 2), "#f7f7f7");
        let colours = Colours::Decades { low: 1e-6, high: 1e-4 };
        assert_eq!(colours.level(0.0), Some(0));
        assert_eq!(colours.level(1e-5), Some(LEVELS / 2));
    }

    #[test]
    fn neighbours_of_one_colour_are_one_rectangle() {
        let map = Map {
            title: "<f>".to_owned(),
            xs: vec![0.0, 1.0, 2.0],
            ys: vec![0.0, 1.0],
            values: vec![1.0, 1.0, -1.0, f64::NAN, 0.0, 0.0],
        };
        let svg = draw("map", ["x", "y"], &[(Colours::Around0 { limit: 1.0 }, vec![map])]).file();
        assert_well_formed(&svg);
        let cells = svg.matches("<rect fill").count() - LEVELS;
        assert_eq!(cells, 3, "two of the first row, one of the second");
    }
}
