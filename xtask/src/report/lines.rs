//! Pictures of lines for benchmarks and studies: panels side by side under one legend.

use super::axis::{Axis, extent};
use super::svg::{Picture, SERIES, series_class};

/// Pixels around the axes of a panel.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 48.0;
/// More points than these have no dots.
const DOTS: usize = 60;
/// Panels in a row at most.
const COLUMNS: usize = 3;
/// Height of a row of the legend, and the length of its lines.
const LEGEND_ROW: f64 = 20.0;
const SAMPLE: f64 = 22.0;
/// Width of a letter of the legend, and the space behind its entries.
const LETTER: f64 = 7.3;
const SPACE: f64 = 26.0;

/// What an axis shows.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// Quantity and unit.
    pub(crate) label: &'static str,
    /// Where its marks stand.
    pub(crate) marks: Marks,
}

/// Where the marks of an axis stand.
#[derive(Debug, Clone)]
pub(crate) enum Marks {
    /// At round numbers around all points.
    Linear,
    /// At powers of ten around all points.
    Decades,
    /// At these numbers, the first and the last of which end a logarithmic axis; no point lies beyond.
    At(Vec<f64>),
}

impl Scale {
    /// An axis whose ends are those of the values or beyond.
    fn axis(&self, values: impl Iterator<Item = f64>, pixels: (f64, f64)) -> Axis {
        let shown = |value: &f64| matches!(self.marks, Marks::Linear) || *value > 0.0;
        let range = extent(values.filter(shown)).unwrap_or((1.0, 10.0));
        match &self.marks {
            Marks::Linear => Axis::rounded(self.label, range, pixels, 5),
            Marks::Decades => Axis::decades(self.label, range, pixels),
            Marks::At(marks) => Axis::marks(self.label, marks, pixels),
        }
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// In the colour of its name; every second one dashed.
    Plain,
    /// In the colour of its name, with a dot at every point unless there are many.
    Dotted,
    /// Grey and dashed: no data, but what data are compared with.
    Guide,
    /// The area within the points, faint: an interval around the line of the same name.
    Band,
}

/// A line and its name. Lines of one name have one colour and one entry in the legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Name in the legend.
    pub(crate) name: String,
    /// How it is drawn.
    pub(crate) stroke: Stroke,
    /// Its points in the units of the axes; a logarithmic axis leaves out those it has no place for.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A pair of axes with lines.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// Words above it.
    pub(crate) title: String,
    /// The horizontal axis.
    pub(crate) x: Scale,
    /// The vertical axis.
    pub(crate) y: Scale,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// The panels with their legend as an SVG file; `alt` says what is seen.
pub(crate) fn draw(alt: &str, panels: &[Panel]) -> String {
    picture(alt, panels).file()
}

/// The panels with their legend; `alt` says what is seen.
pub(crate) fn picture(alt: &str, panels: &[Panel]) -> Picture {
    let columns = panels.len().clamp(1, COLUMNS);
    let (width, height) = match columns {
        1 => (560.0, 300.0),
        2 => (330.0, 250.0),
        _ => (280.0, 220.0),
    };
    let (cell_width, cell_height) = (LEFT + width + RIGHT, TOP + height + BOTTOM);
    let names = names(panels);
    let total_width = cell_width * columns as f64;
    let places = places(&names, total_width);
    let legend = places.last().map_or(0.0, |(_, y)| y + LEGEND_ROW);
    let rows = panels.len().div_ceil(columns);
    let mut picture = Picture::new(total_width, legend + rows as f64 * cell_height, alt);
    for (i, ((name, stroke), (x, y))) in names.iter().zip(places).enumerate() {
        let class = class(i, *stroke);
        picture.line(&class, (x, y + 12.0), (x + SAMPLE, y + 12.0));
        picture.text("label", (x + SAMPLE + 8.0, y + 16.0), name);
    }
    for (i, panel) in panels.iter().enumerate() {
        let left = (i % columns) as f64 * cell_width + LEFT;
        let top = legend + (i / columns) as f64 * cell_height + TOP;
        let points = || panel.lines.iter().flat_map(|line| &line.points);
        let x = panel.x.axis(points().map(|p| p.0), (left, left + width));
        let y = panel.y.axis(points().map(|p| p.1), (top + height, top));
        picture.frame(&x, &y);
        picture.text("name mid", (left + width / 2.0, top - 10.0), &panel.title);
        for line in &panel.lines {
            add(&mut picture, line, &names, (&x, &y));
        }
    }
    picture
}

fn add(picture: &mut Picture, line: &Line, names: &[(&str, Stroke)], (x, y): (&Axis, &Axis)) {
    let index = names.iter().position(|(name, _)| *name == line.name).unwrap_or(0);
    let place = |(px, py): &(f64, f64)| x.at(*px).zip(y.at(*py));
    let class = class(index, line.stroke);
    if line.stroke == Stroke::Guide {
        for pair in line.points.windows(2) {
            if let (Some(from), Some(to)) = (place(&pair[0]), place(&pair[1])) {
                picture.line(&class, from, to);
            }
        }
        return;
    }
    if line.stroke == Stroke::Band {
        let points: Vec<_> = line.points.iter().filter_map(place).collect();
        picture.polygon(&class, &points);
        return;
    }
    picture.polyline(&class, line.points.iter().map(place));
    if line.stroke == Stroke::Dotted && line.points.len() <= DOTS {
        picture.begin(&format!(r#"class="{}""#, series_class(index)));
        for at in line.points.iter().filter_map(place) {
            picture.circle("dot", at, 3.0, "");
        }
        picture.end();
    }
}

fn class(index: usize, stroke: Stroke) -> String {
    match stroke {
        Stroke::Guide => "one".to_owned(),
        Stroke::Band => format!("band {}", series_class(index)),
        // Every second line without dots is dashed, so that one below it shows through.
        Stroke::Plain if index % 2 == 1 => format!("mean dash {}", series_class(index)),
        // Colours come round again.
        Stroke::Dotted if index >= SERIES => format!("mean dash {}", series_class(index)),
        _ => format!("mean {}", series_class(index)),
    }
}

/// The names in the order of their first lines.
fn names(panels: &[Panel]) -> Vec<(&str, Stroke)> {
    let mut names: Vec<(&str, Stroke)> = Vec::new();
    for line in panels.iter().flat_map(|panel| &panel.lines) {
        if !names.iter().any(|(name, _)| *name == line.name) {
            names.push((&line.name, line.stroke));
        }
    }
    names
}

/// Where the entries of the legend stand: in rows of the given width.
fn places(names: &[(&str, Stroke)], width: f64) -> Vec<(f64, f64)> {
    let (mut x, mut y) = (LEFT, 6.0);
    let mut place = |(name, _): &(&str, Stroke)| {
        let length = SAMPLE + 8.0 + LETTER * name.chars().count() as f64;
        if x > LEFT && x + length > width {
            (x, y) = (LEFT, y + LEGEND_ROW);
        }
        let at = (x, y);
        x += length + SPACE;
        at
    };
    names.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    fn panel(title: &str, lines: &[(&str, Stroke)]) -> Panel {
        let points = vec![(1.0, 1e-6), (2.0, 0.0), (3.0, 1e-3)];
        let line = |&(name, stroke): &(&str, Stroke)| Line {
            name: name.to_owned(),
            stroke,
            points: points.clone(),
        };
        Panel {
            title: title.to_owned(),
            x: Scale { label: "iteration", marks: Marks::Linear },
            y: Scale { label: "gap", marks: Marks::Decades },
            lines: lines.iter().map(line).collect(),
        }
    }

    #[test]
    fn a_name_has_one_colour_in_all_panels() {
        let panels = [
            panel("arm", &[("a", Stroke::Plain), ("b", Stroke::Dotted)]),
            panel("cart & pole", &[("b", Stroke::Dotted), ("∝ T", Stroke::Guide)]),
        ];
        let svg = draw("two", &panels);
        assert_well_formed(&svg);
        // A legend entry, and lines: the guide consists of two pieces, both without end at zero.
        assert_eq!(svg.matches(r#"class="mean s0""#).count(), 2);
        assert_eq!(svg.matches(r#"class="mean s1""#).count(), 3);
        let plain = draw("", &[panel("", &[("a", Stroke::Plain), ("b", Stroke::Plain)])]);
        assert_eq!(plain.matches(r#"class="mean dash s1""#).count(), 2);
        assert_eq!(svg.matches(r#"class="one""#).count(), 1);
        assert_eq!(svg.matches("<circle").count(), 4, "zero has no place on a logarithmic axis");
        assert_eq!(svg.matches(">b</text>").count(), 1);
        assert!(svg.contains("cart &amp; pole") && svg.contains("10⁻⁶"), "{svg}");
    }

    #[test]
    fn bands_have_the_colour_of_their_line_and_no_entry_of_their_own() {
        let svg = draw("", &[panel("", &[("a", Stroke::Dotted), ("a", Stroke::Band)])]);
        assert_well_formed(&svg);
        assert_eq!(svg.matches(r#"class="band s0""#).count(), 1);
        assert_eq!(svg.matches(">a</text>").count(), 1);
    }

    #[test]
    fn legends_go_on_in_the_next_row() {
        let long = "a name of thirty letters or so";
        let found = places(&[(long, Stroke::Plain), (long, Stroke::Guide)], 400.0);
        assert_eq!(found, [(LEFT, 6.0), (LEFT, 6.0 + LEGEND_ROW)]);
        assert_eq!(places(&[("a", Stroke::Plain), ("b", Stroke::Plain)], 400.0)[1].1, 6.0);
    }
}
